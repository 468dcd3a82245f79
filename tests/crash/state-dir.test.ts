// The state folder of the real daemon: who may use it, and what happens when the host's disk takes nothing more.

import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Daemon, startOvfs } from '../harness/daemon.ts'
import { EndedEarly } from '../harness/process.ts'
import { mountTmpfs, unmount } from './tmpfs.ts'

const ROOT = 1
const O_RDWR = 2

describe('the state folder', () => {
  let folder: string
  let share: string
  let state: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'ovfs-state-dir-'))
    share = join(folder, 'share')
    state = join(folder, 'state')
    await mkdir(share)
    await mkdir(state)
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  const start = (...args: string[]) => startOvfs(`fs://${share}`, { args: ['--state-dir', state, ...args] })

  async function refusal(starting: Promise<Daemon>): Promise<string> {
    try {
      await (await starting).kill()
    } catch (error) {
      if (error instanceof EndedEarly) return error.said
      throw error
    }
    throw new Error('the daemon has started')
  }

  test('is refused to a second daemon in one line, and free once the first has been killed', async () => {
    const first = await start()
    const said = await refusal(start())
    expect(said.split('\n')).toHaveLength(1)
    expect(said).toContain(
      `state folder ${state}: another daemon uses it: give each daemon its own --state-dir`,
    )
    await first.kill()
    await (await start()).stop()
  })

  test('is refused in one line if it is read-only', async () => {
    mountTmpfs(state, 'ro')
    try {
      const said = await refusal(start())
      expect(said.split('\n')).toHaveLength(1)
      expect(said).toMatch(/state folder .*: EROFS: .*: give another --state-dir/)
    } finally {
      unmount(state)
    }
  })

  test('is full: what is closed goes to the storage at once, and a new daemon starts all the same', async () => {
    mountTmpfs(state, 'size=1M')
    try {
      const daemon = await start('--write-back')
      const contents = new Map<string, Buffer>()
      const driver = await VirtioFsDriver.connect(daemon.socketPath)
      const { client } = driver
      await client.init()
      for (let i = 0; i < 4; i++) {
        const [name, content] = [`file${i}`, Buffer.alloc(500_000, i + 1)]
        const { entry, open } = await client.create(ROOT, name, 0o644, O_RDWR)
        await client.write(entry.nodeid, open.fh, 0, content)
        await client.flush(entry.nodeid, open.fh)
        await client.release(entry.nodeid, open.fh)
        contents.set(name, content)
      }
      await daemon.kill()
      await driver.close()

      const next = await start('--write-back')
      const again = await VirtioFsDriver.connect(next.socketPath)
      await again.client.init()
      for (const [name, content] of contents) {
        const { nodeid } = await again.client.lookup(ROOT, name)
        const { fh } = await again.client.open(nodeid)
        expect(content.equals(await again.client.read(nodeid, fh, 0, 600_000)), name).toBe(true)
      }
      await again.close()
      await next.stop()
    } finally {
      unmount(state)
    }
  })
})
