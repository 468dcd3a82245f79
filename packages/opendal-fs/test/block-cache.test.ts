import fc from 'fast-check'
import { expect, it } from 'vitest'
import { BlockCache, Content, GRANULE } from '../src/files/block-cache.ts'
import { Reply } from './guest.ts'

/** Each byte tells its place, so that a byte from elsewhere is seen. */
const byteAt = (place: number) => (place * 7 + Math.floor(place / 256) * 13) & 0xff
const range = (offset: number, length: number) => Uint8Array.from({ length }, (_, i) => byteAt(offset + i))

function content(size: number, fetched: [number, number][] = []): Content {
  return new Content(size, undefined, async (_, offset, length) => {
    expect(offset + length).toBeLessThanOrEqual(size)
    fetched.push([offset, length])
    return range(offset, length)
  })
}

async function read(cache: BlockCache, from: Content, offset: number, end: number): Promise<Uint8Array> {
  const out = new Reply(end - offset)
  if (!cache.readNow(from, offset, end, out)) await cache.read(from, offset, end, out)
  return out.data
}

it('gives the right bytes whatever was read before, under any ceiling', async () => {
  const size = 40 * GRANULE + 123
  const place = fc.nat({ max: size - 1 })
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(place, fc.nat({ max: 5 * GRANULE })), { maxLength: 20 }),
      async reads => {
        const cache = new BlockCache(12 * GRANULE)
        const file = content(size)
        for (const [offset, length] of reads) {
          const end = Math.min(size, offset + length + 1)
          expect(Buffer.compare(await read(cache, file, offset, end), range(offset, end - offset))).toBe(0)
          expect(cache.bytes).toBeLessThanOrEqual(cache.limit)
        }
      },
    ),
    { numRuns: 30 },
  )
})

it('fetches a place once for all who want it at the same time', async () => {
  const fetched: [number, number][] = []
  const cache = new BlockCache(100 * GRANULE)
  const file = content(10 * GRANULE, fetched)
  await Promise.all(Array.from({ length: 10 }, () => read(cache, file, 5, 10)))
  expect(fetched).toEqual([[0, GRANULE]])
})

it('writes nothing when a part is missing and no waiting is allowed', async () => {
  const cache = new BlockCache(100 * GRANULE)
  const file = content(10 * GRANULE)
  await read(cache, file, 0, 10)
  const out = new Reply(2 * GRANULE)
  expect(cache.readNow(file, 0, 2 * GRANULE, out)).toBe(false)
  expect(out.data.byteLength).toBe(0)
})

it('tells every reader of a failed fetch, and fetches again for the next', async () => {
  let failing = true
  const cache = new BlockCache(100 * GRANULE)
  const file = new Content(GRANULE, undefined, async (_, offset, length) => {
    if (failing) throw new Error('no')
    return range(offset, length)
  })
  const outcomes = await Promise.allSettled([read(cache, file, 0, 1), read(cache, file, 1, 2)])
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect(cache.bytes).toBe(0)
  failing = false
  expect(await read(cache, file, 0, 4)).toEqual(range(0, 4))
})

it('drops what was used least, and keeps what is read again and again', async () => {
  const fetched: [number, number][] = []
  const cache = new BlockCache(8 * GRANULE)
  const file = content(100 * GRANULE, fetched)
  for (let i = 1; i < 50; i++) {
    await read(cache, file, 0, 10)
    await read(cache, file, i * GRANULE, i * GRANULE + 10)
  }
  expect(fetched.filter(([offset]) => offset === 0)).toHaveLength(1)
})

it('forgets a discarded version, and what of it arrives later', async () => {
  const cache = new BlockCache(100 * GRANULE)
  const file = content(10 * GRANULE)
  await read(cache, file, 0, 10)
  const late = read(cache, file, 5 * GRANULE, 5 * GRANULE + 1)
  cache.discard(file)
  expect(await late).toEqual(range(5 * GRANULE, 1))
  expect(cache.bytes).toBe(0)
})
