// Versity's S3 gateway: an S3 server that is in use and maintained, over a temporary folder. It has conditional writes and checks
// signatures. Objects are files: no object is named like the directory of another, and a name is at most 255 bytes long.

import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { repository } from './initramfs.ts'
import { startListening } from './listening-server.ts'
import type { S3Server } from './s3.ts'

const PROGRAM = join(repository, '.cache', 'servers', 'versitygw', 'versitygw')

/** Names what this server needs and the machine lacks. */
export function missingForVersitygw(): string | undefined {
  return existsSync(PROGRAM) ? undefined : 'versitygw (node scripts/prepare.mjs --tests)'
}

export async function startVersitygw(bucket = 'ovfs'): Promise<S3Server> {
  const dir = await mkdtemp(join(tmpdir(), 'ovfs-versitygw-'))
  const [objects, metadata] = [join(dir, 'objects'), join(dir, 'metadata')]
  await mkdir(join(objects, bucket), { recursive: true })
  await mkdir(metadata)
  const port = await freePort()
  const account = { access_key_id: 'VERSITY', secret_access_key: 'VERSITY' }
  const address = `127.0.0.1:${port}`
  const server = await startListening(
    port,
    PROGRAM,
    ['--port', address, '--quiet', '--keep-alive', 'posix', '--sidecar', metadata, objects],
    {
      env: {
        ...process.env,
        ROOT_ACCESS_KEY: account.access_key_id,
        ROOT_SECRET_KEY: account.secret_access_key,
      },
    },
  )
  return {
    options: { bucket, endpoint: `http://${address}`, region: 'us-east-1', ...account },
    stop: async () => {
      await server.stop()
      await rm(dir, { recursive: true, force: true })
    },
  }
}
