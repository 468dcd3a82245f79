import { expect, test } from 'vitest'
import { NO_SLOT, SessionLog } from '../src/index.ts'
import { MemoryFolder } from './memory-folder.ts'

const NODE = 7777
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
  for (let at = words.length - 1; at > 0; at--) {
    if (words[at] !== NODE) continue
    words[at] = 0
    expect(found(folder)).toEqual(all.slice(0, --kept))
  }
  expect(kept).toBe(0)
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
  new Uint32Array(folder.buffers.get('session')!)[1] = 0
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
