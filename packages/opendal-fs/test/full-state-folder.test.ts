// A daemon that starts on a state folder that takes nothing more: what an earlier one has left comes into the storage all the
// same, and what the journal cannot say of it is found done by the next.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CrashRig, empty, files } from './crash-rig.ts'
import { fileHandlePrototype, type Methods } from './file-handles.ts'
import { type Service, service } from './services.ts'

const LARGE = 'x'.repeat(100_000)

const refuse = async () => {
  throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
}

describe.each(['memory', 'fs', 's3'] as const)('on %s', scheme => {
  let storage: Service
  let rig: CrashRig
  let mend: () => void = () => undefined

  beforeEach(async () => {
    storage = await service(scheme)
    await empty(storage.outside)
    rig = new CrashRig(scheme, storage.operator, { writeBack: true, attrs: 'sidecar' })
    await rig.start()
  })
  afterEach(async () => {
    mend()
    await rig.close()
    rig.remove()
    await storage.close()
  })

  /** What the journal may have: a file that is saved in a file of its own or within, attributes, and a move that was begun. */
  async function leaveWork(): Promise<void> {
    await rig.guest.put('old', 'old')
    await rig.guest.fs.syncfs()
    const moving = rig.freezeAfter(0)
    await rig.guest.put('small', 'small')
    await rig.guest.setattr('small', { mode: 0o600 })
    await rig.guest.put('large', LARGE)
    rig.guest.rename('old', 'new').catch(() => undefined)
    await moving
    await rig.kill()
    expect(saved().length).toBeGreaterThan(0)
  }

  const saved = () => readdirSync(join(rig.folder, 'saved'))

  async function expectAll(): Promise<void> {
    expect(await files(rig.guest)).toEqual({ large: LARGE, new: 'old', small: 'small' })
    expect((await rig.guest.stat('small')).mode & 0o7777).toBe(0o600)
    expect(rig.report?.conflicts).toEqual([])
  }

  async function breakDisk(...methods: (keyof Methods)[]): Promise<void> {
    const { FileHandle } = await fileHandlePrototype()
    const before = methods.map(method => [method, FileHandle[method]])
    for (const method of methods) FileHandle[method] = refuse
    mend = () => void Object.assign(FileHandle, Object.fromEntries(before))
  }

  test('a journal without room is cut when nothing is left to do', async () => {
    await leaveWork()
    await breakDisk('write')
    await rig.start()
    expect(rig.report).toMatchObject({ finished: 1, unnoted: undefined })
    await expectAll()
    expect(saved()).toEqual([])
    await rig.restart()
    expect(rig.report).toMatchObject({ published: 0, finished: 0, attributes: 0 })
    await expectAll()
  })

  test('what a journal cannot say is found done by the next replay', async () => {
    await leaveWork()
    const before = saved()
    await breakDisk('write', 'truncate')
    await rig.start()
    expect(rig.report?.unnoted).toMatchObject({ code: 'ENOSPC' })
    await expectAll()
    expect(saved()).toEqual(before)
    mend()
    await rig.restart()
    expect(rig.report).toMatchObject({ published: 0, unnoted: undefined })
    await expectAll()
    expect(saved()).toEqual([])
  })
})
