// An open file shows the bytes of one version, or ESTALE, when another client replaces the object meanwhile.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OpendalFs } from '@ovfs/opendal-fs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Faults, faulty } from '../../packages/opendal-fs/test/faulty-operator.ts'
import { File, Guest, O_RDWR, O_WRONLY } from '../../packages/opendal-fs/test/guest.ts'
import { SessionRig } from '../../packages/opendal-fs/test/session-rig.ts'
import { type EmptyStorage, missingForService, type Service, startService } from '../harness/services.ts'

const SIZE = 3 << 20
const STEP = 128 << 10
const FOPEN_KEEP_CACHE = 2

// memory, Redis and SQLite tell nothing by which versions of one size differ.
describe.each(['fs', 's3', 'webdav'] as const)('on %s', scheme => {
  const lacks = missingForService(scheme)
  describe.skipIf(lacks !== undefined)(lacks === undefined ? 'started' : `needs ${lacks}`, () => {
    let service: Service
    let storage: EmptyStorage
    let faults: Faults
    let recoveryDir: string
    let fs: OpendalFs
    let guest: Guest

    beforeAll(async () => {
      service = await startService(scheme)
    })
    afterAll(() => service.stop())
    beforeEach(async () => {
      storage = await service.empty()
      await storage.outside.createDir('/')
      faults = new Faults()
      recoveryDir = mkdtempSync(join(tmpdir(), 'ovfs-versions-'))
      const onError = () => undefined
      fs = new OpendalFs(faulty(storage.operator, faults), { scheme, recoveryDir, onError })
      guest = new Guest(fs)
    })
    afterEach(async () => {
      await fs.close().catch(() => undefined)
      rmSync(recoveryDir, { recursive: true, force: true })
    })

    const theirs = (key: string, letter: string, size = SIZE) =>
      storage.outside.write(key, Buffer.alloc(size, letter))
    /** The letter of which all bytes are, or the error code. */
    const letterAt = (file: File, at: number, size = STEP) =>
      file.read(at, size).then(
        bytes => [...new Set(Buffer.from(bytes).toString('latin1'))].join(''),
        (error: { code?: string }) => error.code,
      )
    const readOn = async (file: File, from: number) => {
      const seen = new Set<string | undefined>()
      for (let at = from; at < SIZE; at += STEP) seen.add(await letterAt(file, at))
      return [...seen]
    }

    test.each([
      ['of the same size', SIZE],
      ['that is longer', SIZE + 10_000],
      ['that is shorter', SIZE - 10_000],
    ])('an open file is stale once a version %s has replaced the one it shows', async (_, size) => {
      await theirs('f', 'a')
      const file = await guest.open('f')
      expect(await letterAt(file, 0)).toBe('a')
      await theirs('f', 'b', size)
      // What the host has of the old version may still be shown.
      expect((await readOn(file, STEP)).filter(letter => letter !== 'a')).toEqual(['ESTALE'])
      const fresh = await guest.open('f')
      expect(await letterAt(fresh, 0)).toBe('b')
      expect(await readOn(fresh, 0)).not.toContain('a')
      expect((await readOn(file, 0)).filter(letter => letter !== 'a')).toEqual(['ESTALE'])
      await file.close()
      expect(await letterAt(fresh, 0)).toBe('b')
      await fresh.close()
    })

    test('an open file that was replaced while a part of it was being fetched is stale', async () => {
      await theirs('f', 'a')
      const file = await guest.open('f')
      expect(await letterAt(file, 0)).toBe('a')
      let once = true
      faults.before = async operation => {
        if (operation !== 'read' || !once) return
        once = false
        await theirs('f', 'b')
      }
      expect(await readOn(file, 1 << 20)).toEqual(['ESTALE'])
      await file.close()
    })

    test('a file of which nothing was read yet shows the version that is there at its first read', async () => {
      await theirs('f', 'a')
      const file = await guest.open('f')
      await theirs('f', 'b')
      const seen = await readOn(file, 0)
      expect(seen).toEqual(['b'])
      await file.close()
    })

    test('a file whose pages the guest keeps is stale once it is replaced, although nothing was read anew', async () => {
      await theirs('f', 'a')
      const first = await guest.open('f')
      expect(await letterAt(first, 0)).toBe('a')
      await first.close()
      const file = await guest.open('f')
      expect(file.openFlags & FOPEN_KEEP_CACHE).toBe(FOPEN_KEEP_CACHE)
      await theirs('f', 'b')
      expect(await letterAt(file, 2 << 20)).toBe('ESTALE')
      await file.close()
    })

    test('a file that this guest replaces shows the new bytes to all who have it open', async () => {
      await theirs('f', 'a')
      const file = await guest.open('f')
      expect(await letterAt(file, 0)).toBe('a')
      const writer = await guest.open('f', O_RDWR)
      await writer.write(0, Buffer.alloc(SIZE, 'b'))
      expect(await letterAt(file, 1 << 20)).toBe('b')
      await writer.close()
      expect(await readOn(file, 0)).toEqual(['b'])
      await writer.fs.syncfs()
      expect(await readOn(file, 0)).toEqual(['b'])
      await file.close()
    })

    test('a file that is moved, alone or with its directory, stays readable to its end', async () => {
      await guest.mkdir('d')
      await theirs('d/f', 'a')
      const file = await guest.open('d/f')
      expect(await letterAt(file, 0)).toBe('a')
      await guest.rename('d/f', 'd/g')
      expect(await letterAt(file, 1 << 20)).toBe('a')
      await guest.rename('d', 'e')
      expect(await letterAt(file, 2 << 20)).toBe('a')
      await theirs('e/g', 'b')
      expect(await letterAt(file, (2 << 20) + (512 << 10))).toMatch(/^(a|ESTALE)$/)
      await file.close()
    })

    test('a reader of unpublished bytes that lose against another client is stale', async () => {
      await theirs('f', 'a')
      const reader = await guest.open('f')
      const writer = await guest.open('f', O_WRONLY)
      await writer.write(0, Buffer.alloc(STEP, 'b'))
      expect(await letterAt(reader, 0)).toBe('b')
      await theirs('f', 'c')
      await expect(writer.fsync()).rejects.toMatchObject({ code: 'ESTALE' })
      expect(await letterAt(reader, 2 << 20)).toBe('ESTALE')
      const fresh = await guest.open('f')
      expect(await letterAt(fresh, 0)).toBe('c')
      await fresh.close()
      await reader.close()
      await writer.close().catch(() => undefined)
    })

    test('a small file is read with one request, and a large one needs few looks', async () => {
      await theirs('small', 'a', STEP)
      await theirs('large', 'a', 16 << 20)
      const small = await guest.open('small')
      let before = faults.calls.length
      expect(await letterAt(small, 0)).toBe('a')
      expect(faults.calls.slice(before)).toEqual(['read small'])
      await small.close()
      const large = await guest.open('large')
      before = faults.calls.length
      for (let at = 0; at < 16 << 20; at += STEP) expect(await letterAt(large, at)).toBe('a')
      const looks = faults.calls.slice(before).filter(call => call === 'stat large')
      const reads = faults.calls.slice(before).filter(call => call === 'read large')
      expect(looks.length).toBeLessThanOrEqual(reads.length)
      await large.close()
    })

    describe.each(['kill', 'move to another host'] as const)('over a %s', how => {
      let rig: SessionRig
      let next: OpendalFs | undefined

      beforeEach(async () => {
        await fs.close()
        next = undefined
        rig = new SessionRig(scheme, storage.operator, { recoveryDir })
        guest = await rig.start()
      })
      afterEach(async () => {
        await next?.close().catch(() => undefined)
        await rig.close().catch(() => undefined)
        rig.remove()
      })

      /** Ends the file system, lets others change the storage, and goes on with the next one. */
      const goOn = async (meanwhile: () => Promise<unknown> = async () => undefined) => {
        if (how === 'kill') {
          await rig.kill()
          await meanwhile()
          guest = await rig.start()
        } else {
          const state = await rig.fs.save()
          await meanwhile()
          next = new OpendalFs(storage.operator, { scheme, recoveryDir, onError: () => undefined })
          await next.restore(state)
          guest = new Guest(next, undefined, false)
        }
      }
      const again = ({ node, fh }: File) => new File(guest.fs, node, fh, 0)

      test('an open file stays readable to its end', async () => {
        await theirs('f', 'a')
        const file = await guest.open('f')
        expect(await letterAt(file, 0)).toBe('a')
        await goOn()
        expect(await readOn(again(file), 0)).toEqual(['a'])
        await again(file).close()
      })

      test('an open file that was replaced meanwhile is stale', async () => {
        await theirs('f', 'a')
        const file = await guest.open('f')
        const unread = await guest.open('f')
        expect(await letterAt(file, 0)).toBe('a')
        await goOn(() => theirs('f', 'b'))
        expect(await letterAt(again(file), STEP)).toBe('ESTALE')
        // The guest has pages of the old version, which all handles share.
        expect(await letterAt(again(unread), STEP)).toBe('ESTALE')
        const fresh = await guest.open('f')
        expect(await readOn(fresh, 0)).toEqual(['b'])
        await fresh.close()
      })

      test('an open file of which the guest has nothing shows the version that replaced it meanwhile', async () => {
        await theirs('f', 'a')
        const file = await guest.open('f')
        await goOn(() => theirs('f', 'b'))
        expect(await readOn(again(file), 0)).toEqual(['b'])
        await again(file).close()
      })

      test('a stale handle stays stale, and one that was opened after it goes on', async () => {
        await theirs('f', 'a')
        const file = await guest.open('f')
        expect(await letterAt(file, 0)).toBe('a')
        await theirs('f', 'b')
        expect((await readOn(file, 1 << 20)).at(-1)).toBe('ESTALE')
        const fresh = await guest.open('f')
        expect(await letterAt(fresh, 0)).toBe('b')
        await goOn()
        expect(await letterAt(again(file), 0)).toBe('ESTALE')
        expect(await readOn(again(fresh), 0)).toEqual(['b'])
      })

      test('a file that this guest replaced or moved stays readable', async () => {
        await guest.mkdir('d')
        for (const name of ['written', 'moved', 'd/f']) await theirs(name, 'a')
        const files: File[] = []
        for (const name of ['written', 'moved', 'd/f']) files.push(await guest.open(name))
        for (const file of files) expect(await letterAt(file, 0)).toBe('a')
        await guest.put('written', Buffer.alloc(SIZE, 'b'))
        await guest.rename('moved', 'moved again')
        await guest.rename('d', 'e')
        await goOn()
        const [written, moved, below] = files.map(again)
        expect(await readOn(written!, 0)).toEqual(['b'])
        expect(await readOn(moved!, 0)).toEqual(['a'])
        expect(await readOn(below!, 0)).toEqual(['a'])
      })

      test('a reader of unpublished bytes that lost against another client is stale', async () => {
        await theirs('f', 'a')
        const reader = await guest.open('f')
        const writer = await guest.open('f', O_RDWR)
        await writer.write(0, Buffer.alloc(STEP, 'b'))
        expect(await letterAt(reader, 0)).toBe('b')
        if (how === 'kill') {
          await goOn(() => theirs('f', 'c'))
          await expect(again(writer).fsync()).rejects.toMatchObject({ code: 'ESTALE' })
        } else {
          await theirs('f', 'c')
          await expect(writer.fsync()).rejects.toMatchObject({ code: 'ESTALE' })
          await goOn()
        }
        expect(await letterAt(again(reader), 2 << 20)).toBe('ESTALE')
      })
    })
  })
})
