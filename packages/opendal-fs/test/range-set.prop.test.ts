import fc from 'fast-check'
import { expect, it } from 'vitest'
import { RangeSet } from '../src/writes/range-set.ts'

const SPACE = 64
const range = fc.tuple(fc.nat({ max: SPACE }), fc.nat({ max: SPACE }))
const change = fc.oneof(
  range.map(([a, b]) => ({ add: [Math.min(a, b), Math.max(a, b)] as const })),
  range.map(([a, b]) => ({ remove: [Math.min(a, b), Math.max(a, b)] as const })),
  fc.nat({ max: SPACE }).map(clip => ({ clip })),
)

it('holds the positions that a set of numbers would, in as few ranges as possible', () => {
  fc.assert(
    fc.property(fc.array(change, { maxLength: 30 }), changes => {
      const ranges = new RangeSet()
      const plain = new Set<number>()
      for (const change of changes) {
        if ('add' in change) {
          ranges.add(...change.add)
          for (let i = change.add[0]; i < change.add[1]; i++) plain.add(i)
        } else if ('remove' in change) {
          ranges.remove(...change.remove)
          for (let i = change.remove[0]; i < change.remove[1]; i++) plain.delete(i)
        } else {
          ranges.clip(change.clip)
          for (const i of [...plain]) if (i >= change.clip) plain.delete(i)
        }
      }
      const edges: number[] = []
      for (let i = 0; i <= SPACE; i++) {
        expect(ranges.has(i)).toBe(plain.has(i))
        if (plain.has(i) !== plain.has(i - 1)) edges.push(i)
      }
      expect([...ranges].flat()).toEqual(edges)
      for (let i = 0; i < SPACE; i++) {
        expect(ranges.pieceEnd(i, SPACE)).toBe(Math.min(edges.find(edge => edge > i) ?? SPACE, SPACE))
      }
    }),
  )
})
