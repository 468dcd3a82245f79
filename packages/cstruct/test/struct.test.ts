import { array, bytes, CstructError, i32, n64, pad, struct, u8, u16, u32, u64 } from '@ovfs/cstruct'
import { describe, expect, test } from 'vitest'

const Sample = struct('sample', {
  kind: u8,
  count: u16,
  id: u64,
  size: n64,
  error: i32,
  padding: pad(4),
})

const thrown = (run: () => unknown): CstructError => {
  try {
    run()
  } catch (error) {
    if (error instanceof CstructError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

describe('layout', () => {
  test('fields lie at their natural alignment, as a C compiler puts them', () => {
    expect(Sample.offsets).toEqual({ kind: 0, count: 2, id: 8, size: 16, error: 24, padding: 28 })
    expect(Sample.size).toBe(32)
    expect(Sample.align).toBe(8)
  })

  test('a struct is padded at its end to its own alignment', () => {
    expect(struct('tail', { wide: n64, narrow: u8 }).size).toBe(16)
  })

  test('a nested struct and an array keep the alignment of what they hold', () => {
    const outer = struct('outer', { flag: u8, inner: Sample, list: array(u16, 3), raw: bytes(3) })
    expect(outer.offsets).toEqual({ flag: 0, inner: 8, list: 40, raw: 46 })
    expect(outer.size).toBe(56)
  })
})

describe('codec', () => {
  test('values are little-endian and padding is zero', () => {
    const out = Sample.toBytes({
      kind: 1,
      count: 0x0203,
      id: 0x0405060708090a0bn,
      size: 0x1122334455,
      error: -2,
    })
    expect(Buffer.from(out).toString('hex')).toBe(
      '01000302000000000b0a0908070605045544332211000000feffffff00000000',
    )
  })

  test('encoding wipes what stood in the gaps before', () => {
    const target = new Uint8Array(Sample.size).fill(0xff)
    Sample.encode({ kind: 0, count: 0, id: 0n, size: 0, error: 0 }, new DataView(target.buffer))
    expect(target.every(byte => byte === 0)).toBe(true)
  })

  test('decoding starts at the given offset', () => {
    const value = { kind: 9, count: 8, id: 7n, size: 6, error: 5 }
    const target = new Uint8Array(Sample.size + 5)
    const view = new DataView(target.buffer)
    Sample.encode(value, view, 5)
    expect(Sample.decode(view, 5)).toEqual(value)
  })
})

describe('errors', () => {
  test('every truncation says the struct, the need and what is there', () => {
    const whole = Sample.toBytes({ kind: 1, count: 2, id: 3n, size: 4, error: 5 })
    for (let have = 0; have < whole.byteLength; have++) {
      const error = thrown(() => Sample.fromBytes(whole.subarray(0, have)))
      expect(error).toMatchObject({ code: 'TRUNCATED', struct: 'sample', need: 32, have })
    }
  })

  test('a size above 2^53-1 is refused with the field and its offset', () => {
    const raw = Sample.toBytes({ kind: 1, count: 2, id: 3n, size: Number.MAX_SAFE_INTEGER, error: 5 })
    expect(Sample.fromBytes(raw).size).toBe(Number.MAX_SAFE_INTEGER)
    new DataView(raw.buffer).setBigUint64(16, 2n ** 53n, true)
    expect(thrown(() => Sample.fromBytes(raw))).toMatchObject({
      code: 'UNSAFE_INTEGER',
      struct: 'sample',
      field: 'size',
      offset: 16,
    })
  })

  test.each([
    ['kind', 256],
    ['count', -1],
    ['size', 2 ** 53],
    ['error', 2 ** 31],
    ['count', 1.5],
  ])('a value that does not fit is refused and nothing is written: %s = %d', (field, value) => {
    const target = new Uint8Array(Sample.size).fill(0xaa)
    const good = { kind: 1, count: 2, id: 3n, size: 4, error: 5 }
    const error = thrown(() => Sample.encode({ ...good, [field]: value }, new DataView(target.buffer)))
    expect(error).toMatchObject({ code: 'OUT_OF_RANGE', field })
    expect(target.every(byte => byte === 0xaa)).toBe(true)
  })

  test('an array or a byte string of another length is refused', () => {
    const table = struct('lists', { list: array(u8, 2), raw: bytes(2) })
    expect(thrown(() => table.toBytes({ list: [1], raw: new Uint8Array(2) })).field).toBe('list')
    expect(thrown(() => table.toBytes({ list: [1, 2], raw: new Uint8Array(3) })).field).toBe('raw')
    expect(thrown(() => table.toBytes({ list: [1, 999], raw: new Uint8Array(2) })).code).toBe('OUT_OF_RANGE')
  })
})

test('a u32 field holds the whole unsigned range', () => {
  const table = struct('unsigned', { value: u32 })
  expect(table.fromBytes(table.toBytes({ value: 0xffff_ffff })).value).toBe(0xffff_ffff)
})
