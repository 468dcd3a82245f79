// Every struct table of the package, found by its shape, so that none can be forgotten in a test.

import type { FieldTable, Struct } from '@ovfs/cstruct'
import * as basic from '../src/structs.ts'
import * as extended from '../src/structs-extended.ts'

function isStruct(value: unknown): value is Struct<FieldTable> {
  return typeof value === 'object' && value !== null && 'cName' in value
}

export const STRUCT_TABLES: readonly Struct<FieldTable>[] = [
  ...Object.values(basic),
  ...Object.values(extended),
].filter(isStruct)
