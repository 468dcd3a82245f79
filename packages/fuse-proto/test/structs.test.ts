import { readFileSync } from 'node:fs'
import { cFieldName } from '@ovfs/cstruct'
import { describe, expect, test } from 'vitest'
import { Attr, SetxattrInCompat } from '../src/index.ts'
import { canCompile, compileLayout, type HeaderLayout } from './header/layout-program.ts'
import newer from './header/newer-structs.json' with { type: 'json' }
import { STRUCT_TABLES } from './struct-tables.ts'

const recordedPath = new URL('./header/compiled-layout.json', import.meta.url)
const recorded = JSON.parse(readFileSync(recordedPath, 'utf8')) as HeaderLayout
const newerStructs = newer.structs as unknown as HeaderLayout['structs']

/** Fields without meaning, which a table may leave out or give to a field of a newer header. */
const isPadding = (field: string) => /^(padding|dummy|unused|spare|reserved|name$)/.test(field)

const tables = STRUCT_TABLES.filter(table => table !== SetxattrInCompat)

describe('the struct tables agree with <linux/fuse.h>', () => {
  test.each(tables.map(table => [table.cName, table] as const))('%s', (cName, table) => {
    const layouts = [recorded.structs[cName], newerStructs[cName]].filter(layout => layout !== undefined)
    expect(layouts, 'in the compiled layout or in newer-structs.json').not.toHaveLength(0)
    for (const layout of layouts) expect(table.size).toBe(layout.size)
    const known = Object.assign({}, ...layouts.map(layout => layout.fields)) as Record<string, number>
    const named = Object.keys(table.fields).filter(field => !table.fields[field]!.isPadding)
    expect(Object.fromEntries(named.map(field => [cFieldName(field), table.offsets[field]]))).toEqual(
      Object.fromEntries(Object.entries(known).filter(([field]) => named.map(cFieldName).includes(field))),
    )
    const missing = Object.keys(known).filter(
      field => !isPadding(field) && !named.map(cFieldName).includes(field),
    )
    expect(missing, 'fields of the header that the table lacks').toEqual([])
  })

  test('every structure of the header has a table', () => {
    const names = new Set(tables.map(table => table.cName))
    expect(Object.keys({ ...recorded.structs, ...newerStructs }).filter(name => !names.has(name))).toEqual([])
  })

  test.skipIf(!canCompile(recorded.minor))(
    'the recorded layout is what the compiler says (needs cc and linux/fuse.h of the same minor)',
    async () => {
      const layout = `${JSON.stringify(compileLayout(), null, 2)}\n`
      await expect(layout).toMatchFileSnapshot('./header/compiled-layout.json')
    },
  )
})

test('a time before 1970 survives as two’s complement', () => {
  const value = { ...zeroAttr, atime: -1, mtime: -1_000_000_000_000, ctime: 0 }
  const bytes = Attr.toBytes(value)
  const view = new DataView(bytes.buffer)
  expect(view.getBigInt64(Attr.offsets.atime, true)).toBe(-1n)
  expect(view.getBigInt64(Attr.offsets.mtime, true)).toBe(-1_000_000_000_000n)
  expect(Attr.fromBytes(bytes)).toEqual(value)
})

test('seconds beyond what a number holds are clamped', () => {
  const bytes = Attr.toBytes(zeroAttr)
  const view = new DataView(bytes.buffer)
  view.setBigInt64(Attr.offsets.atime, 2n ** 63n - 1n, true)
  view.setBigInt64(Attr.offsets.mtime, -(2n ** 63n), true)
  const { atime, mtime } = Attr.fromBytes(bytes)
  expect([atime, mtime]).toEqual([Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER])
})

const zeroAttr = Attr.fromBytes(new Uint8Array(Attr.size))
