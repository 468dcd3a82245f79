// Moto's S3 server, in Python, in memory. It has conditional writes, does not check signatures, and keeps each key as it is.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { repository } from './initramfs.ts'
import { startListening } from './listening-server.ts'
import type { S3Server } from './s3.ts'

const PROGRAM = join(repository, '.cache', 'servers', 'moto', 'bin', 'moto_server')

/** Names what this server needs and the machine lacks. */
export function missingForMoto(): string | undefined {
  return existsSync(PROGRAM) ? undefined : 'moto (node scripts/prepare.mjs --tests)'
}

export async function startMoto(bucket = 'ovfs'): Promise<S3Server> {
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  const server = await startListening(port, PROGRAM, ['-H', '127.0.0.1', '-p', String(port)])
  const { status } = await fetch(`${endpoint}/${bucket}`, { method: 'PUT' })
  if (status !== 200) throw new Error(`moto answered ${status} to the making of a bucket`)
  return {
    options: {
      bucket,
      endpoint,
      region: 'us-east-1',
      access_key_id: 'MOTO',
      secret_access_key: 'MOTO',
    },
    stop: server.stop,
  }
}
