import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { BlockCache, Content } from '../src/files/block-cache.ts'
import { DirtyFile } from '../src/writes/dirty-file.ts'
import { StagingBudget } from '../src/writes/staging-budget.ts'
import { Reply, requestData } from './guest.ts'

const place = fc.nat({ max: 300_000 })
const change = fc.oneof(
  fc.record({ write: place, bytes: fc.uint8Array({ minLength: 1, maxLength: 100 }) }),
  fc.record({ write: place, long: fc.integer({ min: 1, max: 150_000 }) }),
  fc.record({ truncate: place }),
  fc.record({ punch: place, length: fc.integer({ min: 1, max: 150_000 }) }),
  fc.record({ zero: place, length: fc.integer({ min: 1, max: 150_000 }) }),
  fc.constant({ detach: true }),
  fc.constant({ rebase: true }),
)

async function all(file: DirtyFile): Promise<Uint8Array> {
  const out = new Reply(file.size)
  await file.read(0, file.size, out)
  return out.data
}

/** What is called a hole reads as zeros, and holes and data take turns up to the end. */
function expectHonestHoles(file: DirtyFile, plain: Uint8Array): void {
  for (let at = 0; at < file.size; ) {
    const hole = file.seek(at, 'hole')!
    const data = file.seek(hole, 'data') ?? file.size
    expect(hole).toBeGreaterThanOrEqual(at)
    expect(plain.subarray(hole, data).every(byte => byte === 0)).toBe(true)
    expect(data > hole || hole === file.size).toBe(true)
    at = data
  }
}

it.each<[string, number, number?]>([
  ['in memory', 1 << 24],
  ['in a file once memory is used up', 128 << 10],
  ['in a file', 0],
  ['in blocks from the start', 1 << 24, 0],
  ['in blocks from the third range on', 128 << 10, 48],
])('holds what a plain buffer would, %s', async (_, memory, mostRanges) => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: 200_000 }),
      fc.array(change, { maxLength: 12 }),
      async (baseSize, changes) => {
        const cache = new BlockCache(1 << 24)
        const budget = new StagingBudget(memory, undefined, undefined, { mostRanges })
        const contentOf = (bytes: Uint8Array) =>
          new Content(bytes.byteLength, undefined, async (_, offset, length) =>
            bytes.slice(offset, offset + length),
          )
        let plain = Uint8Array.from({ length: baseSize }, (_, i) => i & 0xff)
        const file = new DirtyFile(cache, budget, contentOf(plain.slice()), { sec: 0, nsec: 0 })
        for (const change of changes) {
          if ('truncate' in change) {
            file.truncate(change.truncate)
            const next = new Uint8Array(change.truncate)
            next.set(plain.subarray(0, change.truncate))
            plain = next
          } else if ('punch' in change) {
            await file.punch(change.punch, change.punch + change.length)
            plain.fill(0, change.punch, change.punch + change.length)
          } else if ('zero' in change) {
            const end = change.zero + change.length
            await file.punch(change.zero, end)
            if (end > file.size) file.truncate(end)
            const next = new Uint8Array(Math.max(plain.byteLength, end))
            next.set(plain)
            plain = next.fill(0, change.zero, end)
          } else if ('detach' in change) {
            await file.detach()
          } else if ('rebase' in change) {
            file.rebase(contentOf(plain.slice()), file.mark())
          } else {
            const bytes = 'long' in change ? new Uint8Array(change.long).fill(change.long) : change.bytes
            await file.write(change.write, requestData(bytes))
            const next = new Uint8Array(Math.max(plain.byteLength, change.write + bytes.byteLength))
            next.set(plain)
            next.set(bytes, change.write)
            plain = next
          }
          expect(Buffer.compare(await all(file), plain)).toBe(0)
          expectHonestHoles(file, plain)
        }
        file.close()
        expect([budget.used, budget.ranges]).toEqual([0, 0])
        // The file may be about to be cut.
        if (budget.diskUsed > 0) await expect.poll(() => budget.diskUsed).toBe(0)
      },
    ),
    { numRuns: 40 },
  )
})

it('refuses what would take more of the disk than is allowed, and leaves no file behind', async () => {
  const left = () => readdirSync(tmpdir()).filter(name => /^ovfs-[0-9a-f]{8}-/.test(name)).length
  const before = left()
  const file = new DirtyFile(new BlockCache(0), new StagingBudget(0, 2 << 20), undefined, { sec: 0, nsec: 0 })
  await file.write(0, requestData(new Uint8Array(2 << 20)))
  await expect(file.write(2 << 20, requestData(new Uint8Array(1)))).rejects.toMatchObject({ code: 'ENOSPC' })
  expect(file.size).toBe(2 << 20)
  expect(left()).toBe(before)
  file.close()
})

it('takes no memory for holes, however large, and gives back that of what is punched or cut', async () => {
  const budget = new StagingBudget(1 << 20)
  const file = new DirtyFile(new BlockCache(0), budget, undefined, { sec: 0, nsec: 0 })
  await file.write(2 ** 40, requestData(new Uint8Array(10).fill(1)))
  expect([file.size, budget.used, budget.diskUsed]).toEqual([2 ** 40 + 10, 64 << 10, 0])
  await file.write(0, requestData(new Uint8Array(256 << 10).fill(1)))
  expect(budget.used).toBe(320 << 10)
  await file.punch(0, 2 ** 39)
  expect(budget.used).toBe(64 << 10)
  expect([file.seek(0, 'data'), file.seek(2 ** 40, 'hole')]).toEqual([2 ** 40, 2 ** 40 + 10])
  file.truncate(0)
  expect(budget.used).toBe(0)
  file.close()
})

it('keeps what was written when memory and disk are full, and takes more once there is room', async () => {
  const budget = new StagingBudget(128 << 10, 0)
  const file = new DirtyFile(new BlockCache(0), budget, undefined, { sec: 0, nsec: 0 })
  await file.write(0, requestData(new Uint8Array(128 << 10).fill(7)))
  const more = requestData(new Uint8Array(1))
  for (let attempt = 0; attempt < 3; attempt++) {
    await expect(file.write(128 << 10, more)).rejects.toMatchObject({ code: 'ENOSPC' })
  }
  expect(await all(file)).toEqual(new Uint8Array(128 << 10).fill(7))
  expect(budget.diskUsed).toBe(0)
  file.truncate(64 << 10)
  expect(file.write(64 << 10, more)).toBe(1)
  file.close()
})

it('takes few ranges for many scattered changes, and loses none of them', async () => {
  const size = 8 << 20
  const blocks = size / (64 << 10)
  const budget = new StagingBudget(1 << 24, undefined, undefined, { mostRanges: 16_000 })
  const plain = new Uint8Array(size).fill(9)
  const base = new Content(size, undefined, async (_, offset, length) => plain.slice(offset, offset + length))
  const file = new DirtyFile(new BlockCache(1 << 24), budget, base, { sec: 0, nsec: 0 })
  const wanted = plain.slice()
  for (let at = 0; at < size; at += 1000) {
    await file.write(at, requestData(Uint8Array.of(1, 2)))
    wanted.set([1, 2], at)
  }
  expect(budget.ranges).toBeLessThanOrEqual(1_000 + blocks)
  for (let at = 500; at < size; at += 1000) {
    await file.punch(at, at + 2)
    wanted.fill(0, at, at + 2)
  }
  expect(budget.ranges).toBeLessThanOrEqual(1_000 + 2 * blocks)
  expect(Buffer.compare(await all(file), wanted)).toBe(0)
  file.close()
  expect(budget.ranges).toBe(0)
})

it('loses no write that comes while the block around another is being fetched', async () => {
  const budget = new StagingBudget(1 << 24, undefined, undefined, { mostRanges: 0 })
  let release: () => void = () => undefined
  const gate = new Promise<void>(resolve => {
    release = resolve
  })
  const base = new Content(200_000, undefined, async (_, _offset, length) => {
    await gate
    return new Uint8Array(length).fill(9)
  })
  const file = new DirtyFile(new BlockCache(1 << 24), budget, base, { sec: 0, nsec: 0 })
  const writes = [10, 20, 70_000].map(at => file.write(at, requestData(Uint8Array.of(1))))
  file.truncate(100)
  file.truncate(300)
  const punched = file.punch(30, 40)
  release()
  await Promise.all([...writes, punched])
  const wanted = new Uint8Array(70_001).fill(9, 0, 100).fill(0, 30, 40)
  for (const at of [10, 20, 70_000]) wanted[at] = 1
  expect(Buffer.compare(await all(file), wanted)).toBe(0)
  file.close()
})

it('gives disk back for what is cut off, so that there is room for more', async () => {
  const budget = new StagingBudget(0, 4 << 20)
  const file = new DirtyFile(new BlockCache(0), budget, undefined, { sec: 0, nsec: 0 })
  const full = requestData(new Uint8Array(4 << 20).fill(7))
  await file.write(0, full)
  for (const size of [(1 << 20) + 1, 0]) {
    const writing = file.write(1 << 20, requestData(new Uint8Array(1 << 20).fill(8)))
    file.truncate(size)
    await writing
    expect(Buffer.compare((await all(file)).subarray(1 << 20), new Uint8Array(1 << 20).fill(8))).toBe(0)
    file.truncate(size)
    await expect.poll(() => budget.diskUsed).toBe(size === 0 ? 0 : 2 << 20)
  }
  await file.write(0, full)
  expect(Buffer.compare(await all(file), new Uint8Array(4 << 20).fill(7))).toBe(0)
  file.close()
})
