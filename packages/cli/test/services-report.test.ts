import { bindingBuild } from '@ovfs/opendal-fs'
import { describe, expect, test } from 'vitest'
import { SERVICES } from '../src/services/table.ts'
import { offeredServices } from '../src/services-report.ts'
import { buildOperator } from '../src/storage-check.ts'

const offered = new Map(offeredServices().map(service => [service.name, service.abilities]))
/** Services for which newer builds of the binding make no operator from options. */
const GONE = bindingBuild.version === '0.49.2' ? [] : ['koofr']

describe('each build of the binding', () => {
  test('offers every service of the table, but for those that it cannot make', () => {
    expect([...SERVICES.keys()].filter(name => !offered.has(name))).toEqual(GONE)
  })

  test.each(GONE)('refuses %s in one line', name => {
    const service = SERVICES.get(name)!
    expect(() => buildOperator(service, service.probe)).toThrow(/^OpenDAL 0\.49\.\d+ has no koofr$/)
  })

  test('lists no MySQL table, so that a share has the same names with all', () => {
    expect(offered.get('mysql')).toMatchObject({ read: true, write: true, list: false })
  })

  test('reads Hugging Face repositories only', () => {
    expect(offered.get('hf')).toMatchObject({ read: true, write: false, delete: false })
  })
})
