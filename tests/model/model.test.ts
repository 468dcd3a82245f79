// Random sequences of file operations, on every service, against a tree of plain objects: see README.md for longer runs.

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { seedOf } from '../harness/seed.ts'
import { missingForService, SCHEMES, type Scheme, type Service, startService } from '../harness/services.ts'
import { type Capabilities, probe } from './capabilities.ts'
import { compareTrees, type Model, type Real } from './command.ts'
import { sequencesOf } from './commands.ts'
import { Mounted } from './mounted.ts'
import { PlainTree } from './reference.ts'

/** Of all services together; the slow ones get fewer. */
const SEQUENCES = Number(process.env.OVFS_MODEL_SEQUENCES ?? 2_000)
const SHARE: Readonly<Record<Scheme, number>> = {
  memory: 0.5,
  fs: 0.2,
  redis: 0.12,
  sqlite: 0.08,
  webdav: 0.05,
  s3: 0.05,
}
const LONGEST_SEQUENCE = 20
const PATIENCE_MS = 120_000 + SEQUENCES * 200
/** Servers of a loaded machine take their time. */
const START_MS = 60_000

const replayed = {
  seed: seedOf('OVFS_MODEL_SEED'),
  ...(process.env.OVFS_MODEL_PATH === undefined ? {} : { path: process.env.OVFS_MODEL_PATH }),
}

describe.each(SCHEMES)('%s', scheme => {
  const lacks = missingForService(scheme)
  describe.skipIf(lacks !== undefined)(lacks === undefined ? 'the file system' : `needs ${lacks}`, () => {
    let service: Service
    let capabilities: Capabilities

    beforeAll(async () => {
      service = await startService(scheme)
      const { operator } = await service.empty()
      const mounted = await Mounted.mount(operator, { scheme })
      capabilities = await probe(mounted)
      await mounted.unmount()
    }, START_MS)

    afterAll(() => service.stop())

    test.each([
      ['that remembers what it saw', 1000],
      ['that asks every time', 0],
    ])(
      `%s is a plain tree after each of ${LONGEST_SEQUENCE} random operations`,
      async (_, ttl) => {
        const options = {
          scheme,
          attrTtlMs: ttl,
          entryTtlMs: ttl,
          negativeTtlMs: ttl,
          cacheBytes: 8 << 20,
        }
        const lists = (await service.empty()).operator.capability().list
        const sequences = sequencesOf(capabilities, ttl === 0 && lists, LONGEST_SEQUENCE)
        await fc.assert(
          fc.asyncProperty(sequences, async sequence => {
            const { operator, outside } = await service.empty()
            const recoveryDir = await mkdtemp(join(tmpdir(), 'ovfs-model-'))
            const mount = () => Mounted.mount(operator, { ...options, recoveryDir })
            const model: Model = { tree: new PlainTree(), open: [] }
            const real: Real = {
              mounted: await mount(),
              open: [],
              outside,
              recoveryDir,
              remount: mount,
              capabilities,
            }
            try {
              await fc.asyncModelRun(() => ({ model, real }), sequence)
              for (const open of real.open) await open.close()
              await real.mounted.unmount()
              real.mounted = await mount()
              await compareTrees(model, real)
              expect(await readdir(recoveryDir)).toEqual([])
            } finally {
              await real.mounted.unmount()
              await rm(recoveryDir, { recursive: true })
            }
          }),
          {
            numRuns: Math.ceil((SEQUENCES * SHARE[scheme]) / 2),
            // A counterexample is told while it is still being made smaller, not lost to the test's own time limit.
            interruptAfterTimeLimit: PATIENCE_MS * 0.9,
            markInterruptAsFailure: true,
            ...replayed,
          },
        )
      },
      PATIENCE_MS,
    )

    test('hard links are refused', async () => {
      const { operator } = await service.empty()
      const mounted = await Mounted.mount(operator, { scheme })
      const open = await mounted.create('file', 0o644)
      await expect(mounted.client.link(open.node, 1, 'second')).rejects.toMatchObject({ code: 'EPERM' })
      await open.close()
      await mounted.unmount()
    })
  })
})
