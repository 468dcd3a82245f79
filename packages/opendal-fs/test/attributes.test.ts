import type { SetattrChange } from '@ovfs/fuse-proto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { ctx, type File, Guest, O_RDWR, O_WRONLY } from './guest.ts'
import { keyValueService } from './key-value-services.ts'
import { SCHEMES, type Service, service } from './services.ts'

const S_IFIFO = 0o010000
const S_IFCHR = 0o020000
const S_IFBLK = 0o060000
const S_IFSOCK = 0o140000
const WRITE_KILL_SUIDGID = 4
const OPEN_KILL_SUIDGID = 1

const PERMISSIONS = 0o7777

describe.each([...SCHEMES, 'sqlite', 'redis'] as const)('on %s', scheme => {
  let storage: Service
  let fs: OpendalFs
  let guest: Guest

  beforeEach(async () => {
    storage =
      scheme === 'sqlite' || scheme === 'redis' ? await keyValueService(scheme) : await service(scheme)
    mount()
  })
  afterEach(async () => {
    await fs.close()
    await storage.close()
  })

  const mount = () => {
    fs = new OpendalFs(storage.operator, { scheme })
    guest = new Guest(fs)
  }
  /** What a fresh daemon sees. */
  const remount = async () => {
    await fs.close()
    mount()
  }
  const sidecar = async (key = '.ovfs-attributes') => (await storage.outside.read(key)).toString()
  const times = ({ atime, atimensec, mtime, mtimensec }: Awaited<ReturnType<Guest['stat']>>) => [
    [atime, atimensec],
    [mtime, mtimensec],
  ]

  it('keeps mode, owner and group of files, directories and the root', async () => {
    await guest.put('f', 'x')
    await guest.mkdir('d')
    for (const path of ['f', 'd', '/']) {
      const { mode } = await guest.stat(path)
      await guest.setattr(path, { mode: (mode & ~PERMISSIONS) | 0o1701, uid: 1000, gid: 100 })
    }
    await remount()
    for (const path of ['f', 'd', '/']) {
      const { mode, uid, gid } = await guest.stat(path)
      expect([mode & PERMISSIONS, uid, gid]).toEqual([0o1701, 1000, 100])
    }
    expect((await guest.stat('d')).mode >> 12).toBe(4)
    expect((await guest.stat('f')).mode >> 12).toBe(8)
  })

  it('keeps access and modification times in nanoseconds, before 1970 too', async () => {
    await guest.put('f', 'x')
    await guest.mkdir('d')
    const atime = { sec: -5, nsec: 999_999_999 }
    const mtime = { sec: 1_600_000_000, nsec: 123_456_789 }
    await guest.setattr('f', { atime, mtime })
    await guest.setattr('d', { atime, mtime })
    await remount()
    for (const path of ['f', 'd']) {
      expect(times(await guest.stat(path))).toEqual([
        [-5, 999_999_999],
        [1_600_000_000, 123_456_789],
      ])
    }
  })

  it('shows the time of the last write as the modification time, before and after the file is published', async () => {
    const file = await guest.create('f')
    await file.write(0, 'x')
    const written = await guest.stat('f')
    await file.close()
    expect(times(await guest.stat('f'))).toEqual(times(written))
    await remount()
    expect(times(await guest.stat('f'))).toEqual(times(written))
  })

  it('keeps a time that is set while the file is open and written, and no older one after the next write', async () => {
    const file = await guest.create('f')
    await file.write(0, 'x')
    const mtime = { sec: 1_000, nsec: 5 }
    await guest.setattr('f', { mtime })
    await file.fsync()
    expect((await guest.stat('f')).mtime).toBe(1_000)
    await file.write(1, 'y')
    expect((await guest.stat('f')).mtime).toBeGreaterThan(1_000)
    await file.close()
    await remount()
    expect((await guest.stat('f')).mtime).toBeGreaterThan(1_000)
  })

  it('keeps times over a rename, and takes the attributes along', async () => {
    await guest.put('f', 'x')
    await guest.mkdir('d')
    await guest.setattr('f', { mode: 0o600, mtime: { sec: 1_000, nsec: 5 } })
    await guest.setxattr('f', 'user.tag', 'v')
    await guest.rename('f', 'd/g')
    await remount()
    const { mode, mtime, mtimensec } = await guest.stat('d/g')
    expect([mode & PERMISSIONS, mtime, mtimensec]).toEqual([0o600, 1_000, 5])
    expect(await guest.getxattr('d/g', 'user.tag')).toBe('v')
  })

  it('moves the attributes of everything in a directory with it', async () => {
    await guest.mkdir('d', 0o700)
    await guest.put('d/f', 'x')
    await guest.setattr('d/f', { mode: 0o640 })
    await guest.symlink('d/l', 'f')
    await guest.rename('d', 'e')
    await remount()
    expect((await guest.stat('e')).mode & PERMISSIONS).toBe(0o700)
    expect((await guest.stat('e/f')).mode & PERMISSIONS).toBe(0o640)
    expect(await guest.readlink('e/l')).toBe('f')
    expect(await guest.exists('d')).toBe(false)
  })

  it('gives a file that is moved over another its own attributes', async () => {
    await guest.put('old', 'x')
    await guest.setattr('old', { mode: 0o600, uid: 7 })
    await guest.put('new', 'y')
    await guest.rename('new', 'old')
    await remount()
    const { mode, uid } = await guest.stat('old')
    expect([mode & PERMISSIONS, uid]).toEqual([0o644, 0])
    expect(await guest.text('old')).toBe('y')
  })

  it('forgets the attributes of what was removed', async () => {
    await guest.put('f', 'x')
    await guest.setattr('f', { mode: 0o600 })
    await guest.unlink('f')
    await guest.put('f', 'x')
    await remount()
    expect((await guest.stat('f')).mode & PERMISSIONS).toBe(0o644)
  })

  it('creates with the mode and owner of the request', async () => {
    const by = { ...ctx, uid: 33, gid: 44 }
    await (await guest.create('f', O_RDWR, 0o4750, by)).close()
    await guest.mkdir('d', 0o711, by)
    await remount()
    expect(await guest.stat('f')).toMatchObject({ mode: 0o104750, uid: 33, gid: 44 })
    expect(await guest.stat('d')).toMatchObject({ mode: 0o040711, uid: 33, gid: 44 })
  })

  it('hands the group of a setgid directory down, and setgid to directories', async () => {
    await guest.mkdir('d')
    await guest.setattr('d', { mode: 0o2775, gid: 55 })
    await (await guest.create('d/f')).close()
    await guest.mkdir('d/e')
    await remount()
    expect(await guest.stat('d/f')).toMatchObject({ mode: 0o100644, gid: 55 })
    expect(await guest.stat('d/e')).toMatchObject({ mode: 0o042755, gid: 55 })
  })

  it('clears setuid and setgid when a file changes its owner, but not of a directory', async () => {
    await guest.put('f', 'x')
    await guest.mkdir('d')
    await guest.setattr('f', { mode: 0o6755 })
    await guest.setattr('d', { mode: 0o2755 })
    await guest.setattr('f', { uid: 5 })
    await guest.setattr('d', { uid: 5 })
    expect((await guest.stat('f')).mode).toBe(0o100755)
    expect((await guest.stat('d')).mode).toBe(0o042755)
    await guest.setattr('f', { mode: 0o2745 })
    await guest.setattr('f', { gid: 5 })
    // Without the group's execute bit, setgid once meant mandatory locking: it stays.
    expect((await guest.stat('f')).mode).toBe(0o102745)
  })

  it('clears setuid and setgid on a write, a truncation and an opening that the guest says so of', async () => {
    const marked = async () => {
      await guest.setattr('f', { mode: 0o6755 })
      return guest.node('f')
    }
    await guest.put('f', 'long enough')
    const data = { byteLength: 1, copyTo: () => 1 }
    const file = await guest.open('f', O_WRONLY)
    let node = await marked()
    await fs.write(ctx, node, file.fh, 0, data, 0)
    expect((await guest.stat('f')).mode).toBe(0o106755)
    await fs.write(ctx, node, file.fh, 0, data, WRITE_KILL_SUIDGID)
    expect((await guest.stat('f')).mode).toBe(0o100755)
    node = await marked()
    await guest.setattr('f', { size: 3, killSuidgid: true })
    expect((await guest.stat('f')).mode).toBe(0o100755)
    node = await marked()
    const { fh } = await fs.open(ctx, node, O_WRONLY | 0o1000, OPEN_KILL_SUIDGID)
    expect((await guest.stat('f')).mode).toBe(0o100755)
    await fs.release(ctx, node, fh)
    await file.close()
  })

  it('clears setgid without execution by the group when a caller of another group writes, truncates or allocates', async () => {
    const outsider = { ...ctx, uid: 1002, gid: 1002 }
    const member = { ...ctx, uid: 1002, gid: 1001 }
    const data = { byteLength: 1, copyTo: () => 1 }
    const file = await guest.create('f')
    const node = await guest.node('f')
    const reset = () => guest.setattr('f', { gid: 1001, mode: 0o6767 })
    const mode = async () => (await guest.stat('f')).mode & 0o7777
    const changes: ((by: typeof ctx) => unknown)[] = [
      by => fs.write(by, node, file.fh, 0, data, WRITE_KILL_SUIDGID),
      by => fs.setattr(by, node, { size: 5, killSuidgid: true } as SetattrChange),
      by => fs.fallocate(by, node, file.fh, 0, 10, 0),
    ]
    for (const change of changes) {
      await reset()
      await guest.setattr('f', { mode: 0o6767 })
      await change(member)
      expect(await mode()).toBe(0o2767)
      await guest.setattr('f', { mode: 0o6767 })
      await change(outsider)
      expect(await mode()).toBe(0o767)
    }
    await file.close()
  })

  it('lets the guest keep no attributes of a file that is written to directly, and gives each write a time of its own', async () => {
    const file = await guest.create('f')
    const node = await guest.node('f')
    const data = { byteLength: 1, copyTo: () => 1 }
    const times = new Set<string>()
    for (let at = 0; at < 50; at++) {
      await guest.fs.write(ctx, node, file.fh, at, data, 0, 0x4000)
      const { attr, attrValid, attrValidNsec } = await guest.fs.getattr(ctx, node, undefined)
      expect([attrValid, attrValidNsec]).toEqual([0, 0])
      times.add(`${attr.mtime}.${attr.mtimensec}`)
    }
    expect(times.size).toBe(50)
    await file.close()
  })

  it('clears setuid and setgid when anybody but root allocates or punches', async () => {
    await guest.put('f', 'long enough')
    const file = await guest.open('f', O_WRONLY)
    await guest.setattr('f', { mode: 0o6755 })
    await fs.fallocate(ctx, file.node, file.fh, 0, 4, 3)
    expect((await guest.stat('f')).mode).toBe(0o106755)
    await fs.fallocate({ ...ctx, uid: 5 }, file.node, file.fh, 0, 4, 3)
    expect((await guest.stat('f')).mode).toBe(0o100755)
    await file.close()
  })

  it('marks the times of an empty file that is opened with O_TRUNC, and the change time of an open one that loses its name', async () => {
    await guest.put('f', '')
    await guest.setattr('f', { mtime: { sec: 1, nsec: 0 } })
    const { fh } = await fs.open(ctx, await guest.node('f'), O_WRONLY | 0o1000)
    expect((await guest.stat('f')).mtime).toBeGreaterThan(1)
    const file = await guest.open('f')
    await fs.release(ctx, file.node, fh)
    const changed = ({ ctime, ctimensec }: { ctime: number; ctimensec: number }) => ctime + ctimensec / 1e9
    const before = changed(await guest.stat('f'))
    await new Promise(resolve => setTimeout(resolve, 5))
    await guest.unlink('f')
    const { attr } = await fs.getattr(ctx, file.node, file.fh)
    expect(changed(attr)).toBeGreaterThan(before)
    await file.close()
  })

  it('knows a file again that the guest had forgotten by its number, and a directory by its times too', async () => {
    await guest.mkdir('d')
    await guest.put('d/f', 'x')
    await fs.syncfs()
    const node = await guest.node('d')
    const before = [await guest.stat('d'), await guest.stat('d/f')]
    await new Promise(resolve => setTimeout(resolve, 5))
    fs.forget(await guest.node('d/f'), 1000)
    fs.forget(node, 1000)
    expect(() => fs.getattr(ctx, node, undefined)).toThrow('no inode')
    const after = [await guest.stat('d'), await guest.stat('d/f')]
    expect(after.map(({ ino }) => ino)).toEqual(before.map(({ ino }) => ino))
    const modified = ({ mtime, mtimensec }: { mtime: number; mtimensec: number }) => mtime + mtimensec / 1e9
    expect(modified(after[0]!)).toBeGreaterThanOrEqual(modified(before[0]!))
    // Another file of the same name is another file.
    await guest.unlink('d/f')
    await guest.put('d/f', 'y')
    expect((await guest.stat('d/f')).ino).not.toBe(before[1]!.ino)
  })

  it('removes file capabilities from a file that is written to', async () => {
    await guest.put('f', 'x')
    await guest.setxattr('f', 'security.capability', 'caps')
    await guest.setxattr('f', 'user.other', 'stays')
    await guest.put('f', 'y')
    expect(await guest.listxattr('f')).toEqual(['user.other'])
  })

  it('counts every change of attributes as a change time', async () => {
    await guest.put('f', 'x')
    const past = { sec: 1_000, nsec: 0 }
    for (const change of [
      () => guest.setattr('f', { mode: 0o600 }),
      () => guest.setattr('f', { uid: 3 }),
      () => guest.setxattr('f', 'user.a', 'b'),
      () => guest.removexattr('f', 'user.a'),
      () => guest.rename('f', 'f2').then(() => guest.rename('f2', 'f')),
    ]) {
      await guest.setattr('f', { mtime: past, atime: past })
      const { ctime, ctimensec } = await guest.stat('f')
      await new Promise(resolve => setTimeout(resolve, 3))
      await change()
      const after = await guest.stat('f')
      expect(after.ctime * 1e9 + after.ctimensec).toBeGreaterThan(ctime * 1e9 + ctimensec)
      expect(after.mtime).toBe(1_000)
    }
  })

  it('has symbolic links to any target, which survive renames and removals of others', async () => {
    const targets = { rel: '../x', abs: '/etc/passwd', odd: ' \udc80\n"\\', long: 'a/'.repeat(2000) }
    for (const [name, target] of Object.entries(targets)) await guest.symlink(name, target)
    await guest.mkdir('d')
    await guest.rename('rel', 'd/rel')
    await remount()
    expect(await guest.readlink('d/rel')).toBe('../x')
    expect(await guest.readlink('abs')).toBe('/etc/passwd')
    expect(await guest.readlink('odd')).toBe(' \udc80\n"\\')
    expect(await guest.readlink('long')).toBe('a/'.repeat(2000))
    expect(await guest.stat('odd')).toMatchObject({ mode: 0o120777, size: 5 })
    const listed = await guest.readdir('/', { plus: true })
    expect(listed.map(({ name, type }) => [name, type]).sort()).toEqual([
      ['abs', 10],
      ['d', 4],
      ['long', 10],
      ['odd', 10],
    ])
    await guest.unlink('abs')
    await remount()
    expect(await guest.names('/')).toEqual(['d', 'long', 'odd'])
    await expect(guest.symlink('odd', 'x')).rejects.toMatchObject({ code: 'EEXIST' })
    await expect(guest.readlink('d')).rejects.toMatchObject({ code: 'EINVAL' })
  })

  it('replaces files by links and links by files', async () => {
    await guest.put('f', 'file')
    await guest.symlink('l', 'target')
    await guest.rename('l', 'f')
    await remount()
    expect(await guest.readlink('f')).toBe('target')
    await guest.put('g', 'file again')
    await guest.rename('g', 'f')
    await remount()
    expect(await guest.text('f')).toBe('file again')
    expect(await guest.names('/')).toEqual(['f'])
  })

  it('has pipes, sockets and devices, with their numbers', async () => {
    const nodes = { p: S_IFIFO | 0o600, s: S_IFSOCK | 0o755, c: S_IFCHR | 0o666, b: S_IFBLK | 0o660 }
    for (const [name, mode] of Object.entries(nodes)) await guest.mknod(name, mode, 0x103)
    await guest.setattr('p', { mode: 0o640, uid: 9 })
    await remount()
    expect(await guest.stat('p')).toMatchObject({ mode: S_IFIFO | 0o640, uid: 9 })
    for (const name of ['s', 'c', 'b'] as const) {
      expect(await guest.stat(name)).toMatchObject({ mode: nodes[name], rdev: 0x103, size: 0 })
    }
    await expect(guest.open('p')).rejects.toMatchObject({ code: 'ENXIO' })
    await expect(guest.truncate('p', 0)).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(guest.mknod('d', 0o040755)).rejects.toMatchObject({ code: 'EPERM' })
  })

  it('does not take a directory for empty that has a link in it', async () => {
    await guest.mkdir('d')
    await guest.symlink('d/l', 'x')
    await expect(guest.rmdir('d')).rejects.toMatchObject({ code: 'ENOTEMPTY' })
    await remount()
    await expect(guest.rmdir('d')).rejects.toMatchObject({ code: 'ENOTEMPTY' })
    await guest.unlink('d/l')
    await guest.rmdir('d')
    await remount()
    expect(await guest.names('/')).toEqual([])
  })

  it('writes nothing for files that are as the options and the service say', async () => {
    await storage.outside.write('f', Buffer.from('x'))
    await guest.stat('f')
    await guest.text('f')
    await guest.mkdir('d')
    await fs.syncfs()
    expect(await storage.outside.exists('d/.ovfs-attributes')).toBe(false)
    if (storage.outside.capability().list) {
      expect(await storage.outside.exists('.ovfs-attributes')).toBe(false)
    }
  })

  it('has changed attributes in the storage when close or fsync of the file has succeeded', async () => {
    const file: File = await guest.create('f', O_RDWR, 0o600)
    await file.write(0, 'x')
    await file.close()
    expect(await sidecar()).toContain('"mode":33152')
    const again = await guest.open('f', O_RDWR)
    await guest.setattr('f', { uid: 77 })
    await again.fsync()
    expect(await sidecar()).toContain('"uid":77')
    await again.close()
  })

  it('removes the object that keeps attributes when there are none left', async () => {
    await guest.symlink('l', 'x')
    await fs.syncfs()
    expect(await storage.outside.exists('.ovfs-attributes')).toBe(true)
    await guest.unlink('l')
    await fs.syncfs()
    expect(await storage.outside.exists('.ovfs-attributes')).toBe(false)
  })

  it('neither lists nor opens the object that keeps attributes, while a guest may have a file of that name', async () => {
    await guest.put('f', 'x')
    await guest.setattr('f', { mode: 0o600 })
    await fs.syncfs()
    expect(await guest.names('/')).toEqual(['f'])
    expect(await guest.exists('.ovfs-attributes')).toBe(false)
    await guest.put('.ovfs-attributes', 'mine')
    await remount()
    expect(await guest.text('.ovfs-attributes')).toBe('mine')
    expect((await guest.stat('f')).mode & PERMISSIONS).toBe(0o600)
  })

  it('changes attributes of a removed file that is still open', async () => {
    const file = await guest.create('f')
    await guest.unlink('f')
    await fs.setattr(ctx, file.node, { mode: 0o600 } as never)
    expect((await fs.getattr(ctx, file.node, undefined)).attr.mode & PERMISSIONS).toBe(0o600)
    await file.close()
    await remount()
    expect(await guest.names('/')).toEqual([])
  })
})
