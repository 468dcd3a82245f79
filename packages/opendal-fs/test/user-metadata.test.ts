// Files that s3fs, gcsfuse and rclone have stored, with what they keep of them in user metadata.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { givenBy, metadataFor } from '../src/attributes/user-metadata.ts'
import { OpendalFs, type OpendalFsOptions } from '../src/index.ts'
import { empty } from './crash-rig.ts'
import { Faults, faulty } from './faulty-operator.ts'
import { Guest, O_RDWR } from './guest.ts'
import { type Service, service } from './services.ts'

describe('user metadata', () => {
  it.each([
    ['s3fs', { mode: '33188', uid: '1000', gid: '100', mtime: '1600000000.5' }, 0o644],
    ['s3fs, a mode whose digits are octal', { mode: '33216' }, 0o700],
    ['rclone', { mode: '100640', uid: '1000', mtime: '1600000000.500000001' }, 0o640],
    ['rclone, with a leading zero', { mode: '0100755' }, 0o755],
  ])('is read as %s writes it', (_, metadata, mode) => {
    expect(givenBy(metadata, false)).toMatchObject({ mode, isLink: false })
  })

  it('tells a link from a directory by what it is written for, where both bases make sense', () => {
    expect(givenBy({ mode: '41471' }, false)).toMatchObject({ isLink: true })
    expect(givenBy({ mode: '41777' }, true)).toMatchObject({ mode: 0o1777, isLink: false })
    expect(givenBy({ mode: '120777' }, false)).toMatchObject({ isLink: true })
    expect(givenBy({ mode: '16877' }, true)).toMatchObject({ mode: 0o755 })
  })

  it('has times as seconds or as text', () => {
    const mtime = { sec: 1_600_000_000, nsec: 500_000_001 }
    expect(givenBy({ mtime: '1600000000.500000001' }, false)?.mtime).toEqual(mtime)
    expect(givenBy({ mtime: '2020-09-13T12:26:40.500000001Z' }, false)?.mtime).toEqual(mtime)
    expect(givenBy({ gcsfuse_mtime: '2020-09-13T12:26:40.500000001Z' }, false)?.mtime).toEqual(mtime)
    expect(givenBy({ mtime: '-1.25' }, false)?.mtime).toEqual({ sec: -2, nsec: 750_000_000 })
  })

  it.each([
    { mode: 'rwxr-xr-x', uid: 'root', mtime: 'yesterday' },
    { mode: '-33188', uid: '-1', gid: '4294967295' },
    { mode: '1e5', uid: '0x10', mtime: '1'.repeat(400) },
    { mode: '99999999999999999999', uid: ' 7', gid: '', atime: 'NaN' },
    { mode: '8612', gcsfuse_symlink_target: '' },
    { gcsfuse_symlink_target: 'a\0b' },
    { gcsfuse_symlink_target: 'x'.repeat(4096) },
  ])('says nothing where it makes no sense: %o', metadata => {
    expect(givenBy(metadata as unknown as Record<string, string>, false)).toBeUndefined()
  })

  it('never makes a file setuid or setgid', () => {
    expect(givenBy({ mode: '36333' }, false)?.mode).toBe(0o755)
    expect(givenBy({ mode: '106755' }, false)?.mode).toBe(0o755)
  })

  it('goes along with new bytes as far as it does not speak of the old ones, and headers can hold it', () => {
    const metadata = {
      mode: '33188',
      mtime: '1',
      colour: 'blue',
      bad: 'naïve',
      'a b': 'x',
      gcsfuse_mtime: 'x',
    }
    expect(metadataFor(metadata)).toEqual({ mode: '33188', colour: 'blue' })
    expect(metadataFor({ mtime: '1' })).toBeUndefined()
  })
})

describe.each(['sidecar', 'none'] as const)(
  'on s3 with attrs %s, a share that shows user metadata',
  attrs => {
    let storage: Service
    let faults: Faults
    let mounted: OpendalFs[]

    beforeAll(async () => {
      storage = await service('s3')
    })
    afterAll(() => storage.close())
    beforeEach(async () => {
      await empty(storage.outside)
      faults = new Faults()
      mounted = []
      await put('file', 'content', {
        mode: '33200',
        uid: '1000',
        gid: '100',
        mtime: '1600000000.5',
        colour: 'blue',
      })
      await put('link', 'to/there', { mode: '41471', uid: '1000' })
      await put('glink', '', { gcsfuse_symlink_target: 'elsewhere' })
      await put('plain', 'plain', undefined)
    })
    afterEach(async () => {
      for (const fs of mounted) await fs.close()
    })

    const put = async (key: string, content: string, userMetadata: Record<string, string> | undefined) => {
      await storage.outside.write(key, Buffer.from(content), userMetadata && { userMetadata })
    }
    const mount = (options: Partial<OpendalFsOptions> = {}) => {
      const operator = faulty(storage.operator, faults)
      const fs = new OpendalFs(operator, { scheme: 's3', attrs, userMetadata: true, ...options })
      mounted.push(fs)
      return new Guest(fs)
    }
    const look = async (guest: Guest, path: string) => {
      const { mode, uid, gid, mtime, mtimensec, size } = await guest.stat(path)
      return { mode: mode.toString(8), uid, gid, mtime, mtimensec, size }
    }
    const FILE = {
      mode: '100660',
      uid: 1000,
      gid: 100,
      mtime: 1_600_000_000,
      mtimensec: 500_000_000,
      size: 7,
    }

    it('shows modes, owners and times', async () => {
      const guest = mount()
      expect(await look(guest, 'file')).toEqual(FILE)
      expect(await look(guest, 'plain')).toMatchObject({ mode: '100644', uid: 0, gid: 0 })
    })

    it('shows a file the same by its name and in a listing', async () => {
      const listed = await mount().readdir('/', { plus: true })
      const one = mount()
      for (const { name, type, entry } of listed) {
        expect(entry?.attr).toMatchObject({ ...(await one.stat(name)), ino: expect.anything() })
        expect(type).toBe((await one.stat(name)).mode >> 12)
      }
      expect(listed.map(({ name }) => name).sort()).toEqual(['file', 'glink', 'link', 'plain'])
    })

    it('does not say that something is a file before it knows', async () => {
      const types = (await mount().readdir('/')).map(({ type }) => type)
      expect(types).toEqual([0, 0, 0, 0])
    })

    it('follows links of both kinds, moves and removes them', async () => {
      const guest = mount()
      expect(await guest.readlink('link')).toBe('to/there')
      expect(await guest.readlink('glink')).toBe('elsewhere')
      expect(await look(guest, 'link')).toMatchObject({ mode: '120777', size: 8 })
      await guest.rename('link', 'moved')
      await guest.rename('glink', 'gmoved')
      await guest.rename('file', 'glink')
      const other = mount()
      expect(await other.readlink('moved')).toBe('to/there')
      expect(await other.readlink('gmoved')).toBe('elsewhere')
      expect(await other.text('glink')).toBe('content')
      expect(await other.exists('link')).toBe(false)
      await other.unlink('moved')
      await other.rename('plain', 'gmoved')
      const third = mount()
      expect(await third.names('/')).toEqual(['glink', 'gmoved'])
      expect(await third.text('gmoved')).toBe('plain')
    })

    it('leaves the metadata with an object that gets other bytes, apart from the times', async () => {
      const guest = mount()
      const file = await guest.open('file', O_RDWR)
      await file.write(0, 'C')
      await file.close()
      expect((await storage.outside.stat('file')).userMetadata).toEqual({
        mode: '33200',
        uid: '1000',
        gid: '100',
        colour: 'blue',
      })
      const now = await look(mount(), 'file')
      expect(now).toMatchObject({ mode: '100660', uid: 1000, gid: 100 })
      expect(now.mtime).toBeGreaterThan(FILE.mtime)
      expect(await mount().text('file')).toBe('Content')
    })

    it('keeps it over a rename', async () => {
      const guest = mount()
      await guest.rename('file', 'other')
      expect(await look(guest, 'other')).toEqual(FILE)
      expect(await look(mount(), 'other')).toEqual(FILE)
    })

    it('takes a link for a file whose target no link can have', async () => {
      await put('long', 'x'.repeat(5000), { mode: '41471' })
      await put('binary', 'a\0b', { mode: '41471' })
      await put('empty', '', { mode: '41471' })
      const guest = mount()
      for (const name of ['long', 'binary', 'empty']) expect((await guest.stat(name)).mode >> 12).toBe(8)
      expect(await guest.text('binary')).toBe('a\0b')
    })

    it('is off unless asked for, and listings then ask for no file', async () => {
      const guest = mount({ userMetadata: false })
      await guest.readdir('/', { plus: true })
      expect(await look(guest, 'file')).toMatchObject({ mode: '100644', uid: 0, gid: 0 })
      expect(faults.calls.filter(call => call === 'stat file')).toEqual([])
    })

    if (attrs === 'sidecar') {
      it('keeps what a guest has changed, whatever the metadata says, and lets it return to that', async () => {
        const guest = mount()
        await guest.setattr('file', { mode: 0o4711, uid: 0 })
        await guest.setattr('link', { uid: 5 })
        await guest.fs.syncfs()
        const other = mount()
        expect(await look(other, 'file')).toEqual({ ...FILE, mode: '104711', uid: 0 })
        expect(await look(other, 'link')).toMatchObject({ mode: '120777', uid: 5 })
        expect(await other.readlink('link')).toBe('to/there')
        await other.setattr('file', { mode: 0o660, uid: 1000 })
        await other.fs.syncfs()
        expect(await look(mount(), 'file')).toEqual(FILE)
      })

      it('copies the bytes of a file, and not what is kept of it', async () => {
        const guest = mount()
        const [from, to] = [await guest.open('file', O_RDWR), await guest.create('copy', O_RDWR)]
        await guest.fs.copyFileRange({} as never, from.node, from.fh, 0, to.node, to.fh, 0, 7)
        await to.close()
        expect(await look(mount(), 'copy')).toMatchObject({ mode: '100644', uid: 0, size: 7 })
      })
    }
  },
)
