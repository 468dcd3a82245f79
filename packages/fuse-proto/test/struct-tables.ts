// Every struct table of the package, found by its shape, so that none can be forgotten in a test.

import type { FieldTable, Struct } from '@ovfs/cstruct'
import * as basic from '../src/structs.ts'
import * as extended from '../src/structs-extended.ts'

function isStruct(value: unknown): value is Struct<FieldTable> {
  return typeof value === 'object' && value !== null && 'cName' in value
}

const exported: readonly unknown[] = [...Object.values(basic), ...Object.values(extended)]

export const STRUCT_TABLES: readonly Struct<FieldTable>[] = exported.filter(isStruct)
