// Two hosts change the same file: nobody's bytes are lost, and nobody is told that all is well.

import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ConflictError, OpendalFs } from '../src/index.ts'
import { Faults, faulty } from './faulty-operator.ts'
import { Guest, O_RDWR } from './guest.ts'
import { SCHEMES, type Service, service } from './services.ts'

describe.each(SCHEMES)('on %s', scheme => {
  let storage: Service
  let faults: Faults
  let recoveryDir: string
  let errors: Error[]
  let fs: OpendalFs
  let guest: Guest

  beforeEach(async () => {
    storage = await service(scheme)
    faults = new Faults()
    errors = []
    recoveryDir = join(mkdtempSync(join(tmpdir(), 'ovfs-test-')), 'lost')
    const onError = (error: Error) => errors.push(error)
    fs = new OpendalFs(faulty(storage.operator, faults), { scheme, recoveryDir, onError, timeoutMs: 2000 })
    guest = new Guest(fs)
  })
  afterEach(async () => {
    await fs.close()
    await storage.close()
    rmSync(join(recoveryDir, '..'), { recursive: true, force: true })
  })

  const outside = async (path: string) => (await storage.outside.read(path)).toString('latin1')
  const theirs = (path: string, content: string) => storage.outside.write(path, Buffer.from(content))
  const kept = () => readdirSync(recoveryDir).map(name => readFileSync(join(recoveryDir, name), 'latin1'))

  it('leaves what another host has published, keeps the own bytes in the recovery folder and says so', async () => {
    await theirs('d/f', 'base')
    const file = await guest.open('d/f', O_RDWR)
    await file.readAll()
    await file.write(0, 'OURS')
    await file.write(6, '!')
    await theirs('d/f', 'theirs, longer')
    await expect(file.fsync()).rejects.toMatchObject({ code: 'ESTALE' })
    expect(await outside('d/f')).toBe('theirs, longer')
    expect(kept()).toEqual(['OURS\0\0!'])
    expect(errors).toEqual([expect.any(ConflictError)])
    expect(errors[0]).toMatchObject({ path: '/d/f', missing: 0 })
    expect(errors[0]!.message).toContain(recoveryDir)
    await fs.close()
  })

  it('tells every handle that wrote, at each fsync and close, and takes no more writes from it', async () => {
    await theirs('f', 'base')
    const one = await guest.open('f', O_RDWR)
    const two = await guest.open('f', O_RDWR)
    await one.write(0, 'one')
    await two.write(3, 'two')
    await theirs('f', 'theirs, longer')
    for (const lost of await Promise.allSettled([one.fsync(), two.fsync()])) {
      expect(lost).toMatchObject({ status: 'rejected', reason: { code: 'ESTALE' } })
    }
    for (const lost of [two.write(0, 'x'), one.fsync(), one.close(), two.close()]) {
      await expect(lost).rejects.toMatchObject({ code: 'ESTALE' })
    }
    expect(kept()).toEqual(['onetwo'])
    expect(await guest.text('f')).toBe('theirs, longer')
    await guest.put('f', 'and on it goes')
    expect(await outside('f')).toBe('and on it goes')
    expect(fs.unpublished()).toEqual([])
  })

  it('does not create a file over one that another host has created meanwhile', async () => {
    const file = await guest.create('new')
    await file.write(0, 'ours')
    await theirs('new', 'their new one')
    await expect(file.close()).rejects.toMatchObject({ code: 'ESTALE' })
    expect(await outside('new')).toBe('their new one')
    expect(kept()).toEqual(['ours'])
    expect(await guest.text('new')).toBe('their new one')
  })

  it('does not bring back a file that another host has deleted meanwhile', async () => {
    await theirs('f', 'base')
    const file = await guest.open('f', O_RDWR)
    await file.write(0, 'ours')
    await storage.outside.delete('f')
    await expect(file.close()).rejects.toMatchObject({ code: 'ESTALE' })
    expect(await storage.outside.exists('f')).toBe(false)
    expect(await guest.exists('f')).toBe(false)
    expect(kept()).toEqual(['ours'])
  })

  it('does not move an unpublished file over one that another host has changed', async () => {
    await theirs('target', 'base')
    const file = await guest.create('temporary')
    await file.write(0, 'ours')
    await guest.rename('temporary', 'target')
    await theirs('target', 'theirs, longer')
    await expect(file.close()).rejects.toMatchObject({ code: 'ESTALE' })
    expect(await outside('target')).toBe('theirs, longer')
    expect(kept()).toEqual(['ours'])
  })

  it.each([
    ['half of the bytes', (key: string) => theirs(key, 'half')],
    ['nothing', (key: string) => storage.outside.delete(key)],
  ])('does not believe a service that has taken the bytes and then has %s', async (_, spoil) => {
    faults.after = async operation => {
      if (operation === (scheme === 'fs' ? 'rename' : 'write')) await spoil('f')
    }
    const file = await guest.create('f')
    await file.write(0, 'half and half')
    await expect(file.fsync()).rejects.toMatchObject({ code: 'EIO' })
    expect(fs.unpublished()).toEqual(['/f'])
    expect(errors).toEqual([expect.objectContaining({ operation: 'write', key: 'f' })])
    faults.after = () => undefined
    const closed = await file.close().catch(() => 'lost')
    if (closed === 'lost') expect(kept()).toEqual(['half and half'])
    else expect(await outside('f')).toBe('half and half')
  })

  it('is content if the other host has published the very same bytes', async () => {
    const file = await guest.create('f')
    await file.write(0, 'the same')
    await theirs('f', 'the same')
    await file.close()
    expect(errors).toEqual([])
    expect(await guest.text('f')).toBe('the same')
  })

  it('keeps the changes and tries again if the recovery folder cannot take them', async () => {
    mkdirSync(recoveryDir)
    chmodSync(recoveryDir, 0o777)
    const file = await guest.create('f')
    await file.write(0, 'ours')
    await theirs('f', 'theirs, longer')
    await expect(file.fsync()).rejects.toMatchObject({ code: 'EIO' })
    expect(await outside('f')).toBe('theirs, longer')
    expect(fs.unpublished()).toEqual(['/f'])
    chmodSync(recoveryDir, 0o700)
    await expect(file.close()).rejects.toMatchObject({ code: 'ESTALE' })
    expect(kept()).toEqual(['ours'])
  })

  if (scheme === 's3') {
    it('tells the service what must be there for a write to replace it', async () => {
      const conditions: unknown[] = []
      const write = storage.operator.write.bind(storage.operator)
      storage.operator.write = (path, content, options) => {
        if (path === 'f') conditions.push(options)
        return write(path, content, options)
      }
      await guest.put('f', 'new')
      const { etag } = await storage.outside.stat('f')
      await guest.put('f', 'newer')
      expect(conditions).toEqual([{ ifNotExists: true }, { ifMatch: etag }])
    })
  } else {
    it.each(['a part of the file', 'all of it', 'a new file'])(
      'looks once more directly before it replaces what somebody else may have changed: %s',
      async what => {
        if (what !== 'a new file') await theirs('f', 'base')
        const file = what === 'a new file' ? await guest.create('f') : await guest.open('f', O_RDWR)
        if (what === 'all of it') await file.truncate(0)
        await file.write(2, 'ours')
        let looks = 0
        faults.after = async (operation, key) => {
          if (operation === 'stat' && key === 'f' && ++looks === 1) await theirs('f', 'theirs, longer')
        }
        await expect(file.fsync()).rejects.toMatchObject({ code: 'ESTALE' })
        faults.after = () => undefined
        expect(await outside('f')).toBe('theirs, longer')
        expect(kept()).toHaveLength(1)
        expect((await storage.outside.list('')).map(entry => entry.path())).not.toContainEqual(
          expect.stringContaining('ovfs-tmp'),
        )
      },
    )
  }

  it('marks what of the old version could not be saved any more', async () => {
    await theirs('f', 'b'.repeat(100_000))
    const file = await guest.open('f', O_RDWR)
    await file.write(0, 'ours')
    await theirs('f', 'theirs')
    await expect(file.close()).rejects.toMatchObject({ code: 'ESTALE', missing: 99_996 })
    expect(kept()).toEqual([`ours${'\0'.repeat(99_996)}`])
  })

  it('does not see a conflict in the directory moved by itself, or in its own file published twice', async () => {
    await guest.mkdir('d')
    await guest.put('d/f', 'base')
    const file = await guest.open('d/f', O_RDWR)
    await file.write(0, 'one')
    await guest.rename('d', 'e')
    await file.fsync()
    await file.write(3, 'two')
    await file.close()
    expect(await outside('e/f')).toBe('onetwo')
    expect(errors).toEqual([])
  })
})
