// A process can end between any two entries of the session's log, also where nothing waits. There it is killed, and the request
// that was in flight comes again.

import { NO_SLOT, type NodeId, type RequestContext, ROOT_NODE, type SetattrChange } from '@ovfs/fuse-proto'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { decodeState } from '../src/session/session-state.ts'
import { empty } from './crash-rig.ts'
import { ctx, File, type Guest, O_EXCL, O_RDWR } from './guest.ts'
import { type Service, service } from './services.ts'
import { SessionRig } from './session-rig.ts'

const request: RequestContext = { ...ctx, unique: 1000, uid: 7, gid: 8 }

let storage: Service
let rig: SessionRig

beforeAll(async () => {
  storage = await service('fs')
})
afterAll(() => storage.close())
beforeEach(() => {
  rig = new SessionRig('fs', storage.operator)
})
afterEach(async () => {
  await rig.close()
  rig.remove()
  await empty(storage.outside)
})

/** The process ends when the log has so many entries more. `death` is undefined until then. */
function killAfterEntries(entries: number): { death: Promise<void> | undefined } {
  const { log } = rig
  const append = log.append
  const kill: ReturnType<typeof killAfterEntries> = { death: undefined }
  let left = entries
  log.append = (...entry) => {
    if (left-- > 0) return append.apply(log, entry)
    kill.death ??= rig.kill()
    return NO_SLOT
  }
  return kill
}

const makeFile = (guest: Guest) => guest.fs.create(request, ROOT_NODE, 'a', 0o600, O_RDWR | O_EXCL)

it('has the mode and the owner of a file whose making was cut off', async () => {
  for (let entries = 0; ; entries++) {
    let guest = await rig.start()
    const kill = killAfterEntries(entries)
    // That of a dead process goes on too: it waits for nothing that could tell.
    await makeFile(guest)
    if (kill.death === undefined) {
      await rig.restart()
      return
    }
    await kill.death
    guest = await rig.start()
    await makeFile(guest)
    const { mode, uid, gid } = await guest.stat('a')
    expect([entries, mode, uid, gid]).toEqual([entries, 0o100600, 7, 8])
    await guest.unlink('a')
    await guest.fs.destroy()
    await rig.close()
    rig.remove()
    rig = new SessionRig('fs', storage.operator)
  }
})

it.each([
  ['moved', (guest: Guest) => guest.rename('d', 'e')],
  ['removed', (guest: Guest) => guest.rmdir('d')],
])('keeps a file that an earlier process has unlinked though its directory is %s', async (_, change) => {
  let guest = await rig.start()
  await guest.mkdir('d')
  await guest.put('d/f', 'still here')
  const { node, fh } = await guest.open('d/f')
  await guest.unlink('d/f')
  guest = await rig.restart()
  await change(guest)
  await rig.restart()
  const file = new File(rig.fs, node, fh, 0)
  expect(new TextDecoder().decode(await file.readAll())).toBe('still here')
  await file.close()
  const left = (await storage.outside.list('', { recursive: true })).map(entry => entry.path())
  expect(left.filter(path => path.includes('.ovfs-tmp-'))).toEqual([])
})

it('keeps the mode that a file was given while it was being moved', async () => {
  for (let steps = 0; ; steps++) {
    let guest = await rig.start()
    const file = await guest.create('a', O_RDWR, 0o600)
    await file.fsync()
    await guest.put('b', 'B')
    const move = async (guest: Guest) => guest.fs.rename(request, ROOT_NODE, 'a', ROOT_NODE, 'b', 0)
    const frozen = rig.freezeAfter(steps, false).then(() => false)
    const isThrough = await Promise.race([frozen, move(guest).then(() => true)])
    await guest.fs.setattr(ctx, file.node, { mode: 0o640 } as SetattrChange)
    guest = await rig.restart()
    await move(guest)
    expect([steps, (await guest.stat('b')).mode]).toEqual([steps, 0o100640])
    if (isThrough) return
    await guest.fs.destroy()
    await rig.close()
    rig.remove()
    await empty(storage.outside)
    rig = new SessionRig('fs', storage.operator)
  }
})

async function handlesOf(guest: Guest): Promise<number> {
  const { files, directories } = decodeState(await guest.fs.save())
  return files.length + directories.length
}

it('closes what a request has opened in vain that comes again', async () => {
  let guest = await rig.start()
  await guest.mkdir('d')
  const d = await guest.node('d')
  const open = async (guest: Guest) => {
    const { entry, open } = await makeFile(guest)
    const a = entry.nodeid as NodeId
    const again = await guest.fs.open({ ...request, unique: 1002 }, a, O_RDWR)
    return { a, files: [open.fh, again.fh], directory: guest.fs.opendir({ ...request, unique: 1004 }, d).fh }
  }
  await open(guest)
  guest = await rig.restart()
  const { a, files, directory } = await open(guest)
  expect(await handlesOf(guest)).toBe(3)
  for (const fh of files) await guest.fs.release(ctx, a, fh)
  guest.fs.releasedir(ctx, d, directory)
  expect(await handlesOf(guest)).toBe(0)
})
