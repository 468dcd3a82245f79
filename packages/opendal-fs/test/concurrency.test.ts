import { beforeEach, expect, it } from 'vitest'
import { OpendalFs, type StorageError } from '../src/index.ts'
import { Operator } from '../src/storage/binding.ts'
import { Faults, faulty } from './faulty-operator.ts'
import { ctx, Guest, O_RDWR, O_WRONLY } from './guest.ts'
import { service } from './services.ts'

let operator: Operator
let faults: Faults
let errors: StorageError[]

beforeEach(() => {
  operator = new Operator('memory', {})
  faults = new Faults()
  errors = []
})

function mount(options = {}): Guest {
  const onError = (error: Error) => errors.push(error as StorageError)
  return new Guest(new OpendalFs(faulty(operator, faults), { scheme: 'memory', onError, ...options }))
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const turn = () => new Promise(resolve => setTimeout(resolve, 20))

it('answers from memory while the storage is slow', async () => {
  const guest = mount()
  await guest.put('known', 'here')
  const file = await guest.open('known')
  await file.readAll()
  await operator.write('unknown', Buffer.from('x'))
  const release = faults.hold('stat')
  const slow = guest.stat('unknown')
  expect(text(await file.read(0, 10))).toBe('here')
  expect(await guest.exists('known')).toBe(true)
  release()
  expect((await slow).size).toBe(1)
})

it('keeps what is written while a publication is under way, and publishes it next', async () => {
  const guest = mount()
  await guest.put('f', 'base base')
  const file = await guest.open('f', O_RDWR)
  await file.write(0, 'A')
  const release = faults.hold('write')
  const first = file.fsync()
  await turn()
  await file.write(5, 'B')
  await file.truncate(7)
  release()
  await first
  expect((await operator.read('f')).toString()).toBe('Aase base')
  expect(text(await file.readAll())).toBe('Aase Ba')
  expect((await guest.stat('f')).size).toBe(7)
  await file.close()
  expect((await operator.read('f')).toString()).toBe('Aase Ba')
})

it('reads zeros where a file was cut and grown while it was being published', async () => {
  const guest = mount()
  await guest.put('f', 'abcdef')
  const file = await guest.open('f', O_RDWR)
  await file.write(0, 'A')
  const release = faults.hold('write')
  const first = file.fsync()
  await turn()
  await file.truncate(2)
  await file.truncate(4)
  release()
  await first
  expect(text(await file.readAll())).toBe('Ab\0\0')
  await file.close()
  expect((await operator.read('f')).toString()).toBe('Ab\0\0')
})

it('moves a file only after the publication under way, and loses nothing', async () => {
  const guest = mount()
  const file = await guest.create('a')
  await file.write(0, 'data')
  const release = faults.hold('write')
  const published = file.fsync()
  await turn()
  const moved = guest.rename('a', 'b')
  await turn()
  release()
  await Promise.all([published, moved])
  await file.close()
  expect((await operator.read('b')).toString()).toBe('data')
  expect(await operator.exists('a')).toBe(false)
})

it('reports a failed publication to fsync and to close, keeps the bytes, and publishes them later', async () => {
  const guest = mount()
  const file = await guest.create('f', O_WRONLY)
  await file.write(0, 'precious')
  faults.before = operation => {
    if (operation === 'write') throw new Error('PermissionDenied (permanent) at write, context: { } => no')
    return undefined
  }
  await expect(file.fsync()).rejects.toMatchObject({ code: 'EACCES' })
  await expect(file.close()).rejects.toMatchObject({ code: 'EACCES' })
  expect(errors.map(({ operation, key }) => `${operation} ${key}`)).toEqual(['write f', 'write f'])
  expect(await guest.text('f')).toBe('precious')
  expect(guest.fs.unpublished()).toEqual(['/f'])
  faults.before = () => undefined
  await guest.fs.syncfs()
  expect(guest.fs.unpublished()).toEqual([])
  expect((await operator.read('f')).toString()).toBe('precious')
})

it('names the files whose data is not in the storage, as the guest does', async () => {
  const guest = mount()
  await guest.mkdir('d')
  const draft = await guest.create('d/draft')
  await draft.write(0, 'x')
  const gone = await guest.create('gone')
  await gone.write(0, 'x')
  await guest.unlink('gone')
  await guest.put('done', 'x')
  expect(guest.fs.unpublished()).toEqual(['/d/draft'])
  await guest.rename('d/draft', 'draft ')
  expect(guest.fs.unpublished()).toEqual(['/draft '])
  await draft.close()
  expect(guest.fs.unpublished()).toEqual([])
})

it('tries again after a temporary failure', async () => {
  const guest = mount()
  await operator.write('f', Buffer.from('x'))
  let failures = 0
  faults.before = operation => {
    if (operation === 'read' && failures++ === 0)
      throw new Error('RateLimited (temporary) at read, context: { } => slow down')
    return undefined
  }
  expect(await guest.text('f')).toBe('x')
  expect(failures).toBe(2)
  expect(errors).toEqual([])
})

it('gives up on a storage that does not answer', async () => {
  const guest = mount({ timeoutMs: 50 })
  const release = faults.hold('stat')
  await expect(guest.stat('f')).rejects.toMatchObject({ code: 'EIO', kind: 'Deadline' })
  release()
})

/** An operator whose service refuses a conditional write, as S3 does; the memory of 0.49.2 ignores the condition. */
function conditional(inner: Operator): Operator {
  return new Proxy(inner, {
    get(target, property) {
      if (property === 'capability')
        return () =>
          new Proxy(target.capability(), {
            get: (says, name) => conditions[name] ?? Reflect.get(says, name, says),
          })
      if (property === 'write')
        return async (...[path, content, options]: Parameters<Operator['write']>) => {
          if (options?.ifNotExists && (await target.exists(path)))
            throw new Error('ConditionNotMatch (permanent) at write, context: { service: s3 } => it exists')
          return target.write(path, content)
        }
      const value: unknown = Reflect.get(target, property, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

const conditions: Readonly<Record<string | symbol, unknown>> = { writeWithIfNotExists: true }

it.each(['no', 'conditional'])(
  'does not let a write that outlived its deadline overwrite a later one, with %s writes',
  async writes => {
    if (writes === 'conditional') operator = conditional(operator)
    const guest = mount({ timeoutMs: 50 })
    const file = await guest.create('f')
    await file.write(0, 'first')
    let release: () => void = () => undefined
    const gate = new Promise<void>(resolve => {
      release = resolve
    })
    faults.before = operation => (operation === 'write' && faults.count('write') === 1 ? gate : undefined)
    await expect(file.fsync()).rejects.toMatchObject({ code: 'EIO' })
    await file.write(0, 'other')
    const later = file.fsync()
    await turn()
    release()
    await later
    expect((await operator.read('f')).toString()).toBe('other')
    await file.close()
  },
)

it('asks the storage once for what many readers want', async () => {
  const guest = mount()
  await operator.write('f', Buffer.alloc(100_000, 1))
  const file = await guest.open('f')
  await Promise.all(Array.from({ length: 20 }, () => file.read(0, 4096)))
  expect(faults.count('read')).toBe(1)
})

it('fetches little more than a small read in the middle needs', async () => {
  const guest = mount()
  await operator.write('f', Buffer.alloc(50 << 20, 1))
  const sizes: bigint[] = []
  const read = operator.read.bind(operator)
  operator.read = (path, options) => {
    sizes.push(options?.size ?? 0n)
    return read(path, options)
  }
  const file = await guest.open('f')
  for (const place of [30, 10, 40, 20]) await file.read(place << 20, 4096)
  expect(sizes.reduce((sum, size) => sum + size, 0n)).toBeLessThanOrEqual(4n * 16384n)
})

it('fetches ahead of a reader that goes forward', async () => {
  const guest = mount()
  await operator.write('f', Buffer.alloc(8 << 20, 1))
  const file = await guest.open('f')
  for (let at = 0; at < 2 << 20; at += 128 << 10) await file.read(at, 128 << 10)
  await turn()
  const before = faults.count('read')
  await file.read(2 << 20, 128 << 10)
  expect(faults.count('read')).toBe(before)
})

it('never mixes two versions of a file in what one open shows after the change', async () => {
  const guest = mount({ attrTtlMs: 0, entryTtlMs: 0 })
  await operator.write('f', Buffer.alloc(3 << 20, 'a'))
  expect((await guest.get('f')).every(byte => byte === 97)).toBe(true)
  await operator.write('f', Buffer.alloc(3 << 20, 'b'))
  expect((await guest.get('f')).every(byte => byte === 98)).toBe(true)
})

it('lets the guest keep its pages only while the version it saw is the present one', async () => {
  const KEEP = 2
  const guest = mount({ attrTtlMs: 0, entryTtlMs: 0 })
  const file = await guest.create('f')
  await file.write(0, 'mine')
  const again = await guest.open('f')
  expect(again.openFlags & KEEP).toBe(KEEP)
  await again.close()
  await file.close()
  await operator.write('f', Buffer.from('theirs'))
  const changed = await guest.open('f')
  expect(changed.openFlags & KEEP).toBe(0)
  await changed.close()
})

it('publishes nothing for a file that was opened for writing and not changed', async () => {
  const guest = mount()
  await guest.put('f', 'x')
  const writes = faults.count('write')
  await (await guest.open('f', O_RDWR)).close()
  expect(faults.count('write')).toBe(writes)
})

it('moves a file that is not published without a storage call', async () => {
  const guest = mount()
  const file = await guest.create('a')
  await guest.exists('b')
  faults.calls.length = 0
  await guest.rename('a', 'b')
  expect(faults.calls).toEqual([])
  await file.close()
})

it('forgets inodes that the guest has forgotten', async () => {
  const guest = mount()
  await guest.mkdir('d')
  await guest.put('d/f', 'x')
  const node = await guest.node('d/f')
  const directory = await guest.node('d')
  const free = async () => (await guest.fs.statfs()).ffree
  // What is not stored yet is not forgotten: neither bytes nor attributes.
  await guest.fs.syncfs()
  const before = await free()
  guest.fs.forget(node, 100)
  guest.fs.forget(directory, 100)
  expect(await free()).toBe(before + 2)
  expect(() => guest.fs.getattr(ctx, node, undefined)).toThrow(expect.objectContaining({ code: 'ESTALE' }))
})

it('tells a writer that somebody else has removed the file', async () => {
  const guest = mount({ attrTtlMs: 0, entryTtlMs: 0, negativeTtlMs: 0 })
  await guest.put('f', 'x')
  const file = await guest.open('f', O_RDWR)
  await operator.delete('f')
  expect(await guest.exists('f')).toBe(false)
  await expect(file.write(0, 'late')).rejects.toMatchObject({ code: 'ESTALE' })
  await guest.fs.release(ctx, file.node, file.fh)
  await guest.fs.close()
})

it('publishes a file in a directory that somebody else has removed meanwhile', async () => {
  const guest = mount({ attrTtlMs: 0, entryTtlMs: 0, negativeTtlMs: 0 })
  await operator.write('d/other', Buffer.from('x'))
  const file = await guest.create('d/mine')
  await file.write(0, 'kept')
  await operator.delete('d/other')
  expect(await guest.names('d')).toEqual(['mine'])
  await file.close()
  expect((await operator.read('d/mine')).toString()).toBe('kept')
})

it('believes a change made here more than an answer that is older', async () => {
  const guest = mount()
  let release: () => void = () => undefined
  const gate = new Promise<void>(resolve => {
    release = resolve
  })
  let answered: () => void = () => undefined
  const isAnswered = new Promise<void>(resolve => {
    answered = resolve
  })
  faults.after = operation => {
    if (operation !== 'stat') return undefined
    answered()
    return gate
  }
  const early = guest.exists('f')
  await isAnswered
  faults.after = () => undefined
  await guest.put('f', 'x')
  release()
  expect(await early).toBe(true)
  expect(await guest.text('f')).toBe('x')
})

it.each([
  ['unlinked', (guest: Guest) => guest.unlink('f')],
  ['replaced', (guest: Guest) => guest.rename('g', 'f')],
])('leaves nothing behind of a file that is closed while it is %s', async (_, change) => {
  const storage = await service('fs')
  operator = storage.operator
  const guest = mount({ scheme: 'fs' })
  await guest.put('f', 'old')
  await guest.put('g', 'new')
  const file = await guest.open('f')
  const release = faults.hold('rename')
  const changing = change(guest)
  await turn()
  await file.close()
  release()
  await changing
  const left = (await operator.list('/')).map(entry => entry.path())
  expect(left.filter(path => path.startsWith('.ovfs-tmp-'))).toEqual([])
  await guest.fs.close()
  await storage.close()
})
