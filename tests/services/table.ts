// The table of docs/SERVICES.md: what each service of the battery gives. The columns come from what OpenDAL says it can do there,
// and from the differences, each of which the battery proves.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Capability } from '@ovfs/opendal-fs'
import { repository } from '../harness/initramfs.ts'
import { ALL_CHECKS } from './all-checks.ts'
import { capabilityOf, differencesOf, failingOn } from './differences.ts'
import { type BatteryService, type BatteryServiceName, SERVICES } from './services.ts'

export const SERVICES_DOCUMENT = join(repository, 'docs', 'SERVICES.md')
/** The build of OpenDAL's binding that the document is about: others can do more. */
export const DOCUMENTED_BINDING = '0.49.2'

const CHECK_COUNT = Object.keys(ALL_CHECKS).length
const MARKED = /(?<=<!-- services -->\n)[\s\S]*(?=<!-- \/services -->)/

/** The part of the document that is generated. */
export function documented(document: string): string | undefined {
  return MARKED.exec(document)?.[0]
}

export function withTable(document: string): string {
  return document.replace(MARKED, () => servicesTable())
}

export function servicesTable(): string {
  const notes: string[] = []
  const header = [
    'service',
    `checks of ${CHECK_COUNT}`,
    'rename of a file',
    'conditional writes',
    'upload',
    'listing',
    'largest file',
    'not given',
  ]
  const rows = (Object.keys(SERVICES) as BatteryServiceName[]).filter(isRun).map(name => {
    const service: BatteryService = SERVICES[name]
    const can = capabilityOf(service)
    const differences = differencesOf(name)
    const references = differences.map(({ reason }) => {
      if (!notes.includes(reason)) notes.push(reason)
      return notes.indexOf(reason) + 1
    })
    const run = CHECK_COUNT - (service.omits?.length ?? 0)
    const held = run - failingOn(name).size
    return [
      service.title,
      run === CHECK_COUNT ? String(held) : `${held} of ${run}`,
      renameOf(can),
      conditionsOf(can),
      can.writeCanMulti ? 'in parts' : 'in one piece',
      can.list ? 'yes' : 'own names only',
      service.largest,
      references.length === 0 ? 'nothing' : references.join(', '),
    ]
  })
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const table = [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n')
  const numbered = notes.map((reason, index) => `${index + 1}. ${reason}\n`)
  return `${table}\n${numbered.length === 0 ? '' : '\n'}${numbered.join('')}`
}

/** Each service that the battery runs on has a test file. */
function isRun(name: BatteryServiceName): boolean {
  return existsSync(join(repository, 'tests', 'services', `${name}.test.ts`))
}

function renameOf(can: Capability): string {
  if (can.rename) return 'in one step'
  return can.copy ? 'copied by the service, then deleted' : 'copied through the host, then deleted'
}

function conditionsOf(can: Capability): string {
  const kinds = [can.writeWithIfNotExists && 'new files', can.writeWithIfMatch && 'replacements']
  return kinds.filter(Boolean).join(', ') || 'no: looks, then writes'
}
