// The session of a guest in the state folder of the real daemon, when it cannot be gone on with.

import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { ROOT_NODE } from '@ovfs/fuse-proto'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { buildProgram, type Run, WAITING, Workshop } from './ovfs-process.ts'

let work: Workshop
let driver: VirtioFsDriver | undefined

beforeAll(buildProgram, 120_000)
beforeEach(() => {
  work = new Workshop()
  for (const name of ['share', 'other', 'state']) mkdirSync(work.path(name))
})
afterEach(async () => {
  await driver?.close()
  work.clear()
})

async function start(share = 'share'): Promise<Run> {
  const args = ['serve', `fs://${work.path(share)}`, '--socket', work.path('a.sock')]
  const run = work.ovfs([...args, '--state-dir', work.path('state')])
  await run.said(WAITING)
  return run
}

/** A guest whose daemon is killed while it has an unsynced file open. */
async function killedGuest(): Promise<{ guest: VirtioFsDriver; node: number; fh: number }> {
  const run = await start()
  const guest = await VirtioFsDriver.connect(work.path('a.sock'), { reconnects: true })
  driver = guest
  await guest.client.init()
  const { entry, open } = await guest.client.create(ROOT_NODE, 'draft')
  await guest.client.write(entry.nodeid, open.fh, 0, Buffer.from('unsynced'))
  run.child.kill('SIGKILL')
  await run.ended
  return { guest, node: entry.nodeid, fh: open.fh }
}

it('a damaged session is kept for a person to look at, and the daemon starts', async () => {
  const { guest, node } = await killedGuest()
  rmSync(work.path('state/session/pages-0'))
  const run = await start()
  await run.said('a session could not be gone on with')
  const [kept] = readdirSync(work.path('state/recovery'))
  expect(readdirSync(work.path(`state/recovery/${kept}`))).toEqual(['session'])
  await guest.reconnect(work.path('a.sock'))
  await expect(guest.client.getattr(node)).rejects.toMatchObject({ code: 'EIO' })
  await guest.client.init()
  expect((await guest.client.create(ROOT_NODE, 'again')).entry.nodeid).toBeGreaterThan(1)
})

it('staged bytes that somebody has cut off are not taken for zeros, also if the file is as long as before', async () => {
  const { guest, node, fh } = await killedGuest()
  const pages = work.path('state/session/pages-0')
  const { length } = readFileSync(pages)
  truncateSync(pages, 0)
  truncateSync(pages, length)
  const run = await start()
  await run.said('a session could not be gone on with')
  await guest.reconnect(work.path('a.sock'))
  await expect(guest.client.read(node, fh, 0, 100)).rejects.toMatchObject({ code: 'EIO' })
  expect(readdirSync(work.path('share'))).toEqual([])
})

it('staged bytes that somebody cuts off while they are served are EIO, told of, and never published', async () => {
  const run = await start()
  driver = await VirtioFsDriver.connect(work.path('a.sock'), { reconnects: true })
  const { client } = driver
  await client.init()
  const { entry, open } = await client.create(ROOT_NODE, 'draft')
  await client.write(entry.nodeid, open.fh, 0, Buffer.from('unsynced'))
  truncateSync(work.path('state/session/pages-0'), 4096)
  await expect(client.read(entry.nodeid, open.fh, 0, 100)).rejects.toMatchObject({ code: 'EIO' })
  await expect(client.fsync(entry.nodeid, open.fh)).rejects.toMatchObject({ code: 'EIO' })
  await run.said('somebody has shortened the staging file pages-0')
  expect(readdirSync(work.path('share'))).toEqual([])
  // The rest of the share is as it was.
  const other = await client.create(ROOT_NODE, 'other')
  await client.write(other.entry.nodeid, other.open.fh, 0, Buffer.from('synced'))
  await client.fsync(other.entry.nodeid, other.open.fh)
  expect(readFileSync(work.path('share/other'), 'utf8')).toBe('synced')
})

it('a log of the session that is garbage, or of which processes have died, is put aside', async () => {
  await killedGuest()
  writeFileSync(work.path('state/session/session'), 'garbage')
  const run = await start()
  await run.said('a session could not be gone on with')
  run.child.kill('SIGKILL')
  await run.ended
  await driver!.close()
  await killedGuest()
  const readers = Buffer.alloc(8192)
  readers.writeUInt32LE(5, 0)
  readers.writeUInt32LE(0x6b65_7074, 4096)
  writeFileSync(work.path('state/session/session.readers'), readers)
  const next = await start()
  await next.said('5 processes in a row have ended')
  expect(readdirSync(work.path('state/recovery'))).toHaveLength(2)
})

it('the session of another share is not gone on with', async () => {
  const { guest, node } = await killedGuest()
  await start('other')
  await guest.reconnect(work.path('a.sock'))
  await expect(guest.client.getattr(node)).rejects.toMatchObject({ code: 'EIO' })
})

it('a session that goes on is told of', async () => {
  const { guest, node, fh } = await killedGuest()
  const run = await start()
  await run.said('the session of the guest goes on')
  await guest.reconnect(work.path('a.sock'))
  expect(Buffer.from(await guest.client.read(node, fh, 0, 100)).toString()).toBe('unsynced')
  run.child.kill('SIGTERM')
  expect((await run.ended).code).toBe(0)
})
