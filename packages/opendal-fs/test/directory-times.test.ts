// The times of a directory change when a program changes its names, and at no other time: not when sidecars, markers or the bytes
// of files are stored in it later, and not when the guest asks again.

import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { Guest, O_RDWR } from './guest.ts'
import { keyValueService } from './key-value-services.ts'
import { SCHEMES, type Service, service } from './services.ts'

const TTL_MS = 20
/** Longer than the attributes are trusted, and than two moments take that a file system tells apart. */
const PAUSE_MS = 50

describe.each([...SCHEMES, 'sqlite', 'redis'] as const)('on %s', scheme => {
  let storage: Service
  let fs: OpendalFs
  let guest: Guest

  beforeEach(async () => {
    storage =
      scheme === 'sqlite' || scheme === 'redis' ? await keyValueService(scheme) : await service(scheme)
    fs = new OpendalFs(storage.operator, { scheme, attrTtlMs: TTL_MS, entryTtlMs: TTL_MS })
    guest = new Guest(fs)
  })
  afterEach(async () => {
    await fs.close()
    await storage.close()
  })

  const times = async (path: string) => {
    const { atime, atimensec, mtime, mtimensec, ctime, ctimensec } = await guest.stat(path)
    return { atime, atimensec, mtime, mtimensec, ctime, ctimensec }
  }

  it('a directory that was filled keeps its times when it is asked for again', async () => {
    await guest.mkdir('d')
    await sleep(PAUSE_MS)
    await guest.put('d/f', 'x')
    await guest.mkdir('d/sub')
    const before = [await times('d'), await times('/'), await times('d/f'), await times('d/sub')]
    await sleep(PAUSE_MS)
    expect([await times('d'), await times('/'), await times('d/f'), await times('d/sub')]).toEqual(before)
    await fs.syncfs()
    await sleep(PAUSE_MS)
    expect([await times('d'), await times('/'), await times('d/f'), await times('d/sub')]).toEqual(before)
  })

  it('a directory keeps its times when a file in it is published, and when its sidecar is stored', async () => {
    await guest.mkdir('d')
    const file = await guest.create('d/f')
    await file.write(0, 'content')
    await guest.setattr('d/f', { mode: 0o600 })
    const before = [await times('d'), await times('/')]
    await sleep(PAUSE_MS)
    await file.close()
    await sleep(PAUSE_MS)
    await fs.syncfs()
    await sleep(PAUSE_MS)
    expect([await times('d'), await times('/')]).toEqual(before)
  })

  it('a directory keeps its times when a removed file in it is closed', async () => {
    await guest.mkdir('d')
    await guest.put('d/f', 'content')
    const file = await guest.open('d/f', O_RDWR)
    await guest.unlink('d/f')
    const before = await times('d')
    await sleep(PAUSE_MS)
    await file.close()
    await sleep(PAUSE_MS)
    expect(await times('d')).toEqual(before)
  })

  it('a directory that a program has changed in mode or time keeps its times after another name is made in it', async () => {
    await guest.mkdir('d')
    await guest.setattr('d', { mode: 0o700 })
    await guest.mkdir('e')
    await guest.setattr('e', { mtime: { sec: 1_000, nsec: 5 } })
    await sleep(PAUSE_MS)
    await guest.put('d/f', 'x')
    await guest.put('e/f', 'x')
    const before = [await times('d'), await times('e')]
    await sleep(PAUSE_MS)
    expect([await times('d'), await times('e')]).toEqual(before)
    await fs.syncfs()
    await sleep(PAUSE_MS)
    expect([await times('d'), await times('e')]).toEqual(before)
  })
})
