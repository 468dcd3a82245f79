// The services that the battery runs on: each is a real server or an emulator of a service.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Operator } from '@ovfs/opendal-fs'
import { missingForAzurite, startAzurite } from '../harness/azurite.ts'
import { missingForGcs, startGcs } from '../harness/gcs.ts'
import { missingForMariadb, startMariadb } from '../harness/mariadb.ts'
import { missingForMoto, startMoto } from '../harness/moto.ts'
import { missingForNginx, startNginx } from '../harness/nginx.ts'
import { missingForPostgresql, startPostgresql } from '../harness/postgresql.ts'
import { missingForRclone, startRclone } from '../harness/rclone.ts'
import { missingForRedis, startRedis } from '../harness/redis.ts'
import { missingForVersitygw, startVersitygw } from '../harness/versitygw.ts'
import { missingForWebdav, startWebdav, type WebdavServer } from '../harness/webdav.ts'

export interface RunningService {
  /** What `ovfs serve` is given: the URI without options, and the options. */
  readonly uri: string
  readonly options: Readonly<Record<string, string>>
  /** What stands before the root of a share; default nothing. */
  readonly above?: string
  stop(): Promise<void>
}

export interface BatteryService {
  /** OpenDAL's name. */
  readonly scheme: string
  /** The product, for people. */
  readonly title: string
  /** Options that make an operator whose capabilities can be asked without a server. */
  readonly probe: Readonly<Record<string, string>>
  /** Names what the service needs and the machine lacks. */
  missing(): string | undefined
  start(): Promise<RunningService>
  /** The largest file, and what limits it. */
  readonly largest: string
  /** Entries of the long directory; default 2,000. */
  readonly entries?: number
  /** Keys of checks that are not run, since they would take a slow server minutes. */
  readonly omits?: readonly string[]
}

const TABLE = { table: 'files', key_field: 'name', value_field: 'content' }
const HTTP = { endpoint: 'http://127.0.0.1' }

/** The shares of one service: for the checks, and for the kills. */
const SHARES = ['checks', 'kills'] as const
export type Share = (typeof SHARES)[number]

export const rootOf = ({ above = '' }: RunningService, share: Share) => `${above}/${share}/`

/** Another client of the same service, which shares nothing with the daemon. */
export function outside(service: BatteryService, running: RunningService, share: Share): Operator {
  return new Operator(service.scheme, { ...running.options, root: rootOf(running, share) })
}

export const SERVICES = {
  folder: {
    scheme: 'fs',
    title: 'a folder',
    probe: { root: '/' },
    largest: 'what the file system of the folder allows',
    missing: () => undefined,
    start: async () => {
      const dir = await mkdtemp(join(tmpdir(), 'ovfs-battery-'))
      for (const share of SHARES) await mkdir(join(dir, share))
      return { uri: `fs://${dir}`, options: {}, above: dir, stop: () => rm(dir, { recursive: true }) }
    },
  },
  versitygw: {
    scheme: 's3',
    title: 'S3 (versitygw)',
    probe: { bucket: 'b', region: 'r' },
    largest: 'about 5 TiB: 10,000 parts',
    missing: missingForVersitygw,
    start: () => startVersitygw().then(bucketed('s3')),
  },
  moto: {
    scheme: 's3',
    title: 'S3 (moto)',
    probe: { bucket: 'b', region: 'r' },
    largest: 'about 5 TiB: 10,000 parts',
    missing: missingForMoto,
    start: () => startMoto().then(bucketed('s3')),
    entries: 150,
    omits: ['git'],
  },
  'azure-key': {
    scheme: 'azblob',
    title: 'Azure Blob with a key (azurite)',
    probe: { container: 'c', ...HTTP },
    largest: 'about 190 TiB: 50,000 blocks',
    missing: missingForAzurite,
    start: async () => {
      const { options, key, stop } = await startAzurite()
      return bucketed('azblob')({ options: { ...options, ...key }, stop })
    },
    entries: 500,
  },
  'azure-sas': {
    scheme: 'azblob',
    title: 'Azure Blob with a SAS (azurite)',
    probe: { container: 'c', ...HTTP },
    largest: 'about 190 TiB: 50,000 blocks',
    missing: missingForAzurite,
    start: async () => {
      const { options, sas, stop } = await startAzurite()
      return bucketed('azblob')({ options: { ...options, ...sas }, stop })
    },
    entries: 500,
  },
  gcs: {
    scheme: 'gcs',
    title: 'Google Cloud Storage (fake-gcs-server)',
    probe: { bucket: 'b' },
    largest: '5 TiB',
    missing: missingForGcs,
    start: () => startGcs().then(bucketed('gcs')),
  },
  apache: {
    scheme: 'webdav',
    title: 'WebDAV (Apache)',
    probe: HTTP,
    largest: 'what the server allows; sent in one piece',
    missing: missingForWebdav,
    start: () => startWebdav().then(webdav),
  },
  nginx: {
    scheme: 'webdav',
    title: 'WebDAV (nginx with dav-ext)',
    probe: HTTP,
    largest: 'what the server allows; sent in one piece',
    missing: missingForNginx,
    start: () => startNginx().then(webdav),
  },
  rclone: {
    scheme: 'webdav',
    title: 'WebDAV (rclone)',
    probe: HTTP,
    largest: 'what the server allows; sent in one piece',
    missing: missingForRclone,
    start: () => startRclone().then(webdav),
    entries: 300,
  },
  redis: {
    scheme: 'redis',
    title: 'Redis',
    probe: { endpoint: 'tcp://127.0.0.1:6379' },
    largest: '512 MiB: one value',
    missing: missingForRedis,
    start: async () => {
      const { options, stop } = await startRedis()
      return { uri: options.endpoint.replace('tcp:', 'redis:'), options, stop }
    },
  },
  postgresql: {
    scheme: 'postgresql',
    title: 'PostgreSQL',
    probe: { connection_string: 'postgresql://127.0.0.1/d', ...TABLE },
    largest: '1 GiB: one value',
    missing: missingForPostgresql,
    start: async () => {
      const { options, run, stop } = await startPostgresql()
      run('CREATE TABLE files (name TEXT PRIMARY KEY, content BYTEA)')
      return { uri: options.connection_string, options: { ...options, ...TABLE }, stop }
    },
  },
  mariadb: {
    scheme: 'mysql',
    title: 'MariaDB',
    probe: { connection_string: 'mysql://127.0.0.1/d', ...TABLE },
    largest: '1 GiB or `max_allowed_packet`: one value',
    missing: missingForMariadb,
    start: async () => {
      const { options, run, stop } = await startMariadb()
      run('CREATE TABLE ovfs.files (name VARBINARY(3000) PRIMARY KEY, content LONGBLOB)')
      return { uri: options.connection_string, options: { ...options, ...TABLE }, stop }
    },
  },
  sqlite: {
    scheme: 'sqlite',
    title: 'SQLite',
    probe: { connection_string: 'sqlite:///d', ...TABLE },
    largest: '1 GB: one value',
    missing: () => (existsSync(SQLITE) ? undefined : `${SQLITE} (sqlite3)`),
    start: async () => {
      // In memory where there is such a folder: SQLite syncs after each statement.
      const above = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
      const dir = await mkdtemp(join(above, 'ovfs-battery-'))
      const database = join(dir, 'database')
      const statement = 'CREATE TABLE files (name TEXT PRIMARY KEY, content BLOB)'
      const { status, stderr } = spawnSync(SQLITE, [database, statement], { encoding: 'utf8' })
      if (status !== 0) throw new Error(`${SQLITE}: ${stderr}`)
      const options = { connection_string: `sqlite://${database}`, ...TABLE }
      return { uri: `sqlite://${database}`, options, stop: () => rm(dir, { recursive: true }) }
    },
  },
} satisfies Readonly<Record<string, BatteryService>>

export type BatteryServiceName = keyof typeof SERVICES

const SQLITE = '/usr/bin/sqlite3'

interface Server {
  readonly options: object
  stop(): Promise<void>
}

function bucketed(scheme: string) {
  return ({ options, stop }: Server): RunningService => {
    const all = options as Readonly<Record<string, string>>
    return { uri: `${scheme}://${all.bucket ?? all.container}`, options: all, stop }
  }
}

function webdav({ options, stop }: WebdavServer): RunningService {
  return { uri: options.endpoint.replace('http:', 'webdav:'), options, stop }
}
