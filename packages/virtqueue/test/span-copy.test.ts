// Scatter and gather against a flat array.

import { copyFromSpans, copyToSpans, fillSpans, Spans } from '@ovfs/virtqueue'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

/** Spans of the given lengths with gaps between them, over one buffer, and a flat copy of what they hold. */
function scattered(lengths: readonly number[]) {
  const gap = 3
  const size = lengths.reduce((sum, length) => sum + length + gap, gap)
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  const spans = new Spans()
  let at = gap
  for (const length of lengths) {
    spans.push(view, bytes, at, length)
    at += length + gap
  }
  const flat = () => {
    const parts = lengths.map((length, i) => [
      ...bytes.subarray(spans.offsets[i]!, spans.offsets[i]! + length),
    ])
    return parts.flat()
  }
  const gaps = () => {
    const inside = new Set<number>()
    lengths.forEach((length, i) => {
      for (let k = 0; k < length; k++) inside.add(spans.offsets[i]! + k)
    })
    return [...bytes].filter((_, i) => !inside.has(i))
  }
  return { spans, flat, gaps }
}

const lengths = fc.array(fc.integer({ min: 1, max: 150 }), { maxLength: 6 })
const position = fc.integer({ min: 0, max: 500 })

describe('copying', () => {
  it('into and out of spans agrees with a flat array and touches nothing between the spans', () => {
    fc.assert(
      fc.property(lengths, position, position, position, (shape, offset, sourceOffset, length) => {
        const { spans, flat, gaps } = scattered(shape)
        const source = Uint8Array.from({ length: 300 }, (_, i) => 1 + (i % 250))
        const expected = flat()
        const room = Math.max(0, Math.min(length, 300 - sourceOffset, expected.length - offset))
        for (let i = 0; i < room; i++) expected[offset + i] = source[sourceOffset + i]!
        expect(copyToSpans(spans, offset, source, sourceOffset, length)).toBe(room)
        expect(flat()).toEqual(expected)
        expect(gaps().every(byte => byte === 0)).toBe(true)

        const target = new Uint8Array(300)
        const back = Math.max(0, Math.min(length, 300 - sourceOffset, expected.length - offset))
        expect(copyFromSpans(spans, offset, target, sourceOffset, length)).toBe(back)
        const taken = expected.slice(offset, offset + back)
        expect([...target]).toEqual([
          ...new Array(Math.min(sourceOffset, 300)).fill(0),
          ...taken,
          ...new Array(Math.max(0, 300 - sourceOffset - back)).fill(0),
        ])
      }),
    )
  })

  it('fills a range and nothing else', () => {
    fc.assert(
      fc.property(lengths, position, position, (shape, offset, length) => {
        const { spans, flat, gaps } = scattered(shape)
        const expected = flat()
        const end = Math.min(expected.length, offset + length)
        for (let i = offset; i < end; i++) expected[i] = 9
        expect(fillSpans(spans, offset, length, 9)).toBe(Math.max(0, end - offset))
        expect(flat()).toEqual(expected)
        expect(gaps().every(byte => byte === 0)).toBe(true)
      }),
    )
  })

  it('moves nothing once the spans are cleared', () => {
    const { spans, flat } = scattered([10, 10])
    spans.clear()
    expect(copyToSpans(spans, 0, new Uint8Array(20).fill(1))).toBe(0)
    expect(copyFromSpans(spans, 0, new Uint8Array(20))).toBe(0)
    expect(fillSpans(spans, 0, 20, 1)).toBe(0)
    expect(flat().every(byte => byte === 0)).toBe(true)
  })
})
