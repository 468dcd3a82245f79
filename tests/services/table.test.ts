// docs/SERVICES.md has the table that the battery's rows make.

import { readFileSync } from 'node:fs'
import { bindingBuild } from '@ovfs/opendal-fs'
import { expect, test } from 'vitest'
import { ALL_CHECKS } from './all-checks.ts'
import { DIFFERENCES } from './differences.ts'
import { DOCUMENTED_BINDING, documented, SERVICES_DOCUMENT, servicesTable } from './table.ts'

const another = bindingBuild.version !== DOCUMENTED_BINDING
const needs = another ? `: needs the binding ${DOCUMENTED_BINDING}` : ''

test.skipIf(another)(`docs/SERVICES.md shows what the battery finds${needs}`, () => {
  expect(documented(readFileSync(SERVICES_DOCUMENT, 'utf8'))).toBe(servicesTable()) // npm run services-table
})

test('each difference names checks that there are', () => {
  for (const { checks, afterRestart = [] } of DIFFERENCES) {
    for (const check of checks) expect(Object.keys(ALL_CHECKS)).toContain(check)
    for (const check of afterRestart) expect(ALL_CHECKS[check]?.after).toBeDefined()
  }
})
