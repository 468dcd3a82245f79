// A guest's session moves from one daemon to another over the same storage, and goes on without a new INIT.

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Errno, FsError, type FuseHandler, FuseServer, ROOT_NODE } from '@ovfs/fuse-proto'
import { OpendalFs, Operator } from '@ovfs/opendal-fs'
import { FrontendSession } from '@ovfs/vhost-user'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { type Daemon, ovfsInProcess } from './daemons.ts'

let root: string
let daemons: (Daemon & { readonly trouble: unknown[] })[]

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'ovfs-migration-'))
  daemons = []
})
afterEach(async () => {
  for (const daemon of daemons) await daemon.stop()
  await rm(root, { recursive: true, force: true })
})

async function daemon(): Promise<Daemon & { readonly trouble: unknown[] }> {
  const started = await ovfsInProcess('fs', { root })
  daemons.push(started)
  return started
}

async function connect(to: Daemon, state?: Uint8Array): Promise<VirtioFsDriver> {
  const driver = await VirtioFsDriver.connect(to.socketPath, state && { state })
  onTestFinished(() => driver.close())
  return driver
}

/** Stops the device, as a monitor does at the end of a migration. */
async function stopAndSave({ session, requests, hiprio }: VirtioFsDriver): Promise<Uint8Array> {
  await session.stopRing(hiprio.frontend)
  await session.stopRing(requests.frontend)
  return session.saveState()
}

const errnoOf = (call: Promise<unknown>) =>
  call.then(
    () => 0,
    error => (error instanceof FsError ? error.errno : error),
  )

const contents = async ({ client }: VirtioFsDriver, node: number, fh: number) =>
  Buffer.from(await client.read(node as never, fh as never, 0, 4096)).toString()

test('node ids, open files and what was written before the move mean the same after it', async () => {
  const source = await connect(await daemon())
  const { client } = source
  await client.init()
  const folder = await client.mkdir(ROOT_NODE, 'folder')
  const { entry, open } = await client.create(folder.nodeid, 'file')
  await client.write(entry.nodeid, open.fh, 0, Buffer.from('before '))
  const other = await client.create(ROOT_NODE, 'other')
  await client.release(other.entry.nodeid, other.open.fh)
  const directory = await client.opendir(folder.nodeid)
  const state = await stopAndSave(source)

  const target = await connect(await daemon(), state)
  const after = target.client
  expect((await after.getattr(folder.nodeid)).attr.ino).toBe(folder.nodeid)
  expect(await contents(target, entry.nodeid, open.fh)).toBe('before ')
  await after.write(entry.nodeid, open.fh, 7, Buffer.from('after'))
  await after.fsync(entry.nodeid, open.fh)
  expect(await contents(target, entry.nodeid, open.fh)).toBe('before after')
  expect((await after.readdir(folder.nodeid, directory.fh, 0, 4096)).map(({ name }) => name)).toContain(
    'file',
  )
  expect((await after.lookup(ROOT_NODE, 'other')).nodeid, 'looked up before').toBe(other.entry.nodeid)
  const fresh = await after.create(ROOT_NODE, 'fresh')
  expect([entry.nodeid, folder.nodeid, other.entry.nodeid]).not.toContain(fresh.entry.nodeid)
  expect([open.fh, other.open.fh, directory.fh]).not.toContain(fresh.open.fh)
  await after.forget(entry.nodeid, 1)
  await after.release(entry.nodeid, open.fh)
  await after.releasedir(folder.nodeid, directory.fh)
  await expect(after.read(entry.nodeid, open.fh, 0, 1)).rejects.toMatchObject({ code: 'EBADF' })
  expect(daemons.flatMap(({ trouble }) => trouble)).toEqual([])
})

test('a state that nobody loads takes nothing from the source: it can be saved again', async () => {
  const source = await connect(await daemon())
  await source.client.init()
  const { entry, open } = await source.client.create(ROOT_NODE, 'file')
  await source.client.write(entry.nodeid, open.fh, 0, Buffer.from('kept'))
  const first = await stopAndSave(source)
  const second = await source.session.saveState()
  expect(Buffer.from(second).equals(first)).toBe(true)
  const target = await connect(await daemon(), second)
  expect(await contents(target, entry.nodeid, open.fh)).toBe('kept')
})

test('what vanished from the storage on the way is ESTALE, and everything else goes on', async () => {
  const source = await connect(await daemon())
  const { client } = source
  await client.init()
  const [gone, stays] = [await client.create(ROOT_NODE, 'gone'), await client.create(ROOT_NODE, 'stays')]
  await client.write(gone.entry.nodeid, gone.open.fh, 0, Buffer.from('x'))
  await client.write(stays.entry.nodeid, stays.open.fh, 0, Buffer.from('y'))
  const state = await stopAndSave(source)
  await rm(join(root, 'gone'))
  const target = await connect(await daemon(), state)
  expect(await errnoOf(target.client.read(gone.entry.nodeid, gone.open.fh, 0, 10))).toBe(Errno.ESTALE)
  await target.client.release(gone.entry.nodeid, gone.open.fh)
  expect(await contents(target, stays.entry.nodeid, stays.open.fh)).toBe('y')
})

test('files that were removed while open have their bytes, holes and attributes after the move, and go when they are closed', async () => {
  const source = await connect(await daemon())
  const { client } = source
  await client.init()
  const written = await client.create(ROOT_NODE, 'written')
  await client.write(written.entry.nodeid, written.open.fh, 3 << 20, Buffer.from('behind a hole'))
  await client.unlink(ROOT_NODE, 'written')
  const stored = await client.create(ROOT_NODE, 'stored')
  await client.write(stored.entry.nodeid, stored.open.fh, 0, Buffer.from('from the storage'))
  await client.fsync(stored.entry.nodeid, stored.open.fh)
  await client.unlink(ROOT_NODE, 'stored')
  const before = await client.getattr(written.entry.nodeid)
  const state = await stopAndSave(source)
  expect(state.length).toBeLessThan(10_000)
  await source.close()

  const target = await connect(await daemon(), state)
  const after = target.client
  const { attr } = await after.getattr(written.entry.nodeid)
  expect(attr).toMatchObject({
    size: before.attr.size,
    mode: before.attr.mode,
    mtime: before.attr.mtime,
    nlink: 0,
  })
  const end = Buffer.from(await after.read(written.entry.nodeid, written.open.fh, (3 << 20) - 2, 100))
  expect(end.toString()).toBe('\0\0behind a hole')
  expect(await contents(target, stored.entry.nodeid, stored.open.fh)).toBe('from the storage')
  await after.write(stored.entry.nodeid, stored.open.fh, 0, Buffer.from('FROM'))
  expect(await contents(target, stored.entry.nodeid, stored.open.fh)).toBe('FROM the storage')
  for (const { entry, open } of [written, stored]) {
    await after.release(entry.nodeid, open.fh)
    await after.forget(entry.nodeid, 1)
    expect(await errnoOf(after.getattr(entry.nodeid))).toBe(Errno.ESTALE)
  }
  expect(await readdir(root)).toEqual([])
  expect(daemons.flatMap(({ trouble }) => trouble)).toEqual([])
})

test('of removed files, those beyond 64 MiB stay behind: the source says so, and they are ESTALE', async () => {
  const source = await connect(await daemon())
  const { client } = source
  await client.init()
  const { entry, open } = await client.create(ROOT_NODE, 'large')
  const data = Buffer.alloc(256 << 10, 'large')
  for (let at = 0; at <= 64 << 20; at += data.length) await client.write(entry.nodeid, open.fh, at, data)
  await client.unlink(ROOT_NODE, 'large')
  const state = await stopAndSave(source)
  expect(String(daemons[0]!.trouble)).toMatch(
    /large: removed while open, and its 67371008 bytes are too many/,
  )
  const target = await connect(await daemon(), state)
  expect(await errnoOf(target.client.read(entry.nodeid, open.fh, 0, 10))).toBe(Errno.ESTALE)
  await target.client.release(entry.nodeid, open.fh)
})

test('a daemon without a session is saved and loaded too', async () => {
  const source = await connect(await daemon())
  const target = await connect(await daemon(), await stopAndSave(source))
  await expect(target.client.getattr(ROOT_NODE)).rejects.toMatchObject({ code: 'EIO' })
  await target.client.init()
  await target.client.getattr(ROOT_NODE)
})

describe('a state that is none is refused, and the daemon serves on', () => {
  async function validState(): Promise<Uint8Array> {
    const source = await connect(await daemon())
    await source.client.init()
    await source.client.mkdir(ROOT_NODE, 'folder')
    return stopAndSave(source)
  }
  const HEADER = 16 + 64
  const rewritten = (state: Uint8Array, edit: (json: string) => string) => {
    const body = Buffer.from(edit(Buffer.from(state.subarray(HEADER)).toString()))
    const head = Buffer.from(state.subarray(0, HEADER))
    head.writeUInt32LE(body.length, 12)
    return Buffer.concat([head, body])
  }
  test.each<[string, (state: Uint8Array) => Uint8Array]>([
    ['nothing', () => new Uint8Array(0)],
    ['zeros', () => new Uint8Array(1000)],
    ['the first half', state => state.slice(0, state.length / 2)],
    ['one byte less', state => state.slice(0, -1)],
    ['another version', state => state.map((byte, i) => (i === 4 ? 9 : byte))],
    ['a version of FUSE that no INIT agrees to', state => state.map((byte, i) => (i === 16 ? 6 : byte))],
    ['no JSON', state => rewritten(state, () => '{')],
    ['another format', state => rewritten(state, json => json.replace('opendal-fs', 'other-fs'))],
    [
      'a node that is twice there',
      state => rewritten(state, json => json.replace(/\[\[2,/, '[[2,1,"a",false,1],[2,')),
    ],
    ['a node above the last', state => rewritten(state, json => json.replace(/\[\[2,/, '[[999,'))],
    ['a parent that is not there', state => rewritten(state, json => json.replace(/\[\[2,1,/, '[[2,7,'))],
    ['a name with a slash', state => rewritten(state, json => json.replace('"folder"', '"../x"'))],
    [
      'a removed file that has a name',
      state =>
        rewritten(state, json =>
          json.replace(
            '"removed":[]',
            '"removed":[{"id":2,"size":0,"mode":0,"uid":0,"gid":0,"mtime":[0,0],"xattrs":[],"pieces":[]}]',
          ),
        ),
    ],
    [
      'a removed file without bytes',
      state => rewritten(state, json => json.replace('"removed":[]', '"removed":[{"id":2}]')),
    ],
    [
      'a handle of no node',
      state => rewritten(state, json => json.replace('"files":[]', '"files":[[0,9,true]]')),
    ],
  ])('%s', async (_name, spoil) => {
    const spoiled = spoil(await validState())
    const target = await daemon()
    const session = FrontendSession.connect(target.socketPath)
    onTestFinished(() => session.close())
    await session.handshake()
    await expect(session.loadState(spoiled)).rejects.toMatchObject({ code: 'REFUSED' })
    expect(target.trouble).toHaveLength(1)
    session.close()
    await new Promise(resolve => setTimeout(resolve, 5))
    const { client } = await connect(target)
    await client.init()
    expect((await client.lookup(ROOT_NODE, 'folder')).nodeid).toBeGreaterThan(1)
  })
})

test('a handler that cannot be saved is not offered for migration', async () => {
  const handler: FuseHandler = { init: () => ({ flags: 0 }) }
  const server = new FuseServer(handler)
  expect(await server.save(), 'without a session there is nothing to save').toHaveLength(80)
  const fs = new OpendalFs(new Operator('memory', {}), { scheme: 'memory', onError: () => {} })
  onTestFinished(() => fs.close())
  expect(typeof fs.save).toBe('function')
})
