// What fsync and close acknowledged survives SIGKILL of the daemon at any moment, whole. 200 kills by default, and
// OVFS_CRASH_KILLS=5000 npx vitest run tests/crash for more. OVFS_CRASH_SEED has another workload: that of the
// number, or a new one if it is `random`. When the kills come is chance all the same.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { missingForOvfs } from '../harness/daemon.ts'
import { seedOf } from '../harness/seed.ts'
import { runKills } from './kills.ts'
import { type S3Share, startS3Share } from './s3.ts'

const KILLS = Number(process.env.OVFS_CRASH_KILLS ?? 200)
const SEED = seedOf('OVFS_CRASH_SEED')
const MODES = [
  { mode: 'closing publishes', args: [] },
  { mode: 'with --write-back', args: ['--write-back'] },
]
const EACH = Math.ceil(KILLS / 4)
const PATIENCE_MS = 60_000 + EACH * 10_000

describe(`after SIGKILL (seed ${SEED})`, () => {
  let s3: S3Share
  let folder: string

  beforeAll(async () => {
    expect(missingForOvfs()).toBeUndefined()
    console.info(`crash tests: ${KILLS} kills, OVFS_CRASH_SEED=${SEED}`)
    folder = await mkdtemp(join(tmpdir(), 'ovfs-crash-share-'))
    s3 = await startS3Share()
  })
  afterAll(async () => {
    await s3.stop()
    await rm(folder, { recursive: true, force: true })
  })

  test.concurrent.each(MODES)(
    'everything that was acknowledged is in the folder, $mode',
    async ({ mode, args }) => {
      const uri = `fs://${await mkdtemp(join(folder, 'root-'))}`
      const { operations } = await runKills({ uri, args, kills: EACH, seed: SEED })
      expect(operations, mode).toBeGreaterThan(EACH)
    },
    PATIENCE_MS,
  )

  test.concurrent.each(MODES)(
    'everything that was acknowledged is on S3, $mode',
    async ({ mode, args }) => {
      const uri = `s3://${s3.bucket}/${mode.replaceAll(/\W+/g, '-')}`
      const given = { uri, args: [...args, ...s3.args], env: s3.env }
      const { operations } = await runKills({ ...given, kills: EACH, seed: SEED + 1 })
      expect(operations, mode).toBeGreaterThan(EACH)
    },
    PATIENCE_MS,
  )
})
