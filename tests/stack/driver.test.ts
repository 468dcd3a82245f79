// Our front-end and driver against whole daemons, without a guest: the same requests to the virtiofsd written in C, to the one
// written in Rust, and to ours.

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Errno, FsError, type FuseClient, ROOT_NODE } from '@ovfs/fuse-proto'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { missingForRustVirtiofsd, missingForVirtiofsd } from '../harness/virtiofsd.ts'
import { type Daemon, foreignRustVirtiofsd, foreignVirtiofsd, ovfsInProcess } from './daemons.ts'

const errnoOf = async (call: Promise<unknown>): Promise<number> => {
  try {
    await call
  } catch (error) {
    if (error instanceof FsError) return error.errno
    throw error
  }
  return 0
}

async function ovfsOnFolder(): Promise<Daemon> {
  const root = await mkdtemp(join(tmpdir(), 'ovfs-root-'))
  const daemon = await ovfsInProcess('fs', { root })
  return {
    ...daemon,
    async stop() {
      await daemon.stop()
      await rm(root, { recursive: true, force: true })
    },
  }
}

const DAEMONS: readonly [name: string, start: () => Promise<Daemon>, missing?: string | undefined][] = [
  ['virtiofsd', foreignVirtiofsd, missingForVirtiofsd()],
  ['virtiofsd in Rust', foreignRustVirtiofsd, missingForRustVirtiofsd()],
  ['ovfs on memory', () => ovfsInProcess('memory', {})],
  ['ovfs on a folder', ovfsOnFolder],
]

for (const [name, start, missing] of DAEMONS) {
  describe.skipIf(missing !== undefined)(
    `the driver and ${name}${missing ? `: needs ${missing}` : ''}`,
    () => {
      tests(start)
    },
  )
}

function tests(start: () => Promise<Daemon>): void {
  let daemon: Daemon
  let driver: VirtioFsDriver
  let client: FuseClient

  beforeAll(async () => {
    daemon = await start()
    driver = await VirtioFsDriver.connect(daemon.socketPath)
    client = driver.client
    await client.init()
  })
  afterAll(async () => {
    await driver.close()
    await daemon.stop()
  })

  test('the root is a directory', async () => {
    const { attr } = await client.getattr(ROOT_NODE)
    expect(attr.mode & 0o170000).toBe(0o040000)
  })

  test('a file that was written is looked up with its size and read back', async () => {
    const { entry, open } = await client.create(ROOT_NODE, 'file')
    const data = randomBytes(3 * 1024 * 1024 + 17)
    const step = 256 * 1024
    for (let offset = 0; offset < data.length; offset += step) {
      const part = data.subarray(offset, offset + step)
      expect(await client.write(entry.nodeid, open.fh, offset, part)).toBe(part.length)
    }
    await client.flush(entry.nodeid, open.fh)
    await client.release(entry.nodeid, open.fh)

    const found = await client.lookup(ROOT_NODE, 'file')
    expect(found.attr.size).toBe(data.length)
    const { fh } = await client.open(found.nodeid)
    const parts: Uint8Array[] = []
    for (let offset = 0; offset < data.length; offset += step) {
      parts.push(await client.read(found.nodeid, fh, offset, step))
    }
    expect(Buffer.compare(Buffer.concat(parts), data)).toBe(0)
    expect(await client.read(found.nodeid, fh, data.length, 4096)).toHaveLength(0)
    await client.release(found.nodeid, fh)
    await client.forget(found.nodeid, 2)
  })

  test('many requests are in flight at once', async () => {
    const attributes = await Promise.all(Array.from({ length: 200 }, () => client.getattr(ROOT_NODE)))
    expect(new Set(attributes.map(({ attr }) => attr.ino)).size).toBe(1)
  })

  test('a directory lists every name once, with and without attributes', async () => {
    const { nodeid } = await client.mkdir(ROOT_NODE, 'many')
    const names = Array.from({ length: 150 }, (_, i) => `entry-${String(i).padStart(3, '0')}`)
    for (const name of names) {
      const { entry, open } = await client.create(nodeid, name)
      await client.release(entry.nodeid, open.fh)
    }
    for (const list of [client.readdir.bind(client), client.readdirplus.bind(client)]) {
      const { fh } = await client.opendir(nodeid)
      const seen: string[] = []
      for (let cookie = 0n; ; ) {
        const entries = await list(nodeid, fh, cookie, 4096)
        const last = entries.at(-1)
        if (last === undefined) break
        seen.push(...entries.map(entry => entry.name))
        cookie = last.off
      }
      await client.releasedir(nodeid, fh)
      expect(seen.filter(name => name !== '.' && name !== '..').sort()).toEqual(names)
    }
  })

  test('what is not there is ENOENT, what is there already EEXIST, what is not empty ENOTEMPTY', async () => {
    const absent = await client.lookup(ROOT_NODE, 'nothing').catch((error: FsError) => error)
    // Either the errno, or an answer that the guest may remember: node 0.
    expect(absent instanceof FsError ? absent.errno : absent.nodeid).toBe(
      absent instanceof FsError ? Errno.ENOENT : 0,
    )
    const { nodeid } = await client.mkdir(ROOT_NODE, 'full')
    expect(await errnoOf(client.mkdir(ROOT_NODE, 'full'))).toBe(Errno.EEXIST)
    const { entry, open } = await client.create(nodeid, 'inside')
    await client.release(entry.nodeid, open.fh)
    expect(await errnoOf(client.rmdir(ROOT_NODE, 'full'))).toBe(Errno.ENOTEMPTY)
    await client.unlink(nodeid, 'inside')
    await client.rmdir(ROOT_NODE, 'full')
  })

  test('a renamed file keeps its bytes and loses its old name', async () => {
    const { entry, open } = await client.create(ROOT_NODE, 'before')
    await client.write(entry.nodeid, open.fh, 0, Buffer.from('moved'))
    await client.flush(entry.nodeid, open.fh)
    await client.release(entry.nodeid, open.fh)
    await client.rename(ROOT_NODE, 'before', ROOT_NODE, 'after')
    const { nodeid } = await client.lookup(ROOT_NODE, 'after')
    const { fh } = await client.open(nodeid)
    expect(Buffer.from(await client.read(nodeid, fh, 0, 100)).toString()).toBe('moved')
    await client.release(nodeid, fh)
  })

  test('statfs is sane', async () => {
    const { blocks, bfree, namelen } = await client.statfs(ROOT_NODE)
    expect(blocks).toBeGreaterThan(0)
    expect(bfree).toBeLessThanOrEqual(blocks)
    expect(namelen).toBe(255)
  })
}
