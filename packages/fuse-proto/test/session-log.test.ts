import { expect, test } from 'vitest'
import { NO_SLOT, SessionLog } from '../src/index.ts'
import { MemoryFolder } from './memory-folder.ts'

const NODE = 77
const errors: Error[] = []
const open = (folder: MemoryFolder, identity = 'boot 1') =>
  new SessionLog({ folder, identity, onError: error => errors.push(error) })

/** The entries that a process finds which is started at this moment. */
const found = (folder: MemoryFolder) => open(folder.copy()).earlier

test('what was appended is there for the next process, in order, with its numbers as they were stored last', () => {
  const folder = new MemoryFolder()
  const log = open(folder)
  log.begin()
  const slot = log.append(NODE, ['päth \udc80', 1], 1, 2)
  log.append(8, undefined, -0.5)
  log.setFirst(slot, 2 ** 53 - 1)
  log.setSecond(slot, 4)
  expect(found(folder)).toEqual([
    { kind: NODE, value: ['päth \udc80', 1], first: 2 ** 53 - 1, second: 4 },
    { kind: 8, value: undefined, first: -0.5, second: 0 },
  ])
})

test('an entry without its last store is none, whatever else of it is there', () => {
  const folder = new MemoryFolder()
  const log = open(folder)
  log.begin()
  for (let i = 0; i < 20; i++) log.append(NODE, 'x'.repeat(i), i)
  const words = new Uint32Array(folder.buffers.get('session')!)
  const all = found(folder)
  let kept = all.length
  const starts = [16 + 24 + 8]
  for (let i = 0; i < 20; i++) starts.push(starts[i]! + 24 + Math.ceil((i + 2) / 8) * 8)
  for (const at of starts.reverse().slice(1)) {
    words[at / 4 + 1] = 0
    words[2] = at
    expect(found(folder)).toEqual(all.slice(0, --kept))
  }
  expect(kept).toBe(0)
})

test('entries that belong together are there all together, or not at all', () => {
  const folder = new MemoryFolder()
  const log = open(folder)
  const kinds = () => found(folder).map(({ kind }) => kind)
  log.begin()
  log.append(1, 'before')
  log.together(() => {
    for (const kind of [2, 3, 4]) {
      log.append(kind, 'x'.repeat(kind))
      // One within another ends with that.
      log.together(() => log.append(9, undefined))
      expect(kinds()).toEqual([1])
    }
  })
  expect(kinds()).toEqual([1, 2, 9, 3, 9, 4, 9])
  log.together(() => undefined)
  expect(() =>
    log.together(() => {
      log.append(5, 'what was begun')
      throw new Error('half way')
    }),
  ).toThrow('half way')
  log.append(6, 'after')
  expect(kinds().slice(-2)).toEqual([5, 6])
})

test('a log that is nearly full is written anew before entries that belong together', () => {
  const folder = new MemoryFolder()
  const log = open(folder)
  let rewrites = 0
  log.addWriter(() => rewrites++)
  log.begin()
  for (let i = 0; i < 20_000; i++) {
    log.together(() => {
      const before = rewrites
      log.append(2, 'x'.repeat(100))
      log.append(3, 'x'.repeat(100))
      expect(rewrites).toBe(before)
    })
  }
  expect(rewrites).toBeGreaterThan(2)
})

test('a log that is full is written anew by those who hold the state, and a kill on the way leaves the old one', () => {
  const folder = new MemoryFolder()
  const log = open(folder)
  const state = new Map<number, number>()
  let rewrites = 0
  let whileWriting: Map<number, number> | undefined
  log.addWriter(() => {
    rewrites++
    for (const [key, value] of state) log.append(NODE, { key, value })
    whileWriting = replayed(found(folder))
  })
  log.begin()
  for (let i = 0; i < 60_000; i++) {
    const before = rewrites
    state.set(i % 100, i)
    log.append(NODE, { key: i % 100, value: i })
    if (rewrites > before) expect(whileWriting?.size).toBe(100)
  }
  expect(rewrites).toBeGreaterThan(2)
  expect(replayed(found(folder))).toEqual(state)
})

test('a state that does not fit gets a larger memory', () => {
  const folder = new MemoryFolder()
  const log = open(folder)
  log.addWriter(() => {
    for (let i = 0; i < 50_000; i++) log.append(NODE, i)
  })
  log.begin()
  expect(found(folder)).toHaveLength(50_000)
})

test('without room nothing is kept, and nothing old is left to go on with', () => {
  const folder = new MemoryFolder()
  const log = open(folder)
  log.begin()
  log.append(NODE, 1)
  folder.room = 0
  for (let i = 0; i < 60_000; i++) log.append(NODE, i)
  expect(log.isKept).toBe(false)
  expect(log.append(NODE, 1)).toBe(NO_SLOT)
  expect(errors.splice(0)).toHaveLength(1)
  expect(folder.buffers.size).toBe(0)
})

test('another boot, another share and another format are not read', () => {
  const folder = new MemoryFolder()
  const log = open(folder)
  log.begin()
  log.append(NODE, 1)
  expect(open(folder, 'boot 2').earlier).toEqual([])
  new Uint32Array(folder.buffers.get('session')!)[1]! ^= 0x0300_0000
  expect(found(folder)).toEqual([])
})

test('a damaged entry is a TypeError and no state', () => {
  const folder = new MemoryFolder()
  const log = open(folder)
  log.begin()
  log.append(NODE, 'damaged')
  const bytes = new Uint8Array(folder.buffers.get('session')!)
  bytes[bytes.lastIndexOf('"'.charCodeAt(0))] = 0
  expect(() => found(folder)).toThrow(TypeError)
})

test('whatever byte of a log changes, it is found, or the numbers are other ones', () => {
  const folder = new MemoryFolder()
  const log = open(folder)
  log.begin()
  for (let i = 0; i < 30; i++) log.append(NODE + i, { name: 'x'.repeat(i) }, i, -i)
  const used = new Uint32Array(folder.buffers.get('session')!)[2]!
  const all = found(folder).map(({ kind, value }) => ({ kind, value }))
  let refused = 0
  const bytes = new Uint8Array(folder.buffers.get('session')!)
  const read = () => {
    try {
      return open(folder).earlier.map(({ kind, value }) => ({ kind, value }))
    } catch (error) {
      return error
    } finally {
      folder.remove('session.readers')
    }
  }
  for (let at = 0; at < used; at++) {
    for (let bit = 1; bit < 0x100; bit <<= 1) {
      bytes[at]! ^= bit
      const entries = read()
      bytes[at]! ^= bit
      if (entries instanceof TypeError) {
        refused++
        continue
      }
      // The one byte that says which version of the format this is.
      if (at !== 7) expect(entries, `byte ${at}`).toEqual(all)
    }
  }
  expect(refused).toBeGreaterThan(4 * used)
})

test('a log that has become shorter is found, wherever it was cut', () => {
  const folder = new MemoryFolder()
  const log = open(folder)
  log.begin()
  for (let i = 0; i < 200; i++) log.append(NODE, 'x'.repeat(100), i)
  for (const bytes of [0, 4096, 8192, 1 << 19]) {
    const cut = folder.copy()
    cut.buffers.set('session', cut.buffers.get('session')!.slice(0, bytes))
    expect(() => open(cut), `${bytes} bytes`).toThrow(TypeError)
    const zeroed = folder.copy()
    new Uint8Array(zeroed.buffers.get('session')!).fill(0, bytes)
    if (bytes < 1 << 19) expect(() => open(zeroed), `${bytes} bytes and zeros`).toThrow(TypeError)
  }
})

test('a log of which the processes die that read it is refused after five, and one that is understood is not', () => {
  const folder = new MemoryFolder()
  const log = open(folder)
  log.begin()
  log.append(NODE, 1)
  for (let life = 0; life < 10; life++) {
    const next = open(folder)
    expect(next.earlier).toHaveLength(1)
    next.understood()
  }
  for (let death = 0; death < 5; death++) expect(open(folder).earlier).toHaveLength(1)
  expect(() => open(folder)).toThrow(/5 processes/)
})

test('a log that somebody shortens is kept no more, and says so once', () => {
  const folder = new MemoryFolder()
  const log = open(folder)
  log.begin()
  log.append(NODE, 1)
  folder.shorten('session')
  expect(log.append(NODE, 2)).toBe(NO_SLOT)
  expect(log.append(NODE, 3)).toBe(NO_SLOT)
  expect(log.isKept).toBe(false)
  expect(errors.splice(0)).toEqual([expect.any(TypeError)])
  expect(found(folder)).toEqual([])
})

function replayed(entries: readonly { value: unknown }[]): Map<number, number> {
  return new Map(
    entries.map(({ value }) => {
      const { key, value: number } = value as { key: number; value: number }
      return [key, number]
    }),
  )
}

test('a session that would take more than half of 512 MiB is told once, and is kept no more', () => {
  const errors: Error[] = []
  const folder = new MemoryFolder()
  const log = new SessionLog({ folder, identity: 'same', onError: error => errors.push(error) })
  const piece = 'x'.repeat(8 << 20)
  log.addWriter(() => {
    for (let i = 0; i < 33; i++) log.append(16, piece)
  })
  log.begin()
  expect(errors).toMatchObject([{ message: 'the log of the session would be too long' }])
  expect(log.isKept).toBe(false)
  expect(folder.buffers.size).toBe(0)
}, 120_000)
