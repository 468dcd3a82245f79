// A guest does not notice that its daemon was killed: 100 kills by default, and
// OVFS_SESSION_KILLS=2000 npx vitest run tests/crash/session.test.ts for more. OVFS_CRASH_SEED has another
// workload: that of the number, or a new one if it is `random`. When the kills come is chance all the same.

import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { missingForOvfs } from '../harness/daemon.ts'
import { seedOf } from '../harness/seed.ts'
import { type S3Share, startS3Share } from './s3.ts'
import { runSession, type SessionOutcome } from './session-kills.ts'

const KILLS = Number(process.env.OVFS_SESSION_KILLS ?? 100)
const SEED = seedOf('OVFS_CRASH_SEED')
const UPGRADES = Math.ceil(KILLS / 10)
const PATIENCE_MS = 60_000 + KILLS * 10_000

describe(`a session whose daemon dies (seed ${SEED})`, () => {
  let s3: S3Share
  let folder: string

  beforeAll(async () => {
    expect(missingForOvfs()).toBeUndefined()
    console.info(`session tests: ${KILLS} kills, OVFS_CRASH_SEED=${SEED}`)
    folder = await mkdtemp(join(tmpdir(), 'ovfs-session-share-'))
    s3 = await startS3Share()
  })
  afterAll(async () => {
    await s3.stop()
    await rm(folder, { recursive: true, force: true })
  })

  const everyRequestWasAnsweredOnce = ({ operations, requests, answers }: SessionOutcome) => {
    expect(answers).toBe(requests)
    expect(operations).toBeGreaterThan(KILLS)
  }

  test.concurrent(
    'goes on over a folder, every byte right and every request answered once',
    async () => {
      const root = await mkdtemp(join(folder, 'root-'))
      const outcome = await runSession({
        uri: `fs://${root}`,
        args: [],
        kills: KILLS / 2,
        seed: SEED,
        end: 'kill',
      })
      everyRequestWasAnsweredOnce(outcome)
      for (const { name, tree } of outcome.actors) {
        const names = (await readdir(join(root, name))).filter(found => !found.startsWith('.ovfs-'))
        expect(names.sort()).toEqual([...tree.keys()].sort())
        for (const [file, content] of tree)
          if (content !== undefined) expect(content.equals(await readFile(join(root, name, file)))).toBe(true)
      }
    },
    PATIENCE_MS,
  )

  test.concurrent(
    'goes on over S3, every byte right and every request answered once',
    async () => {
      const given = { uri: `s3://${s3.bucket}/kills`, args: [...s3.args], env: s3.env }
      everyRequestWasAnsweredOnce(
        await runSession({ ...given, kills: KILLS / 2, seed: SEED + 100, end: 'kill' }),
      )
    },
    PATIENCE_MS,
  )

  test(
    'goes on with the next daemon after SIGTERM under load, as in an upgrade',
    async () => {
      const uri = `fs://${await mkdtemp(join(folder, 'root-'))}`
      const outcome = await runSession({ uri, args: [], kills: UPGRADES, seed: SEED + 200, end: 'stop' })
      expect(outcome.answers).toBe(outcome.requests)
    },
    PATIENCE_MS,
  )
})
