// A PostgreSQL server for tests, over a temporary folder and without syncing to disk. It refuses to run as root.

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { chown, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from './free-port.ts'
import { nobody, startListening } from './listening-server.ts'

const VERSIONS = '/usr/lib/postgresql'

/** The folder of the newest version that is installed. */
function programs(): string | undefined {
  const versions = existsSync(VERSIONS) ? readdirSync(VERSIONS).map(Number) : []
  const bin = versions.length === 0 ? undefined : join(VERSIONS, String(Math.max(...versions)), 'bin')
  return bin !== undefined && existsSync(join(bin, 'initdb')) ? bin : undefined
}

/** Names what this server needs and the machine lacks. */
export function missingForPostgresql(): string | undefined {
  return programs() === undefined ? `${VERSIONS} (postgresql)` : undefined
}

export interface PostgresqlServer {
  /** What OpenDAL's `postgresql` service needs besides the table. */
  readonly options: { readonly connection_string: string }
  /** Runs a statement. */
  run(statement: string): void
  stop(): Promise<void>
}

export async function startPostgresql(): Promise<PostgresqlServer> {
  const bin = programs()!
  const dir = await mkdtemp(join(tmpdir(), 'ovfs-postgresql-'))
  const { uid, gid } = nobody()
  const asRoot = process.getuid?.() === 0
  if (asRoot) await chown(dir, uid, gid)
  const user = asRoot ? { uid, gid } : {}
  const env = { ...process.env, LC_ALL: 'C.UTF-8', TZ: 'UTC' }
  const data = join(dir, 'data')
  const init = ['-D', data, '-U', 'ovfs', '-A', 'trust', '-E', 'UTF8', '--no-sync', '--no-instructions']
  check('initdb', spawnSync(join(bin, 'initdb'), init, { ...user, env, cwd: dir, encoding: 'utf8' }))
  const port = await freePort()
  const settings = ['listen_addresses=127.0.0.1', 'fsync=off', 'max_connections=200', 'logging_collector=off']
  const args = ['-D', data, '-k', dir, '-p', String(port), ...settings.flatMap(setting => ['-c', setting])]
  const server = await startListening(port, join(bin, 'postgres'), args, { ...user, env, cwd: dir })
  // It listens some time before it takes statements.
  const isReady = ['-h', '127.0.0.1', '-p', String(port), '-q']
  for (let tries = 0; spawnSync(join(bin, 'pg_isready'), isReady).status !== 0; tries++) {
    if (tries === 600) throw new Error('PostgreSQL listens but takes no statements')
    await sleep(50)
  }
  const run = (statement: string) => {
    const args = [
      '-h',
      '127.0.0.1',
      '-p',
      String(port),
      '-U',
      'ovfs',
      '-d',
      'postgres',
      '-q',
      '-c',
      statement,
    ]
    check('psql', spawnSync(join(bin, 'psql'), args, { env, encoding: 'utf8' }))
  }
  return {
    options: { connection_string: `postgresql://ovfs@127.0.0.1:${port}/postgres` },
    run,
    stop: async () => {
      await server.stop()
      await rm(dir, { recursive: true, force: true, maxRetries: 20 })
    },
  }
}

function check(program: string, { status, stderr }: { status: number | null; stderr: string }): void {
  if (status !== 0) throw new Error(`${program}: ${stderr}`)
}
