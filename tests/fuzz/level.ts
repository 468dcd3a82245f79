// What a level of fuzzing is, and the loop that drives one: the corpus first, then new cases until the time is up. A case is
// data, made from a seed of its own, so that each can be repeated alone and kept.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from '../harness/initramfs.ts'
import { Random } from './random.ts'

export interface Holdings {
  readonly descriptors: number
  readonly rssMiB: number
}

export interface Level<Case> {
  readonly name: string
  generate(random: Random): Case
  /** Plays the case; rejects if the target did what it must not. */
  run(one: Case): Promise<void>
  /** Messages of the last case. */
  readonly messages: number
  /** What the target holds, for comparison at the beginning and the end. */
  holdings(): Holdings
  close(): Promise<void>
}

export interface FuzzOptions {
  readonly seed: number
  readonly milliseconds: number
  /** Cases, if that is reached earlier. */
  readonly cases?: number
}

export interface FuzzReport {
  readonly cases: number
  readonly messages: number
  readonly descriptors: readonly [first: number, last: number]
  readonly rssMiB: readonly [first: number, last: number]
}

/** A case that is not over by then hangs. */
const CASE_MS = 20_000
/** What a JavaScript heap may breathe; a leak of 100 bytes a message exceeds it within a million. */
const RSS_SLACK_MIB = 96
const WARM_UP_CASES = 50

const corpusOf = (name: string) => join(repository, 'tests', 'fuzz', 'corpus', name)

/** Throws, with the seed of the case that failed. The case itself is left in .cache/fuzz, ready for the corpus. */
export async function fuzz<Case>(level: Level<Case>, options: FuzzOptions): Promise<FuzzReport> {
  const end = Date.now() + options.milliseconds
  let cases = 0
  let messages = 0
  let first: Holdings | undefined
  const play = async (one: Case, name: string) => {
    try {
      await within(CASE_MS, level.run(one))
    } catch (cause) {
      const folder = join(repository, '.cache', 'fuzz', level.name)
      mkdirSync(folder, { recursive: true })
      const kept = join(folder, `${name.replaceAll(' ', '-')}.json`)
      writeFileSync(kept, `${JSON.stringify(one)}\n`)
      throw new Error(`level ${level.name}, ${name}: ${(cause as Error).message}; the case is in ${kept}`, {
        cause,
      })
    }
    cases++
    messages += level.messages
    if (cases === WARM_UP_CASES) first = await settled(level)
  }
  for (const file of readdirSync(corpusOf(level.name)).sort()) {
    await play(JSON.parse(readFileSync(join(corpusOf(level.name), file), 'utf8')) as Case, file)
  }
  for (let n = 0; Date.now() < end && cases < (options.cases ?? Number.POSITIVE_INFINITY); n++) {
    const seed = (options.seed + n) >>> 0
    await play(level.generate(new Random(seed)), `seed ${seed}`)
  }
  const last = await settled(level)
  first ??= last
  if (last.descriptors !== first.descriptors) {
    throw new Error(
      `level ${level.name}: ${first.descriptors} descriptors at first, ${last.descriptors} at last`,
    )
  }
  if (last.rssMiB > first.rssMiB + RSS_SLACK_MIB) {
    throw new Error(`level ${level.name}: memory grew from ${first.rssMiB} to ${last.rssMiB} MiB`)
  }
  return {
    cases,
    messages,
    descriptors: [first.descriptors, last.descriptors],
    rssMiB: [first.rssMiB, last.rssMiB],
  }
}

/** The target may still be letting go of the last connection: the least of several looks. */
async function settled(level: { holdings(): Holdings }): Promise<Holdings> {
  let least = level.holdings()
  for (let look = 0; look < 10; look++) {
    await new Promise(resolve => setTimeout(resolve, 30))
    const now = level.holdings()
    if (now.descriptors <= least.descriptors) least = now
  }
  return least
}

async function within(milliseconds: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it hangs: ${milliseconds} ms are over`)), milliseconds)
  })
  try {
    await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Open descriptors and resident memory of a process. */
export function holdingsOf(pid: number | 'self'): Holdings {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kibibytes = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1])
  return { descriptors: readdirSync(`/proc/${pid}/fd`).length, rssMiB: Math.round(kibibytes / 1024) }
}
