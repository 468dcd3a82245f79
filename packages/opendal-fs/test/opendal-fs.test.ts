import { FsError } from '@ovfs/fuse-proto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { forEachConcurrently } from '../src/names/locks.ts'
import { ctx, Guest, O_EXCL, O_RDWR, O_WRONLY } from './guest.ts'
import { SCHEMES, type Service, service } from './services.ts'

const bytes = (length: number, seed = 1) =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7 + seed) & 0xff)

describe.each(SCHEMES)('on %s', scheme => {
  // Memory tells neither time nor ETag: one version looks like another of its size.
  const itWithVersions = (name: string, test: () => Promise<void>) => scheme !== 'memory' && it(name, test)

  let storage: Service
  let fs: OpendalFs
  let guest: Guest

  beforeEach(async () => {
    storage = await service(scheme)
    fs = new OpendalFs(storage.operator, { scheme })
    guest = new Guest(fs)
  })
  afterEach(async () => {
    await fs.close()
    await storage.close()
  })

  const outside = async (path: string) => (await storage.outside.read(path)).toString()

  it('has the bytes in the storage once close has succeeded', async () => {
    await guest.put('a', 'hello')
    expect(await outside('a')).toBe('hello')
    expect(await guest.text('a')).toBe('hello')
  })

  it('has the bytes in the storage once fsync has succeeded', async () => {
    const file = await guest.create('a')
    await file.write(0, 'one')
    await file.fsync()
    expect(await outside('a')).toBe('one')
    await file.write(3, ' two')
    await file.close()
    expect(await outside('a')).toBe('one two')
  })

  it('publishes an empty file', async () => {
    await (await guest.create('empty')).close()
    expect((await storage.outside.stat('empty')).contentLength).toBe(0n)
    expect((await guest.stat('empty')).size).toBe(0)
  })

  it('changes only the bytes that are written over', async () => {
    const before = bytes(300_000)
    await storage.outside.write('f', Buffer.from(before))
    const file = await guest.open('f', O_RDWR)
    await file.write(100_000, 'xyz')
    before.set(new TextEncoder().encode('xyz'), 100_000)
    expect(Buffer.compare(await file.readAll(), before)).toBe(0)
    await file.close()
    expect(Buffer.compare(await storage.outside.read('f'), before)).toBe(0)
  })

  it('reads zeros from holes and after a file was cut and grown again', async () => {
    await guest.put('f', 'abcdef')
    await guest.truncate('f', 2)
    await guest.truncate('f', 4)
    const file = await guest.open('f', O_WRONLY)
    await file.write(6, 'z')
    await file.close()
    expect(await outside('f')).toBe('ab\0\0\0\0z')
  })

  it('shows what another host has put there', async () => {
    await storage.outside.write('dir/x', Buffer.from('outside'))
    expect(await guest.text('dir/x')).toBe('outside')
    expect(await guest.names('/')).toEqual(['dir'])
  })

  itWithVersions('shows the new version of a file that was read before, once it is opened', async () => {
    await storage.outside.write('f', Buffer.from('old bytes'))
    const before = await guest.open('f')
    expect(new TextDecoder().decode(await before.readAll())).toBe('old bytes')
    // S3 keeps whole seconds, and an ETag; a local folder keeps the time only, but finely.
    await storage.outside.write('f', Buffer.from('new bytes'))
    await new Promise(resolve => setTimeout(resolve, 60))
    const after = await guest.open('f')
    expect(after.openFlags & 2).toBe(0)
    expect(new TextDecoder().decode(await after.readAll())).toBe('new bytes')
    await before.close()
    await after.close()
  })

  itWithVersions('goes on with the new version when a file shrinks under its reader', async () => {
    await storage.outside.write('f', Buffer.alloc(200_000, 'a'))
    const file = await guest.open('f')
    await storage.outside.write('f', Buffer.alloc(100_000, 'b'))
    expect(Buffer.from(await file.read(50_000, 100_000)).equals(Buffer.alloc(50_000, 'b'))).toBe(true)
    await file.close()
  })

  it('reads a file larger than any extent, whole and in the middle', async () => {
    const content = bytes(5_000_001)
    await storage.outside.write('big', Buffer.from(content))
    const file = await guest.open('big')
    expect(Buffer.compare(await file.read(3_000_000, 5000), content.subarray(3_000_000, 3_005_000))).toBe(0)
    expect(Buffer.compare(await file.readAll(), content)).toBe(0)
    expect(await file.read(5_000_001, 10)).toEqual(new Uint8Array(0))
    await file.close()
  })

  it('publishes a file that memory does not hold', async () => {
    await fs.close()
    fs = new OpendalFs(storage.operator, { scheme, cacheBytes: 4 << 20 })
    guest = new Guest(fs)
    const content = bytes(20_000_000)
    await guest.put('big', content)
    expect(Buffer.compare(await storage.outside.read('big'), content)).toBe(0)
    expect(Buffer.compare(await guest.get('big'), content)).toBe(0)
  })

  it('moves a file, over another one too, and keeps its id', async () => {
    await guest.put('a', 'A')
    await guest.put('b', 'B')
    const node = await guest.node('a')
    await guest.rename('a', 'b')
    expect(await guest.node('b')).toBe(node)
    expect(await guest.exists('a')).toBe(false)
    expect(await outside('b')).toBe('A')
    expect(await storage.outside.exists('a')).toBe(false)
  })

  it('moves a file that is not published yet without making it twice', async () => {
    const file = await guest.create('new')
    await file.write(0, 'data')
    await guest.rename('new', 'moved')
    await file.close()
    expect(await outside('moved')).toBe('data')
    expect(await storage.outside.exists('new')).toBe(false)
  })

  it('forgets what an unpublished file has replaced when it is unlinked', async () => {
    await guest.put('target', 'old')
    const file = await guest.create('new')
    await guest.rename('new', 'target')
    await guest.unlink('target')
    await file.close()
    expect(await storage.outside.exists('target')).toBe(false)
  })

  it('leaves nothing of what an unpublished file has replaced when that moves on', async () => {
    await guest.put('target', 'old')
    const file = await guest.create('new')
    await guest.rename('new', 'target')
    await guest.rename('target', 'elsewhere')
    expect(await storage.outside.exists('target')).toBe(false)
    await file.close()
    expect(await guest.names('/')).toEqual(['elsewhere'])
  })

  it('moves a directory with everything in it, unpublished files too', async () => {
    await guest.mkdir('d')
    await guest.mkdir('d/sub')
    await guest.put('d/sub/f', 'published')
    const file = await guest.create('d/new')
    await file.write(0, 'later')
    await guest.rename('d', 'e')
    await file.close()
    expect(await outside('e/sub/f')).toBe('published')
    expect(await outside('e/new')).toBe('later')
    expect(await guest.exists('d')).toBe(false)
    expect(await guest.names('e')).toEqual(['new', 'sub'])
    expect(await storage.outside.exists('d/sub/f')).toBe(false)
  })

  it.each([
    ['a directory over a file', 'd', 'f', 0, 'ENOTDIR'],
    ['a file over a directory', 'f', 'd', 0, 'EISDIR'],
    ['a directory over one that is not empty', 'd', 'full', 0, 'ENOTEMPTY'],
    ['a directory into itself', 'full', 'full/sub/x', 0, 'EINVAL'],
    ['over something with NOREPLACE', 'f', 'd', 1, 'EEXIST'],
    ['by exchange', 'f', 'd', 2, 'EINVAL'],
    ['what is not there', 'nothing', 'x', 0, 'ENOENT'],
  ])('refuses to move %s', async (_, from, to, flags, code) => {
    await guest.put('f', 'file')
    await guest.mkdir('d')
    await guest.mkdir('full')
    await guest.mkdir('full/sub')
    await expect(guest.rename(from, to, flags)).rejects.toMatchObject({ code })
  })

  it('keeps an unlinked file readable and writable until it is closed', async () => {
    await guest.put('f', 'still here')
    const file = await guest.open('f', O_RDWR)
    await guest.unlink('f')
    expect(await guest.exists('f')).toBe(false)
    expect(await storage.outside.exists('f')).toBe(false)
    expect(new TextDecoder().decode(await file.readAll())).toBe('still here')
    await file.write(6, 'gone!')
    expect(new TextDecoder().decode(await file.readAll())).toBe('still gone!')
    await file.close()
    expect(await guest.names('/')).toEqual([])
    await fs.syncfs()
    expect((await storage.outside.list('/')).filter(entry => entry.path() !== '/')).toEqual([])
  })

  it.each([
    ['moved', () => guest.rename('d', 'e')],
    ['removed', () => guest.rmdir('d')],
    [
      'replaced',
      async () => {
        await guest.mkdir('new')
        await guest.rename('new', 'd')
      },
    ],
  ])('keeps an unlinked file readable though its directory is %s', async (_, change) => {
    await guest.mkdir('d')
    // Not from here: memory would have its bytes.
    await storage.outside.write('d/f', 'still here')
    const file = await guest.open('d/f')
    await guest.unlink('d/f')
    await change()
    expect(new TextDecoder().decode(await file.readAll())).toBe('still here')
    await file.close()
    const left = await storage.outside.list('/', { recursive: true })
    expect(left.filter(entry => entry.path().includes('.ovfs-tmp-'))).toEqual([])
  })

  it('keeps a file readable that another one was moved over', async () => {
    await guest.put('old', 'old bytes')
    await guest.put('new', 'new bytes')
    const file = await guest.open('old')
    await guest.rename('new', 'old')
    expect(new TextDecoder().decode(await file.readAll())).toBe('old bytes')
    await file.close()
    expect(await guest.text('old')).toBe('new bytes')
  })

  it('refuses to remove a directory that is not empty, whoever filled it', async () => {
    await guest.mkdir('d')
    await storage.outside.write('d/x', Buffer.from('x'))
    await expect(guest.rmdir('d')).rejects.toMatchObject({ code: 'ENOTEMPTY' })
    await guest.unlink('d/x')
    await guest.rmdir('d')
    expect(await guest.exists('d')).toBe(false)
  })

  it('keeps a directory whose last file was removed', async () => {
    await storage.outside.write('implicit/f', Buffer.from('x'))
    await guest.unlink('implicit/f')
    fs = new OpendalFs(storage.operator, { scheme })
    expect(await new Guest(fs).names('/')).toEqual(['implicit'])
  })

  it('lists 2,000 names once each, again and again, with attributes or without', async () => {
    const wanted = Array.from({ length: 2000 }, (_, i) => `f${i}`).sort()
    await forEachConcurrently(wanted, 16, async name => {
      await storage.outside.write(`many/${name}`, Buffer.from('xy'))
    })
    expect(await guest.names('many')).toEqual(wanted)
    const plus = await guest.readdir('many', { plus: true, capacity: 24 })
    expect(plus.map(({ name }) => name).sort()).toEqual(wanted)
    expect(plus.every(({ entry }) => entry?.attr.size === 2)).toBe(true)
    expect(await guest.names('many')).toEqual(wanted)
  })

  it('shows new and removed names in a listing that it remembers', async () => {
    await guest.put('a', '1')
    await guest.put('b', '1')
    expect(await guest.names('/')).toEqual(['a', 'b'])
    await guest.unlink('a')
    await guest.put('c', '1')
    await guest.rename('b', 'd')
    expect(await guest.names('/')).toEqual(['c', 'd'])
  })

  it('numbers an entry in a listing as the file that a lookup finds', async () => {
    await storage.outside.write('x', Buffer.from('1'))
    const [dirent] = await guest.readdir('/')
    expect((await guest.stat('x')).ino).toBe(dirent!.ino)
  })

  it('honours O_EXCL, O_TRUNC and reading directories as files', async () => {
    await guest.put('f', 'x')
    await expect(guest.create('f', O_EXCL)).rejects.toMatchObject({ code: 'EEXIST' })
    await guest.mkdir('d')
    await expect(guest.open('d')).rejects.toMatchObject({ code: 'EISDIR' })
    await expect(guest.mkdir('f')).rejects.toMatchObject({ code: 'EEXIST' })
    await expect(guest.unlink('d')).rejects.toMatchObject({ code: 'EISDIR' })
    await expect(guest.rmdir('f')).rejects.toMatchObject({ code: 'ENOTDIR' })
  })

  it('refuses modes, owners and times that it cannot keep, and accepts those that are so already', async () => {
    await fs.close()
    fs = new OpendalFs(storage.operator, { scheme, attrs: 'none' })
    guest = new Guest(fs)
    await guest.put('f', 'x')
    await expect(guest.symlink('l', 'f')).rejects.toMatchObject({ code: 'EPERM' })
    await expect(guest.setxattr('f', 'user.a', 'v')).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
    await expect(guest.setattr('f', { mode: 0o100755 })).rejects.toMatchObject({ code: 'EPERM' })
    await expect(guest.setattr('f', { uid: 7 })).rejects.toMatchObject({ code: 'EPERM' })
    await expect(guest.setattr('f', { mtime: { sec: 5, nsec: 0 } })).rejects.toMatchObject({ code: 'EPERM' })
    await guest.setattr('f', { mode: 0o100644, uid: 0, gid: 0 })
    await guest.setattr('f', { atime: 'now', mtime: 'now' })
    expect(await outside('f')).toBe('x')
  })

  it.each([' lead', 'trail ', '\u3000', 'tab\t', 'back\\slash', '.ovfs-x-%20', '\udc80bytes', '100%', 'ünï'])(
    'stores the name %j and lists it again',
    async name => {
      await guest.put(name, 'content')
      await guest.mkdir(`${name}.d`)
      await guest.put(`${name}.d/${name}`, 'below')
      fs = new OpendalFs(storage.operator, { scheme })
      guest = new Guest(fs)
      expect(await guest.names('/')).toEqual([name, `${name}.d`].sort())
      expect(await guest.text(name)).toBe('content')
      expect(await guest.text(`${name}.d/${name}`)).toBe('below')
    },
  )

  it('publishes what is open and unpublished when the session ends', async () => {
    const file = await guest.create('f')
    await file.write(0, 'rescued')
    await fs.close()
    expect(await outside('f')).toBe('rescued')
  })

  it('answers ids and handles that it never gave with an error', async () => {
    await expect(guest.fs.getattr.bind(fs, ctx, 99 as never, undefined)).toThrow(FsError)
    expect(() => fs.read(ctx, 1 as never, 99 as never, 0, 1, {} as never)).toThrow(
      expect.objectContaining({ code: 'EBADF' }),
    )
  })

  it('changes nothing when it is read-only', async () => {
    await guest.put('f', 'x')
    await guest.mkdir('d')
    const readOnly = new Guest(new OpendalFs(storage.operator, { scheme, readOnly: true }))
    expect(await readOnly.text('f')).toBe('x')
    for (const change of [
      () => readOnly.put('f', 'y'),
      () => readOnly.open('f', O_RDWR),
      () => readOnly.mkdir('e'),
      () => readOnly.unlink('f'),
      () => readOnly.rmdir('d'),
      () => readOnly.rename('f', 'g'),
      () => readOnly.truncate('f', 0),
    ]) {
      await expect(change()).rejects.toMatchObject({ code: 'EROFS' })
    }
    expect(await outside('f')).toBe('x')
  })

  it('answers what it remembers without a promise', async () => {
    await guest.put('f', bytes(10_000))
    const file = await guest.open('f')
    await file.readAll()
    expect(fs.lookup(ctx, 1 as never, 'f')).not.toBeInstanceOf(Promise)
    expect(fs.getattr(ctx, file.node, undefined)).not.toBeInstanceOf(Promise)
    let count = 0
    const out = { room: 4096, write: (_: Uint8Array, __?: number, n = 0) => (count += n), fill: () => 0 }
    expect(fs.read(ctx, file.node, file.fh, 0, 4096, out)).toBe(undefined)
    expect(count).toBe(4096)
    await guest.exists('nothing')
    expect(fs.lookup(ctx, 1 as never, 'nothing')).toMatchObject({ nodeid: 0 })
    await file.close()
  })
})
