// A file system is killed; the next one goes on with what its guest holds and has written.

import { readdirSync } from 'node:fs'
import { ROOT_NODE } from '@ovfs/fuse-proto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { empty } from './crash-rig.ts'
import { ctx, Dirents, File, O_RDWR } from './guest.ts'
import { SCHEMES, type Service, service } from './services.ts'
import { SessionRig } from './session-rig.ts'

const pattern = (length: number, seed: number) => Uint8Array.from({ length }, (_, i) => (i * seed) % 251)

/** As toEqual, which takes a second for a megabyte. */
const isSame = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0

describe.each(SCHEMES)('on %s', scheme => {
  let storage: Service
  let rig: SessionRig

  beforeAll(async () => {
    storage = await service(scheme)
  })
  afterAll(() => storage.close())
  beforeEach(() => {
    rig = new SessionRig(scheme, storage.operator)
  })
  afterEach(async () => {
    await rig.close()
    rig.remove()
    await empty(storage.outside)
  })

  const again = ({ node, fh }: File) => new File(rig.fs, node, fh, 0)
  const outside = async (path: string) => new Uint8Array(await storage.outside.read(path))

  it('knows the nodes and handles of before, by their numbers', async () => {
    let guest = await rig.start()
    await guest.mkdir('d')
    await guest.put('d/a', 'content')
    const file = await guest.open('d/a')
    const directory = await guest.node('d')
    guest = await rig.restart()
    expect(new TextDecoder().decode(await again(file).readAll())).toBe('content')
    expect((await rig.fs.getattr(ctx, directory, undefined)).attr.ino).toBe(directory)
    expect(await guest.node('d/a')).toBe(file.node)
    await again(file).close()
  })

  // A folder cannot have both.
  const itWithoutFolder = (name: string, test: () => Promise<void>) => scheme !== 'fs' && it(name, test)

  itWithoutFolder('knows a directory beside a file of its name', async () => {
    const twin = '.ovfs-k-d%2F'
    await storage.outside.write('d', Buffer.from('a file'))
    await storage.outside.write('d/f', Buffer.from('below'))
    let guest = await rig.start()
    await guest.setattr(twin, { mode: 0o700 })
    await guest.setattr('d', { mode: 0o600 })
    guest = await rig.restart()
    expect((await guest.stat(twin)).mode).toBe(0o040700)
    expect((await guest.stat('d')).mode).toBe(0o100600)
    expect(await guest.text(`${twin}/f`)).toBe('below')
  })

  it('gives no number again that was given before', async () => {
    let guest = await rig.start()
    const before = await guest.create('a')
    await before.close()
    rig.fs.forget(before.node, 1)
    await new Promise(resolve => setImmediate(resolve))
    guest = await rig.restart()
    const after = await guest.create('b')
    expect(after.node).toBeGreaterThan(before.node)
    expect(after.fh).toBeGreaterThan(before.fh)
  })

  it('lets go of a node when the guest has forgotten it as often as it was told of it', async () => {
    let guest = await rig.start()
    await guest.put('a', 'A')
    const node = await guest.node('a')
    await guest.node('a')
    guest = await rig.restart()
    await guest.node('a')
    const known = async () => rig.fs.getattr(ctx, node, undefined)
    rig.fs.forget(node, 3)
    await new Promise(resolve => setImmediate(resolve))
    await known()
    rig.fs.forget(node, 1)
    await new Promise(resolve => setImmediate(resolve))
    await expect(known()).rejects.toMatchObject({ code: 'ESTALE' })
  })

  it('has what was written and not yet published, over what was there', async () => {
    let guest = await rig.start()
    await guest.put('old', pattern(300_000, 7))
    const old = await guest.open('old', O_RDWR)
    await old.write(100_000, pattern(70_000, 3))
    await old.write(169_000, pattern(5000, 5))
    await old.truncate(250_000)
    await old.write(260_000, 'end')
    const made = await guest.create('new')
    await made.write(1000, 'new')
    const wanted = await old.readAll()
    guest = await rig.restart()
    expect(isSame(await again(old).readAll(), wanted)).toBe(true)
    expect((await guest.stat('new')).size).toBe(1003)
    await again(old).write(10, 'more')
    guest = await rig.restart()
    await again(made).close()
    await again(old).close()
    wanted.set(new TextEncoder().encode('more'), 10)
    expect(isSame(await outside('old'), wanted)).toBe(true)
    expect((await outside('new')).slice(1000)).toEqual(new TextEncoder().encode('new'))
  })

  it('publishes what nobody has open and what was not published', async () => {
    const guest = await rig.start()
    const file = await guest.create('a')
    await file.write(0, 'written')
    // The close is under way.
    rig.faults.before = operation => (operation === 'stat' ? undefined : new Promise(() => undefined))
    void file.flush()
    await Promise.resolve()
    void rig.fs.release(ctx, file.node, file.fh)
    await rig.restart()
    await rig.fs.syncfs()
    expect(new TextDecoder().decode(await outside('a'))).toBe('written')
  })

  it('keeps a file readable and writable that was removed while it was open', async () => {
    let guest = await rig.start()
    await guest.put('a', 'removed')
    const file = await guest.open('a', O_RDWR)
    await guest.unlink('a')
    guest = await rig.restart()
    expect(new TextDecoder().decode(await again(file).readAll())).toBe('removed')
    await again(file).write(7, ', and written')
    guest = await rig.restart()
    expect(new TextDecoder().decode(await again(file).readAll())).toBe('removed, and written')
    expect(await guest.exists('a')).toBe(false)
    await again(file).close()
    expect(await guest.names('/')).toEqual([])
    expect((await storage.outside.list('')).filter(entry => entry.path().includes('tmp'))).toEqual([])
  })

  it('keeps the attributes that no sidecar has yet', async () => {
    let guest = await rig.start()
    await guest.put('a', 'A')
    await guest.setattr('a', { mode: 0o100600, uid: 7, mtime: { sec: 1000, nsec: 5 } })
    await guest.setxattr('a', 'user.colour', 'blue')
    await guest.symlink('link', 'a')
    const link = await guest.node('link')
    const dirty = await guest.create('dirty', O_RDWR, 0o640)
    await dirty.write(0, 'dirty')
    guest = await rig.restart()
    expect(rig.fs.readlink(ctx, link)).toBe('a')
    expect(await guest.stat('a')).toMatchObject({ mode: 0o100600, uid: 7, mtime: 1000, mtimensec: 5 })
    expect(await guest.getxattr('a', 'user.colour')).toBe('blue')
    expect((await guest.stat('dirty')).mode).toBe(0o100640)
    await again(dirty).close()
    await rig.fs.syncfs()
    guest = await rig.restart()
    expect((await guest.stat('dirty')).mode).toBe(0o100640)
    expect(await guest.readlink('link')).toBe('a')
  })

  it('has a link that was made anew after it was removed, wherever the removal has come by then', async () => {
    let guest = await rig.start()
    await guest.symlink('a', 'there')
    await guest.fs.fsyncdir(ctx, ROOT_NODE)
    await guest.unlink('a')
    guest = await rig.restart()
    await guest.symlink('a', 'elsewhere')
    guest = await rig.restart()
    expect(await guest.readlink('a')).toBe('elsewhere')
    await guest.fs.fsyncdir(ctx, ROOT_NODE)
    await rig.fs.destroy()
    expect(await guest.readlink('a')).toBe('elsewhere')
  })

  it('goes on with a directory in the middle: what was not touched is listed once', async () => {
    let guest = await rig.start()
    const names = Array.from({ length: 30 }, (_, i) => `name-${i}`)
    for (const name of names) await guest.put(name, '')
    const { fh } = rig.fs.opendir(ctx, await guest.node('/'))
    const seen: string[] = []
    let cookie = 0
    const read = async (capacity: number) => {
      const out = new Dirents(capacity)
      await rig.fs.readdir(ctx, await guest.node('/'), fh, cookie, out)
      seen.push(...out.all.map(({ name }) => name).filter(name => !name.startsWith('.')))
      cookie = out.all.at(-1)?.next ?? cookie
      return out.all.length
    }
    await read(12)
    await guest.unlink('name-29')
    await guest.put('another', '')
    guest = await rig.restart()
    await read(5)
    guest = await rig.restart()
    guest = await rig.restart()
    while ((await read(4)) > 0);
    guest = await rig.restart()
    expect(await read(4)).toBe(0)
    const untouched = seen.filter(name => name !== 'name-29' && name !== 'another').sort()
    expect(untouched).toEqual(names.slice(0, 29).sort())
  })

  it.each(['readdir', 'readdirplus'] as const)(
    'shows the end of a directory again to whom the answer was lost: %s',
    async method => {
      let guest = await rig.start()
      const names = ['a', 'b', 'c', 'd']
      for (const name of names) await guest.put(name, '')
      const { fh } = rig.fs.opendir(ctx, ROOT_NODE)
      const read = async (cookie: number, capacity: number) => {
        const out = new Dirents(capacity)
        await rig.fs[method](ctx, ROOT_NODE, fh, cookie, out)
        return out.all
      }
      const first = await read(0, 4)
      const cookie = first.at(-1)!.next
      await read(cookie, 10)
      guest = await rig.restart()
      const rest = await read(cookie, 10)
      expect([...first, ...rest].map(({ name }) => name).sort()).toEqual(['.', '..', ...names])
      expect(await read(rest.at(-1)!.next, 10)).toEqual([])
      guest = await rig.restart()
      expect(await read(rest.at(-1)!.next, 10)).toEqual([])
      guest.fs.releasedir(ctx, ROOT_NODE, fh)
    },
  )

  it('knows a file by its own publication, whose end it did not see', async () => {
    const guest = await rig.start()
    await guest.put('a', pattern(1000, 3))
    const file = await guest.open('a', O_RDWR)
    await file.write(0, pattern(2000, 5))
    // The storage has the new version; the daemon never hears of it.
    let landed = () => {}
    const landing = new Promise<void>(resolve => {
      landed = resolve
    })
    const last = scheme === 'fs' ? 'rename' : 'write'
    rig.faults.after = operation => {
      if (operation !== last) return undefined
      landed()
      return new Promise(() => undefined)
    }
    void file.fsync()
    await landing
    await file.write(1500, 'more')
    await rig.restart()
    await again(file).close()
    const wanted = pattern(2000, 5)
    wanted.set(new TextEncoder().encode('more'), 1500)
    expect(await outside('a')).toEqual(wanted)
  })

  it('still tells a handle that its writes were lost to somebody else', async () => {
    const guest = await rig.start()
    await guest.put('a', 'A')
    const file = await guest.open('a', O_RDWR)
    await file.write(0, 'ours')
    await storage.outside.write('a', 'theirs, which is longer')
    await expect(file.fsync()).rejects.toMatchObject({ code: 'ESTALE' })
    await rig.restart()
    await expect(again(file).fsync()).rejects.toMatchObject({ code: 'ESTALE' })
  })

  it('ends the session of a guest that begins another, and publishes what that had written', async () => {
    const guest = await rig.start()
    const file = await guest.create('a')
    await file.write(0, 'written')
    await rig.restart()
    rig.fs.init({} as never)
    await rig.fs.syncfs()
    expect(new TextDecoder().decode(await outside('a'))).toBe('written')
    expect(() => rig.fs.read(ctx, file.node, file.fh, 0, 1, undefined as never)).toThrow('EBADF')
  })

  it('leaves an ended session to the next, everything published', async () => {
    const guest = await rig.start()
    const file = await guest.create('a')
    await file.write(0, 'written')
    await rig.close()
    expect(new TextDecoder().decode(await outside('a'))).toBe('written')
    await rig.start()
    expect(new TextDecoder().decode(await again(file).readAll())).toBe('written')
  })
})

describe('what memory cannot take', () => {
  it('is in a file that survives, and is removed when it is not needed any more', async () => {
    const storage = await service('memory')
    const rig = new SessionRig('memory', storage.operator, { cacheBytes: 1 << 20 })
    const guest = await rig.start()
    const file = await guest.create('large')
    const content = pattern(3 << 20, 11)
    await file.write(0, content)
    const spilled = () => readdirSync(rig.path).filter(name => name.startsWith('ovfs-'))
    expect(spilled()).toHaveLength(1)
    await rig.restart()
    const large = new File(rig.fs, file.node, file.fh, 0)
    await large.write(3 << 20, 'more')
    expect(isSame((await large.readAll()).subarray(0, 3 << 20), content)).toBe(true)
    await large.close()
    expect(new Uint8Array(await storage.outside.read('large')).byteLength).toBe((3 << 20) + 4)
    await rig.close()
    expect(spilled()).toEqual([])
    rig.remove()
  })
})

describe('a log', () => {
  it('that makes no sense is refused, and stays as it is', async () => {
    const storage = await service('memory')
    const rig = new SessionRig('memory', storage.operator)
    const guest = await rig.start()
    const file = await guest.create('a')
    await file.write(0, 'unpublished')
    await rig.kill()
    rig.memory.remove('pages-0')
    const before = new Uint8Array(rig.memory.buffers.get('session')!).slice()
    await expect(rig.start()).rejects.toMatchObject({ reason: 'DAMAGED' })
    expect(isSame(new Uint8Array(rig.memory.buffers.get('session')!), before)).toBe(true)
    rig.remove()
  })

  it('that the host does not let us read now stays for another attempt', async () => {
    const storage = await service('memory')
    const rig = new SessionRig('memory', storage.operator)
    const guest = await rig.start()
    const file = await guest.create('a')
    await file.write(0, 'unpublished')
    await rig.kill()
    const { memory } = rig
    const open = memory.open.bind(memory)
    memory.open = name => {
      if (name === 'session') return open(name)
      throw Object.assign(new Error('too many open files'), { code: 'EMFILE' })
    }
    await expect(rig.start()).rejects.toMatchObject({ code: 'EMFILE' })
    memory.open = open
    await rig.kill()
    await rig.start()
    expect(new TextDecoder().decode(await new File(rig.fs, file.node, file.fh, 0).readAll())).toBe(
      'unpublished',
    )
    await rig.close()
    rig.remove()
  })

  it('without room for what is written is told, the guest writes on, and the next session is kept again', async () => {
    const storage = await service('memory')
    const rig = new SessionRig('memory', storage.operator)
    let guest = await rig.start()
    const { room } = rig.memory
    rig.memory.room = 0
    const file = await guest.create('file')
    await file.write(0, 'bytes')
    expect(rig.errors).toMatchObject([{ message: 'no room' }])
    rig.memory.room = room
    // As an INIT does. What memory has alone cannot be kept, so nothing is.
    rig.log.begin()
    expect(rig.log.isKept).toBe(false)
    await file.fsync()
    rig.log.begin()
    expect(rig.log.isKept).toBe(true)
    const kept = await guest.create('kept')
    await kept.write(0, 'more')
    guest = await rig.restart()
    expect(await guest.text('file')).toBe('bytes')
    expect(await guest.text('kept')).toBe('more')
    await rig.close()
    rig.remove()
  })

  it('without room is told once, and the guest goes on', async () => {
    const storage = await service('memory')
    const rig = new SessionRig('memory', storage.operator)
    const guest = await rig.start()
    rig.memory.room = 0
    for (let i = 0; i < 4000; i++) await guest.mkdir(`directory-${i}-${'x'.repeat(200)}`)
    expect(rig.errors).toMatchObject([{ message: 'no room' }])
    await rig.close()
    rig.remove()
  })
})
