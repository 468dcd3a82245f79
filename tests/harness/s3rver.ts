// s3rver with what it lacks of S3 (s3-server.mjs), in a process of its own, over a temporary folder. It checks signatures; its one
// account is S3RVER with the secret S3RVER. It keeps each object in files named after it, and a name that is too long for that
// ends it: see LONGEST_NAME. Nobody maintains it any more, and it has no conditional writes of its own.

import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { repository } from './initramfs.ts'
import { ended, ownProcess, printed } from './process.ts'
import type { S3Server } from './s3.ts'

/** The longest name between two slashes that it survives: 255 less the suffix `._S3rver_metadata.json`. */
export const LONGEST_NAME = 233

export async function startS3rver(bucket = 'ovfs'): Promise<S3Server> {
  const dir = await mkdtemp(join(tmpdir(), 'ovfs-s3-'))
  const program = join(repository, 'tests', 'harness', 's3-server.mjs')
  // Its continuation tokens are made with DES, which OpenSSL 3 has among the legacy ciphers only.
  const args = ['--openssl-legacy-provider', program, dir, bucket]
  const child = ownProcess(spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] }))
  const end = ended(child)
  const [, endpoint] = await printed(child, child.stdout, /listening on (127\.0\.0\.1:\d+)/)
  return {
    options: {
      bucket,
      endpoint: `http://${endpoint}`,
      region: 'us-east-1',
      access_key_id: 'S3RVER',
      secret_access_key: 'S3RVER',
    },
    stop: async () => {
      child.kill('SIGKILL')
      await end
      await rm(dir, { recursive: true, force: true })
    },
  }
}
