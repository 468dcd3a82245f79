import { CstructError } from '@ovfs/cstruct'
import { structArbitrary } from '@ovfs/cstruct/arbitrary'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Attr, EntryOut, KstatfsOut } from '../src/index.ts'
import { storeAttr, storeEntry, storeStatfs } from '../src/reply-encoding.ts'
import { STRUCT_TABLES } from './struct-tables.ts'

describe('every struct', () => {
  test.each(STRUCT_TABLES.map(table => [table.cName, table] as const))(
    '%s survives a round trip',
    (_, table) => {
      fc.assert(
        fc.property(structArbitrary(table), value => {
          expect(table.fromBytes(table.toBytes(value))).toEqual(value)
        }),
        { numRuns: 30 },
      )
    },
  )

  test.each(STRUCT_TABLES.map(table => [table.cName, table] as const))(
    '%s refuses every truncation',
    (_, table) => {
      const bytes = new Uint8Array(table.size)
      for (let length = 0; length < table.size; length++) {
        expect(() => table.fromBytes(bytes.subarray(0, length))).toThrow(CstructError)
      }
    },
  )
})

const signed = fc.integer({ min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER })
const attrArbitrary = fc
  .tuple(structArbitrary(Attr), signed, signed, signed)
  .map(([attr, atime, mtime, ctime]) => ({ ...attr, atime, mtime, ctime }))

describe('the hand-written encoders give the bytes of the tables', () => {
  test('attributes', () => {
    fc.assert(
      fc.property(attrArbitrary, attr => {
        const bytes = new Uint8Array(Attr.size).fill(0xee)
        storeAttr(new DataView(bytes.buffer), 0, attr)
        expect(bytes).toEqual(Attr.toBytes(attr))
      }),
    )
  })

  test('entries', () => {
    const entries = fc
      .tuple(structArbitrary(EntryOut), attrArbitrary)
      .map(([entry, attr]) => ({ ...entry, attr }))
    fc.assert(
      fc.property(entries, entry => {
        const bytes = new Uint8Array(EntryOut.size).fill(0xee)
        storeEntry(new DataView(bytes.buffer), 0, entry)
        expect(bytes).toEqual(EntryOut.toBytes(entry))
      }),
    )
  })

  test('statfs', () => {
    fc.assert(
      fc.property(structArbitrary(KstatfsOut), value => {
        const bytes = new Uint8Array(KstatfsOut.size).fill(0xee)
        storeStatfs(new DataView(bytes.buffer), 0, value)
        expect(bytes).toEqual(KstatfsOut.toBytes(value))
      }),
    )
  })
})
