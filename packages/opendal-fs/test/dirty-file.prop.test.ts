import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { BlockCache, Content } from '../src/files/block-cache.ts'
import { DirtyFile } from '../src/writes/dirty-file.ts'
import { StagingBudget } from '../src/writes/staging-store.ts'
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

it.each([
  ['in memory', 1 << 24],
  ['in a file once memory is used up', 128 << 10],
  ['in a file', 0],
])('holds what a plain buffer would, %s', async (_, memory) => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: 200_000 }),
      fc.array(change, { maxLength: 12 }),
      async (baseSize, changes) => {
        const cache = new BlockCache(1 << 24)
        const budget = new StagingBudget(memory)
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
            file.punch(change.punch, change.punch + change.length)
            plain.fill(0, change.punch, change.punch + change.length)
          } else if ('zero' in change) {
            const end = change.zero + change.length
            file.punch(change.zero, end)
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
        expect(budget.used).toBe(0)
        expect(budget.diskUsed).toBe(0)
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
  file.punch(0, 2 ** 39)
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
