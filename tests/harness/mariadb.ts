// A MariaDB server for tests, over a temporary folder: OpenDAL's `mysql` service.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { startListening } from './listening-server.ts'

const PROGRAM = '/usr/sbin/mariadbd'
const CLIENT = '/usr/bin/mariadb'

/** Names what this server needs and the machine lacks. */
export function missingForMariadb(): string | undefined {
  if (!existsSync(PROGRAM)) return `${PROGRAM} (mariadb-server-core)`
  return existsSync(CLIENT) ? undefined : `${CLIENT} (mariadb-client-core)`
}

export interface MariadbServer {
  /** What OpenDAL's `mysql` service needs besides the table. */
  readonly options: { readonly connection_string: string }
  /** Runs a statement. */
  run(statement: string): void
  stop(): Promise<void>
}

export async function startMariadb(): Promise<MariadbServer> {
  const dir = await mkdtemp(join(tmpdir(), 'ovfs-mariadb-'))
  const socket = join(dir, 'socket')
  const port = await freePort()
  const asRoot = process.getuid?.() === 0 ? ['--user=root'] : []
  const args = [`--datadir=${join(dir, 'data')}`, ...asRoot]
  check('mariadb-install-db', [
    '--no-defaults',
    ...args,
    '--auth-root-authentication-method=normal',
    '--skip-test-db',
  ])
  const listen = [`--socket=${socket}`, `--port=${port}`, '--bind-address=127.0.0.1']
  const settings = ['--innodb-flush-log-at-trx-commit=0', '--max-allowed-packet=1G', '--skip-name-resolve']
  const server = await startListening(port, PROGRAM, ['--no-defaults', ...args, ...listen, ...settings])
  const run = (statement: string) =>
    check(CLIENT, ['--no-defaults', `--socket=${socket}`, '-u', 'root', '-e', statement])
  run("CREATE DATABASE ovfs; CREATE USER ovfs@'127.0.0.1'; GRANT ALL ON ovfs.* TO ovfs@'127.0.0.1'")
  return {
    options: { connection_string: `mysql://ovfs@127.0.0.1:${port}/ovfs` },
    run,
    stop: async () => {
      await server.stop()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

function check(program: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program}: ${error?.message ?? stderr}`)
}
