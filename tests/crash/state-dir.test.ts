// The state folder of the real daemon: who may use it, and what happens when the host's disk takes nothing more.

import { closeSync, openSync, writeSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
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

  test('is full: what needs a record is refused before it is begun, and what is done is not', async () => {
    mountTmpfs(state, 'size=512k')
    try {
      let daemon = await start()
      let driver = await VirtioFsDriver.connect(daemon.socketPath)
      let { client } = driver
      await client.init()
      const put = async (name: string) => {
        const { entry, open } = await client.create(ROOT, name, 0o644, O_RDWR)
        await client.write(entry.nodeid, open.fh, 0, Buffer.from(name))
        await client.flush(entry.nodeid, open.fh)
        return { node: entry.nodeid, fh: open.fh }
      }
      const { node: moved, fh } = await put('moved')
      await client.release(moved, fh)
      const opened = await put('open')
      const link = 'x'.repeat(100)
      const filler = join(state, 'filler')
      fill(filler)

      // Half a page of the log may be left; a rename whose last record does not fit is done all the same.
      let name = 'moved'
      let refused: unknown
      for (let i = 0; i < 500 && refused === undefined; i++) {
        const next = `moved${i}`
        refused = await client.rename(ROOT, name, ROOT, next).then(
          () => undefined,
          error => error,
        )
        if (refused === undefined) name = next
        expect((await client.lookup(ROOT, name)).nodeid).toBe(moved)
      }
      expect(refused).toMatchObject({ code: 'ENOSPC' })
      await expect(client.unlink(ROOT, 'open')).rejects.toMatchObject({ code: 'ENOSPC' })
      expect((await client.lookup(ROOT, 'open')).nodeid).toBe(opened.node)
      expect(Buffer.from(await client.read(opened.node, opened.fh, 0, 10)).toString()).toBe('open')
      // What the journal cannot note the storage takes at once.
      await client.symlink(ROOT, 'link', link)
      expect(await readdir(share)).toEqual(expect.arrayContaining([name, 'open', '.ovfs-attributes']))

      await daemon.kill()
      await driver.close()
      daemon = await start()
      driver = await VirtioFsDriver.connect(daemon.socketPath)
      client = driver.client
      await client.init()
      const { nodeid } = await client.lookup(ROOT, 'link')
      expect(await client.readlink(nodeid)).toBe(link)
      await client.lookup(ROOT, 'open')
      await rm(filler)
      await client.rename(ROOT, name, ROOT, 'last')
      expect(String(await readFile(join(share, 'last')))).toBe('moved')
      expect((await readdir(share)).sort()).toEqual(['.ovfs-attributes', 'last', 'open'])
      await driver.close()
      await daemon.stop()
    } finally {
      unmount(state)
    }
  })
})

/** Takes all the room that is left on the disk. */
function fill(path: string): void {
  const file = openSync(path, 'w')
  try {
    for (const size of [4096, 1]) {
      try {
        for (;;) writeSync(file, Buffer.alloc(size))
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENOSPC' })
      }
    }
  } finally {
    closeSync(file)
  }
}
