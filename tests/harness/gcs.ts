// fake-gcs-server: a server of Google Cloud Storage's JSON interface, in memory. It does not check credentials.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { repository } from './initramfs.ts'
import { startListening } from './listening-server.ts'

const PROGRAM = join(repository, '.cache', 'servers', 'fake-gcs-server', 'fake-gcs-server')

/** Names what this server needs and the machine lacks. */
export function missingForGcs(): string | undefined {
  return existsSync(PROGRAM) ? undefined : 'fake-gcs-server (node scripts/prepare.mjs --tests)'
}

export interface GcsServer {
  /** What OpenDAL's `gcs` service needs. */
  readonly options: {
    readonly bucket: string
    readonly endpoint: string
    readonly allow_anonymous: 'true'
    readonly disable_vm_metadata: 'true'
    readonly disable_config_load: 'true'
  }
  stop(): Promise<void>
}

export async function startGcs(bucket = 'ovfs'): Promise<GcsServer> {
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  const args = ['-scheme', 'http', '-host', '127.0.0.1', '-port', String(port), '-backend', 'memory']
  const names = ['-external-url', endpoint, '-public-host', `127.0.0.1:${port}`, '-log-level', 'error']
  const server = await startListening(port, PROGRAM, [...args, ...names])
  const { status } = await fetch(`${endpoint}/storage/v1/b`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: bucket }),
  })
  if (status !== 200) throw new Error(`fake-gcs-server answered ${status} to the making of a bucket`)
  return {
    options: {
      bucket,
      endpoint,
      allow_anonymous: 'true',
      disable_vm_metadata: 'true',
      disable_config_load: 'true',
    },
    stop: server.stop,
  }
}
