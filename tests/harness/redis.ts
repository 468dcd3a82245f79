// A Redis server for tests: a process of its own that keeps everything in memory. Debian's redis-server is the program of
// the package redis-tools under another name, and that package starts no service.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { freePort } from './free-port.ts'
import { ended, ownProcess, printed } from './process.ts'

const PROGRAM = '/usr/bin/redis-check-rdb'

/** Names what this server needs and the machine lacks. */
export function missingForRedis(): string | undefined {
  return existsSync(PROGRAM) ? undefined : `${PROGRAM} (redis-tools)`
}

export interface RedisServer {
  /** What OpenDAL's `redis` service needs. */
  readonly options: { readonly endpoint: string }
  stop(): Promise<void>
}

export async function startRedis(): Promise<RedisServer> {
  const port = await freePort()
  const settings = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
  const child = ownProcess(
    spawn(PROGRAM, settings, {
      argv0: 'redis-server',
      cwd: tmpdir(),
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  )
  const end = ended(child)
  await printed(child, child.stdout, /Ready to accept connections/)
  return {
    options: { endpoint: `tcp://127.0.0.1:${port}` },
    stop: async () => {
      child.kill('SIGKILL')
      await end
    },
  }
}
