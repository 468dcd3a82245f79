// Whether what a target holds grows with the messages that it gets. Each look comes after a garbage collection, and what a
// stretch of the run held is the least of its looks: growth is what no look is free of.

import { readdirSync, readFileSync } from 'node:fs'

export interface Holdings {
  readonly descriptors: number
  /** Bytes of the JavaScript heap, and of the buffers that it holds. */
  readonly heap: number
  /** Bytes that are resident. */
  readonly rss: number
}

export interface Look extends Holdings {
  /** Messages that the target had got by then. */
  readonly messages: number
}

/** What a stretch of a run may hold more than an earlier one: a fixed part, which code and caches take, and a part a message. */
const ALLOWED = {
  heap: { bytes: 3 << 20, perMessage: 2 },
  rss: { bytes: 24 << 20, perMessage: 8 },
} as const

/** Says what grew from the second quarter of the run, when it has warmed up, to the last; undefined if nothing did. */
export function growth(looks: readonly Look[]): string | undefined {
  const quarter = Math.floor(looks.length / 4)
  if (quarter === 0) return `${looks.length} looks at what the target holds are too few`
  const early = least(looks.slice(quarter, 2 * quarter))
  const late = least(looks.slice(-quarter))
  if (late.descriptors > early.descriptors) {
    return `${early.descriptors} descriptors at first, ${late.descriptors} at last`
  }
  const messages = late.messages - early.messages
  for (const what of ['heap', 'rss'] as const) {
    const { bytes, perMessage } = ALLOWED[what]
    if (late[what] > early[what] + bytes + perMessage * messages) {
      return `${what} grew from ${mebibytes(early[what])} to ${mebibytes(late[what])} MiB over ${messages} messages`
    }
  }
}

/** The numbers of a run, from its second quarter to its last. */
export function summary(looks: readonly Look[]): string {
  const quarter = Math.floor(looks.length / 4)
  const [early, late] = [least(looks.slice(quarter, 2 * quarter)), least(looks.slice(-quarter))]
  const parts = [
    `descriptors ${early.descriptors} -> ${late.descriptors}`,
    `heap ${mebibytes(early.heap)} -> ${mebibytes(late.heap)} MiB`,
    `rss ${mebibytes(early.rss)} -> ${mebibytes(late.rss)} MiB`,
  ]
  return `${parts.join(', ')} over ${late.messages - early.messages} messages`
}

/** What a run held at each tenth of it, as lines. */
export function course(looks: readonly Look[]): string[] {
  return Array.from({ length: 11 }, (_, tenth) => {
    const { messages, descriptors, heap, rss } = looks[Math.round((tenth * (looks.length - 1)) / 10)]!
    return `${messages} messages: descriptors ${descriptors}, heap ${mebibytes(heap)} MiB, rss ${mebibytes(rss)} MiB`
  })
}

export function mebibytes(bytes: number): string {
  return (bytes / (1 << 20)).toFixed(1)
}

/** Open descriptors and resident memory of a process. */
export function holdingsOf(pid: number | 'self'): Omit<Holdings, 'heap'> {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kibibytes = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1])
  return { descriptors: readdirSync(`/proc/${pid}/fd`).length, rss: kibibytes * 1024 }
}

function least(looks: readonly Look[]): Look {
  return {
    messages: Math.min(...looks.map(({ messages }) => messages)),
    descriptors: Math.min(...looks.map(({ descriptors }) => descriptors)),
    heap: Math.min(...looks.map(({ heap }) => heap)),
    rss: Math.min(...looks.map(({ rss }) => rss)),
  }
}
