// A memcached server for tests.

import { existsSync } from 'node:fs'
import { freePort } from './free-port.ts'
import { startListening } from './listening-server.ts'

const PROGRAM = '/usr/bin/memcached'

/** Names what this server needs and the machine lacks. */
export function missingForMemcached(): string | undefined {
  return existsSync(PROGRAM) ? undefined : `${PROGRAM} (memcached)`
}

export interface MemcachedServer {
  /** What OpenDAL's `memcached` service needs. */
  readonly options: { readonly endpoint: string }
  stop(): Promise<void>
}

export async function startMemcached(): Promise<MemcachedServer> {
  const port = await freePort()
  const asRoot = process.getuid?.() === 0 ? ['-u', 'nobody'] : []
  const args = ['-l', '127.0.0.1', '-p', String(port), '-U', '0', '-m', '512', '-I', '32m', ...asRoot]
  const server = await startListening(port, PROGRAM, args)
  return { options: { endpoint: `tcp://127.0.0.1:${port}` }, stop: server.stop }
}
