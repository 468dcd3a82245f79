import { array, bytes, type Field, i32, i64, n64, pad, struct, u8, u16, u32, u64 } from '@ovfs/cstruct'
import { structArbitrary } from '@ovfs/cstruct/arbitrary'
import fc from 'fast-check'
import { expect, test } from 'vitest'

const scalar = fc.constantFrom<Field<unknown>[]>(
  ...([u8, u16, u32, i32, u64, i64, n64, bytes(5), pad(3)] as unknown as Field<unknown>[]),
)
const field = fc.oneof(
  scalar,
  fc.tuple(fc.constantFrom(u8, u16, u32), fc.integer({ min: 1, max: 4 })).map(([kind, n]) => array(kind, n)),
  fc.array(scalar, { minLength: 1, maxLength: 3 }).map(kinds => struct('inner', named(kinds))),
) as fc.Arbitrary<Field<unknown>>

function named(kinds: Field<unknown>[]): Record<string, Field<unknown>> {
  return Object.fromEntries(kinds.map((kind, i) => [`field${i}`, kind]))
}

test('any value of any table survives the round trip, wherever it lies', () => {
  fc.assert(
    fc.property(
      fc.array(field, { minLength: 1, maxLength: 8 }).chain(kinds => {
        const table = struct('any', named(kinds))
        return fc.tuple(fc.constant(table), structArbitrary(table), fc.nat(9))
      }),
      ([table, value, offset]) => {
        const view = new DataView(new ArrayBuffer(offset + table.size))
        table.encode(value, view, offset)
        expect(table.decode(view, offset)).toEqual(value)
      },
    ),
  )
})

test('no two fields overlap and each lies at its alignment', () => {
  fc.assert(
    fc.property(fc.array(field, { minLength: 1, maxLength: 8 }), kinds => {
      const table = struct('any', named(kinds))
      let end = 0
      for (const [name, kind] of Object.entries(table.fields)) {
        const offset = table.offsets[name] as number
        expect(offset % kind.align).toBe(0)
        expect(offset).toBeGreaterThanOrEqual(end)
        end = offset + kind.size
      }
      expect(table.size).toBeGreaterThanOrEqual(end)
      expect(table.size % table.align).toBe(0)
    }),
  )
})
