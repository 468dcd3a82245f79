// A fast-check arbitrary from a struct table: any value that the struct can hold. Needs fast-check, which only tests have.

import fc from 'fast-check'
import type { Field } from './field.ts'
import type { FieldTable, Struct, StructValue } from './struct.ts'

function fieldArbitrary(field: Field<unknown>): fc.Arbitrary<unknown> {
  if ('fields' in field) return structArbitrary(field as unknown as Struct<FieldTable>)
  if (field.range) {
    const [min, max] = field.range
    const wide = field.type === 'u64' && max === 2n ** 64n - 1n
    if (wide || min < BigInt(Number.MIN_SAFE_INTEGER)) return fc.bigInt({ min, max })
    return field.size === 8 ? fc.maxSafeNat() : fc.integer({ min: Number(min), max: Number(max) })
  }
  if (field.element) {
    const count = field.count as number
    return fc.array(fieldArbitrary(field.element), { minLength: count, maxLength: count })
  }
  const count = field.count as number
  return fc.uint8Array({ minLength: count, maxLength: count })
}

/** Any value of the struct. */
export function structArbitrary<F extends FieldTable>(table: Struct<F>): fc.Arbitrary<StructValue<F>> {
  const members: Record<string, fc.Arbitrary<unknown>> = {}
  for (const [name, field] of Object.entries(table.fields)) {
    if (!field.isPadding) members[name] = fieldArbitrary(field)
  }
  return fc.record(members) as fc.Arbitrary<StructValue<F>>
}
