// What the installed OpenDAL offers: each service of the table that the binding was built with, with what it can do there.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Capability, capabilityOf, Operator } from '@ovfs/opendal-fs'
import { CliError } from './error.ts'
import { columns } from './help.ts'
import { nearest } from './nearest.ts'
import type { Service } from './services/service.ts'
import { SECRET_OPTIONS, SERVICES } from './services/table.ts'
import { isUnavailable, readFailure } from './storage-failure.ts'

const ABILITIES = {
  read: capability => capability.read,
  write: capability => capability.write,
  list: capability => capability.list,
  delete: capability => capability.delete,
  rename: capability => capability.rename,
  copy: capability => capability.copy,
  append: capability => capability.writeCanAppend,
} as const satisfies Record<string, (capability: Capability) => boolean>

export type Ability = keyof typeof ABILITIES

export interface ServiceReport {
  readonly name: string
  readonly summary: string
  readonly form: string
  readonly abilities: Readonly<Record<Ability, boolean>>
  readonly options: readonly string[]
  readonly required: readonly string[]
}

/** The services that the binding has, by name. */
export function offeredServices(): readonly ServiceReport[] {
  const folder = mkdtempSync(join(tmpdir(), 'ovfs-services-'))
  try {
    return [...SERVICES.values()]
      .map(service => report(service, folder))
      .filter(found => found !== undefined)
      .sort((a, b) => (a.name < b.name ? -1 : 1))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function report(service: Service, folder: string): ServiceReport | undefined {
  const options = Object.fromEntries(
    Object.entries(service.probe).map(([name, value]) => [name, value.replace('{folder}', folder)]),
  )
  let capability: Capability
  try {
    capability = capabilityOf(new Operator(service.name, options), service.name)
  } catch (error) {
    if (isUnavailable(readFailure(error))) return undefined
    throw error
  }
  const abilities = Object.entries(ABILITIES).map(([name, has]) => [name, has(capability)])
  return {
    name: service.name,
    summary: service.summary,
    form: service.form,
    abilities: Object.fromEntries(abilities) as Record<Ability, boolean>,
    options: service.options,
    required: service.required ?? [],
  }
}

export function servicesText(reports: readonly ServiceReport[]): string {
  const names = Object.keys(ABILITIES) as Ability[]
  const width = Math.max(...reports.map(report => report.name.length))
  const head = `${'SERVICE'.padEnd(width)}  ${names.map(name => name.toUpperCase()).join('  ')}  WHAT IT IS`
  const lines = reports.map(report => {
    const marks = names.map(name => (report.abilities[name] ? 'yes' : '-').padEnd(name.length))
    return `${report.name.padEnd(width)}  ${marks.join('  ')}  ${report.summary}`
  })
  return [
    head,
    ...lines,
    '',
    'ovfs services NAME shows how a service is written and which options it takes.',
    '',
  ].join('\n')
}

export function serviceText(report: ServiceReport): string {
  const service = SERVICES.get(report.name)!
  const can = Object.entries(report.abilities).filter(([, able]) => able)
  const rows: [string, string][] = [
    ['URI', report.form],
    ['can', can.map(([name]) => name).join(', ')],
  ]
  if (report.required.length > 0) rows.push(['needs', report.required.join(', ')])
  rows.push(['options', report.options.join(', ')])
  const secrets = report.options.filter(name => SECRET_OPTIONS.has(name))
  if (secrets.length > 0)
    rows.push(['secrets', `${secrets.join(', ')}: give them as -o NAME=env:NAME or -o NAME=file:PATH`])
  if (service.credentials !== undefined) rows.push(['credentials', service.credentials])
  return [`${report.name}: ${report.summary}`, '', ...columns(rows), ''].join('\n')
}

export function namedService(reports: readonly ServiceReport[], name: string): ServiceReport {
  const found = reports.find(report => report.name === name)
  if (found !== undefined) return found
  const near = nearest(
    name,
    reports.map(report => report.name),
  )
  const hint = near === undefined ? 'see ovfs services' : `did you mean ${near}?`
  throw new CliError('SERVICE', `the installed OpenDAL has no service ${JSON.stringify(name)}`, hint)
}
