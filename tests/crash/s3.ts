// An S3 server for the crash tests, in a process of its own that outlives the daemons which are killed.

import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { repository } from '../harness/initramfs.ts'
import { ended, ownProcess, printed } from '../harness/process.ts'

export interface AtomicS3 {
  readonly bucket: string
  /** Arguments of ovfs. */
  readonly args: readonly string[]
  /** What ovfs needs from its environment. */
  readonly env: Readonly<Record<string, string>>
  stop(): Promise<void>
}

export async function startAtomicS3(): Promise<AtomicS3> {
  const bucket = 'ovfs'
  const folder = await mkdtemp(join(tmpdir(), 'ovfs-s3-'))
  const program = join(repository, 'tests', 'crash', 'atomic-s3.mjs')
  // Its continuation tokens are made with DES, which OpenSSL 3 has among the legacy ciphers only.
  const args = ['--openssl-legacy-provider', program, folder, bucket]
  const child = ownProcess(spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] }))
  const end = ended(child)
  const [, address] = await printed(child, child.stdout, /listening on (127\.0\.0\.1:\d+)/)
  return {
    bucket,
    args: ['-o', `endpoint=http://${address}`, '-o', 'region=us-east-1'],
    env: { AWS_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'S3RVER' },
    stop: async () => {
      child.kill('SIGKILL')
      await end
      await rm(folder, { recursive: true, force: true })
    },
  }
}
