// Apache's mod_dav sends a weak ETag for a file that was written within the last second, and the same value as a strong one
// afterwards. That is one version.

import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OpendalFs, type OpendalFsOptions } from '@ovfs/opendal-fs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { CrashRig } from '../../packages/opendal-fs/test/crash-rig.ts'
import { Guest, O_RDWR, O_WRONLY } from '../../packages/opendal-fs/test/guest.ts'
import { SessionRig } from '../../packages/opendal-fs/test/session-rig.ts'
import { type EmptyStorage, missingForService, type Service, startService } from '../harness/services.ts'

const lacks = missingForService('webdav')

describe.skipIf(lacks !== undefined)(lacks === undefined ? 'on Apache' : `needs ${lacks}`, () => {
  let service: Service
  let storage: EmptyStorage
  let recoveryDir: string
  const ends: (() => Promise<void>)[] = []

  beforeAll(async () => {
    service = await startService('webdav')
  })
  afterAll(() => service.stop())
  beforeEach(async () => {
    storage = await service.empty()
    await storage.outside.createDir('/')
    recoveryDir = mkdtempSync(join(tmpdir(), 'ovfs-versions-'))
  })
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
    rmSync(recoveryDir, { recursive: true, force: true })
  })

  const start = (options: Partial<OpendalFsOptions> = {}) => {
    const onError = () => undefined
    const fs = new OpendalFs(storage.operator, {
      scheme: 'webdav',
      recoveryDir,
      onError,
      attrs: 'sidecar',
      ...options,
    })
    ends.push(() => fs.close().catch(() => undefined))
    return new Guest(fs)
  }
  const stored = async (key: string) => String(await storage.outside.read(key))
  const isWeak = async (key: string) => (await storage.outside.stat(key)).etag?.startsWith('W/')
  /** The second is over. */
  const becomesStrong = async (key: string) => {
    await expect.poll(() => isWeak(key), { timeout: 10_000 }).toBe(false)
  }

  test('a file that stays open is appended to after its ETag became strong', async () => {
    const guest = start()
    const log = await guest.create('log', O_WRONLY)
    await log.write(0, 'one\n')
    await log.flush()
    expect(await isWeak('log')).toBe(true)
    await becomesStrong('log')
    await log.write(4, 'two\n')
    await log.flush()
    await log.close()
    expect(await stored('log')).toBe('one\ntwo\n')
    expect(readdirSync(recoveryDir)).toEqual([])
  })

  test('times that a program has set stay after the ETag became strong', async () => {
    const guest = start()
    await guest.put('a', 'content')
    await guest.setattr('a', { mtime: { sec: 1_000_000, nsec: 5 }, atime: { sec: 2_000_000, nsec: 7 } })
    await guest.fs.syncfs()
    await becomesStrong('a')
    const seen = await start().stat('a')
    expect([seen.mtime, seen.mtimensec, seen.atime, seen.atimensec]).toEqual([1_000_000, 5, 2_000_000, 7])
  })

  test('the cached bytes of a file stay usable after its ETag became strong', async () => {
    await storage.outside.write('a', 'content')
    const guest = start({ attrTtlMs: 0, entryTtlMs: 0 })
    const first = await guest.open('a')
    await first.readAll()
    await becomesStrong('a')
    const second = await guest.open('a')
    // FOPEN_KEEP_CACHE: the guest keeps its pages.
    expect(second.openFlags & 2).toBe(2)
    await first.close()
    await second.close()
  })

  test('a write of another client in the same second, of the same size, is a conflict', async () => {
    await storage.outside.write('a', 'base')
    const guest = start()
    const file = await guest.open('a', O_RDWR)
    await file.readAll()
    await storage.outside.write('a', 'them')
    await file.write(0, 'ours')
    await expect(file.fsync()).rejects.toMatchObject({ code: 'ESTALE' })
    expect(await stored('a')).toBe('them')
  })

  test('a file that was closed with write-back before a kill is published over the version that became strong', async () => {
    const rig = new CrashRig('webdav', storage.operator, { writeBack: true })
    ends.push(async () => {
      await rig.close()
      rig.remove()
    })
    const guest = await rig.start()
    await guest.put('a', 'first')
    await expect.poll(() => storage.outside.exists('a'), { timeout: 10_000 }).toBe(true)
    await guest.put('a', 'second')
    await rig.kill()
    await becomesStrong('a')
    await rig.start()
    expect(rig.report).toMatchObject({ published: 1, conflicts: [] })
    expect(await stored('a')).toBe('second')
  })

  test('a file that was open during a kill is published over the version that became strong', async () => {
    const rig = new SessionRig('webdav', storage.operator, { recoveryDir })
    ends.push(async () => {
      await rig.close()
      rig.remove()
    })
    const file = await (await rig.start()).create('a')
    await file.write(0, 'first')
    await file.fsync()
    await file.write(5, ', second')
    await rig.kill()
    await becomesStrong('a')
    const guest = await rig.start()
    await guest.fs.fsync({} as never, file.node, file.fh)
    expect(await stored('a')).toBe('first, second')
    expect(readdirSync(recoveryDir)).toEqual([])
  })
})
