// The storage services that tests run on, under one interface: each is started once and gives out empty storages. Servers are
// child processes; everything lies in temporary folders that `stop` removes.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Operator } from '@ovfs/opendal-fs'
import { missingForRedis, startRedis } from './redis.ts'
import { startS3 } from './s3.ts'
import { missingForWebdav, startWebdav } from './webdav.ts'

const SQLITE = '/usr/bin/sqlite3'

export const SCHEMES = ['memory', 'fs', 'sqlite', 's3', 'webdav', 'redis'] as const
export type Scheme = (typeof SCHEMES)[number]

/** A place of its own on a service, empty at first. */
export interface EmptyStorage {
  readonly operator: Operator
  /** Reaches the same place without sharing anything else, as another host would. */
  readonly outside: Operator
}

export interface Service {
  readonly scheme: Scheme
  empty(): Promise<EmptyStorage>
  stop(): Promise<void>
}

/** Names what a service needs and this machine lacks. */
export function missingForService(scheme: Scheme): string | undefined {
  if (scheme === 'sqlite') return existsSync(SQLITE) ? undefined : `${SQLITE} (sqlite3)`
  if (scheme === 'webdav') return missingForWebdav()
  return scheme === 'redis' ? missingForRedis() : undefined
}

export async function startService(scheme: Scheme): Promise<Service> {
  let storages = 0
  const server = (
    options: Readonly<Record<string, string>>,
    stop: () => Promise<void>,
    above = '/',
  ): Service => ({
    scheme,
    empty: async () => {
      const root = `${above}${++storages}/`
      const operator = () => new Operator(scheme, { ...options, root })
      return { operator: operator(), outside: operator() }
    },
    stop,
  })

  switch (scheme) {
    case 'memory':
      return {
        scheme,
        empty: async () => {
          const operator = new Operator('memory', {})
          return { operator, outside: operator }
        },
        stop: async () => undefined,
      }
    case 'fs': {
      const dir = await temporaryFolder()
      return server({}, () => rm(dir, { recursive: true, force: true }), `${dir}/`)
    }
    case 'sqlite': {
      const dir = await temporaryFolder()
      const options = { connection_string: `sqlite://${dir}/database`, ...TABLE }
      createTable(join(dir, 'database'))
      return server(options, () => rm(dir, { recursive: true, force: true }))
    }
    case 's3': {
      const { options, stop } = await startS3()
      return server({ ...options }, stop)
    }
    case 'webdav': {
      const { options, stop } = await startWebdav()
      return server(options, stop)
    }
    case 'redis': {
      const { options, stop } = await startRedis()
      return server(options, stop)
    }
  }
}

const TABLE = { table: 'files', key_field: 'name', value_field: 'content' }

/** OpenDAL expects the table to be there. */
function createTable(database: string): void {
  const { table, key_field, value_field } = TABLE
  const statement = `CREATE TABLE ${table} (${key_field} TEXT PRIMARY KEY, ${value_field} BLOB)`
  const { status, stderr } = spawnSync(SQLITE, [database, statement], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${SQLITE}: ${stderr}`)
}

function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'ovfs-service-'))
}
