// The session of a guest in the state folder of the real daemon, when it cannot be gone on with.

import { mkdirSync, readdirSync, rmSync } from 'node:fs'
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
