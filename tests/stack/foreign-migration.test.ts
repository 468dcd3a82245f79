// Our front-end migrates a back-end that others wrote, the virtiofsd written in Rust: the state that it saves is loaded by a second
// one on the same folder, and what it writes to guest memory meanwhile is in the dirty log.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT_NODE } from '@ovfs/fuse-proto'
import { FrontendLog } from '@ovfs/vhost-user'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { describe, expect, onTestFinished, test } from 'vitest'
import { missingForRustVirtiofsd, startRustVirtiofsd } from '../harness/virtiofsd.ts'

const lacks = missingForRustVirtiofsd()
const END_OF_MEMORY = 0x1_1000_0000

describe.skipIf(lacks !== undefined)(
  `the front-end and virtiofsd in Rust${lacks === undefined ? '' : `: needs ${lacks}`}`,
  () => {
    async function connect(folder: string, state?: Uint8Array): Promise<VirtioFsDriver> {
      const daemon = await startRustVirtiofsd(folder)
      onTestFinished(() => daemon.stop())
      const driver = await VirtioFsDriver.connect(daemon.socketPath, state && { state })
      onTestFinished(() => driver.close())
      return driver
    }

    test('an open file goes on in a second one', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'ovfs-foreign-'))
      onTestFinished(() => rm(folder, { recursive: true, force: true }))
      const source = await connect(folder)
      await source.client.init()
      const { entry, open } = await source.client.create(ROOT_NODE, 'file')
      await source.client.write(entry.nodeid, open.fh, 0, Buffer.from('before '))

      const log = new FrontendLog(END_OF_MEMORY)
      onTestFinished(() => log.close())
      await source.session.startLogging(log)
      log.take()
      await source.client.read(entry.nodeid, open.fh, 0, 100)
      expect(log.take().length).toBeGreaterThan(0)

      await source.session.stopRing(source.hiprio.frontend)
      await source.session.stopRing(source.requests.frontend)
      const state = await source.session.saveState()
      const target = await connect(folder, state)
      await target.client.write(entry.nodeid, open.fh, 7, Buffer.from('after'))
      const bytes = await target.client.read(entry.nodeid, open.fh, 0, 100)
      expect(Buffer.from(bytes).toString()).toBe('before after')
    })
  },
)
