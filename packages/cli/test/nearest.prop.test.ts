import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { editDistance, nearest } from '../src/nearest.ts'

const word = fc.string({ maxLength: 8, unit: fc.constantFrom('a', 'b', 'c', '_') })

describe('the edit distance', () => {
  it('is zero for equal words only, and the same in both directions', () => {
    fc.assert(
      fc.property(word, word, (a, b) => {
        expect(editDistance(a, b) === 0).toBe(a === b)
        expect(editDistance(a, b)).toBe(editDistance(b, a))
      }),
    )
  })

  it('is at most the longer length and at least the difference of the lengths', () => {
    fc.assert(
      fc.property(word, word, (a, b) => {
        expect(editDistance(a, b)).toBeLessThanOrEqual(Math.max(a.length, b.length))
        expect(editDistance(a, b)).toBeGreaterThanOrEqual(Math.abs(a.length - b.length))
      }),
    )
  })

  it('is one for a swap of neighbours', () => {
    expect(editDistance('regoin', 'region')).toBe(1)
  })
})

describe('the nearest name', () => {
  it.each([
    ['s4', ['s3', 'fs'], 's3'],
    ['webdaw', ['webdav', 'webhdfs'], 'webdav'],
    ['access-key-id', ['access_key_id', 'secret_access_key'], 'access_key_id'],
    ['nothing-like-it', ['s3', 'fs'], undefined],
    ['', ['s3'], undefined],
  ])('%s', (name, candidates, meant) => {
    expect(nearest(name, candidates)).toBe(meant)
  })
})
