// `npm run services-table`: writes the table of docs/SERVICES.md.

import { readFileSync, writeFileSync } from 'node:fs'
import { SERVICES_DOCUMENT, withTable } from './table.ts'

writeFileSync(SERVICES_DOCUMENT, withTable(readFileSync(SERVICES_DOCUMENT, 'utf8')))
