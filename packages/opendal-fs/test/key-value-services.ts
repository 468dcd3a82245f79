// Services that cannot list, for tests: SQLite in a temporary file, Redis in a process of its own, redb in a folder.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Operator } from '../src/storage/binding.ts'
import type { Service } from './services.ts'

const SQLITE = '/usr/bin/sqlite3'
/** Redis' server under the name that Debian's redis-tools gives it: the name it is called by decides. */
const REDIS = '/usr/bin/redis-check-rdb'

export const KEY_VALUE_SCHEMES = ['redb', 'sqlite', 'redis'] as const
export type KeyValueScheme = (typeof KEY_VALUE_SCHEMES)[number]

export async function keyValueService(scheme: KeyValueScheme): Promise<Service> {
  const folder = mkdtempSync(join(tmpdir(), 'ovfs-test-'))
  const remove = async () => rmSync(folder, { recursive: true, force: true })
  if (scheme === 'redb') {
    const operator = new Operator('redb', { datadir: join(folder, 'db'), table: 'files' })
    return { scheme, operator, outside: operator, close: remove }
  }
  if (scheme === 'sqlite') {
    const table = { table: 'files', key_field: 'name', value_field: 'content' }
    const statement = 'CREATE TABLE files (name TEXT PRIMARY KEY, content BLOB)'
    run(SQLITE, [join(folder, 'database'), statement])
    const make = () => new Operator('sqlite', { connection_string: `sqlite://${folder}/database`, ...table })
    return { scheme, operator: make(), outside: make(), close: remove }
  }
  const { process, port } = await startRedis(folder)
  const make = () => new Operator('redis', { endpoint: `tcp://127.0.0.1:${port}` })
  const close = async () => {
    process.kill('SIGKILL')
    await remove()
  }
  return { scheme, operator: make(), outside: make(), close }
}

function run(program: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program}: ${error?.message ?? stderr}`)
}

async function startRedis(folder: string): Promise<{ process: ChildProcess; port: number }> {
  if (!existsSync(REDIS)) throw new Error(`${REDIS} (of redis-tools) is missing`)
  const port = await freePort()
  const socket = join(folder, 'socket')
  const address = ['--port', String(port), '--bind', '127.0.0.1', '--unixsocket', socket]
  const settings = [...address, '--save', '', '--appendonly', 'no']
  const child = spawn(REDIS, settings, { argv0: 'redis-server', cwd: folder, stdio: 'ignore' })
  const failed = new Promise<never>((_, reject) => {
    child.once('error', reject)
    child.once('exit', code => reject(new Error(`redis-server ended with ${code}`)))
  })
  failed.catch(() => undefined)
  // It listens on the port first.
  while (!existsSync(socket)) await Promise.race([failed, new Promise(resolve => setTimeout(resolve, 10))])
  return { process: child, port }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
