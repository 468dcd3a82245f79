import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type AttributeEntry, decodeEntries, encodeEntries } from '../src/attributes/attribute-entry.ts'
import { Sidecar } from '../src/attributes/sidecar.ts'
import { OpendalFs } from '../src/index.ts'
import { Operator } from '../src/storage/binding.ts'
import { KeyNames } from '../src/storage/key-names.ts'
import { Storage } from '../src/storage/storage.ts'
import { Faults, faulty } from './faulty-operator.ts'
import { Guest } from './guest.ts'

const KEY = '.ovfs-attributes'

let operator: Operator
let errors: Error[]
let mounted: OpendalFs[]

beforeEach(() => {
  operator = new Operator('memory', {})
  errors = []
  mounted = []
})
afterEach(async () => {
  for (const fs of mounted) await fs.close().catch(() => undefined)
})

const mount = (over = operator, ttl = 0) => {
  const times = { attrTtlMs: ttl, entryTtlMs: ttl, negativeTtlMs: ttl }
  const fs = new OpendalFs(over, { scheme: 'memory', ...times, onError: error => errors.push(error) })
  mounted.push(fs)
  return new Guest(fs)
}
const stored = async () => decodeEntries(await operator.read(KEY))
const store = (entries: Record<string, AttributeEntry>) =>
  operator.write(KEY, Buffer.from(encodeEntries(new Map(Object.entries(entries)))))
const mode = async (guest: Guest, path: string) => (await guest.stat(path)).mode & 0o7777
const future = { sec: 9_000_000_000, nsec: 0 }
const past = { sec: 1_000, nsec: 0 }

describe('two hosts', () => {
  it('keep what both of them changed', async () => {
    const [one, two] = [mount(), mount()]
    await one.put('f', 'x')
    await one.put('g', 'x')
    await one.setattr('f', { mode: 0o600 })
    await two.setattr('g', { mode: 0o640 })
    await one.fs.syncfs()
    await two.fs.syncfs()
    const other = mount()
    expect([await mode(other, 'f'), await mode(other, 'g')]).toEqual([0o600, 0o640])
    expect([await mode(one, 'f'), await mode(one, 'g')]).toEqual([0o600, 0o640])
  })

  it('agree on the newer change of one name, whoever writes last', async () => {
    await operator.write('f', Buffer.from('x'))
    const guest = mount()
    await guest.setattr('f', { mode: 0o600 })
    await store({ f: { ctime: future, mode: 0o100640 } })
    await guest.fs.syncfs()
    expect((await stored()).get('f')?.mode).toBe(0o100640)
    expect(await mode(guest, 'f')).toBe(0o640)
    await store({ f: { ctime: past, mode: 0o100640 } })
    await guest.setattr('f', { mode: 0o600 })
    await guest.fs.syncfs()
    expect((await stored()).get('f')?.mode).toBe(0o100600)
  })

  it('may have clocks that differ: a change of what was seen always counts', async () => {
    await operator.write('f', Buffer.from('x'))
    await store({ f: { ctime: future, mode: 0o100640 } })
    const guest = mount()
    expect(await mode(guest, 'f')).toBe(0o640)
    await guest.setattr('f', { mode: 0o600 })
    await guest.fs.syncfs()
    expect((await stored()).get('f')?.mode).toBe(0o100600)
  })

  it('start over when another was faster, on a service that takes no conditions', async () => {
    const faults = new Faults()
    faults.sidecars = true
    await operator.write('f', Buffer.from('x'))
    const guest = mount(faulty(operator, faults))
    await guest.setattr('f', { mode: 0o600 })
    let looks = 0
    faults.after = async (operation, key) => {
      if (operation === 'stat' && key === KEY && ++looks === 1)
        await store({ g: { ctime: past, mode: 0o100640 } })
    }
    await guest.fs.syncfs()
    expect((await stored()).get('f')?.mode).toBe(0o100600)
    expect((await stored()).get('g')?.mode).toBe(0o100640)
  })

  it('start over when the service finds that another was faster', async () => {
    const faults = new Faults()
    faults.sidecars = true
    await operator.write('f', Buffer.from('x'))
    const guest = mount(faulty(operator, faults))
    await guest.setattr('f', { mode: 0o600 })
    faults.before = async (operation, key) => {
      if (operation !== 'write' || key !== KEY) return
      faults.before = async () => undefined
      await store({ g: { ctime: past, mode: 0o100640 } })
      throw new Error('ConditionNotMatch (permanent) at write, context: { } => the version is another')
    }
    await guest.fs.syncfs()
    expect([...(await stored()).keys()].sort()).toEqual(['f', 'g'])
  })
})

it('is not taken for damaged by a reading that meets a longer one than it has asked the size of', async () => {
  const faults = new Faults()
  faults.sidecars = true
  await operator.write('f', Buffer.from('x'))
  await store({ f: { ctime: past, mode: 0o100600 } })
  const guest = mount(faulty(operator, faults))
  faults.before = async (operation, key) => {
    if (operation !== 'read' || key !== KEY) return
    faults.before = () => undefined
    await store({ f: { ctime: past, mode: 0o100640 }, g: { ctime: past, mode: 0o100640 } })
  }
  expect(await mode(guest, 'f')).toBe(0o640)
  expect(errors).toEqual([])
})

describe.each([
  ['is none of ours', 'hello, I am a file'],
  ['is cut short', Buffer.from(encodeEntries(new Map([['f', { ctime: past, mode: 1 }]]))).subarray(0, 60)],
  ['is of a later version', '{"format":"ovfs attributes","version":2,"entries":[]}'],
  [
    'has members that we do not know',
    '{"format":"ovfs attributes","version":1,"entries":[["f",{"ctime":[1,2],"acl":1}]]}',
  ],
])('a sidecar that %s', (_, content) => {
  it('is reported, left as it is, and hides no file', async () => {
    const bytes = Buffer.from(content)
    await operator.write(KEY, bytes)
    await operator.write('f', Buffer.from('x'))
    const guest = mount()
    expect(await mode(guest, 'f')).toBe(0o644)
    expect(errors.map(error => error.message)).toEqual([expect.stringContaining(KEY)])
    await expect(guest.setattr('f', { mode: 0o600 })).rejects.toMatchObject({ code: 'EIO' })
    await expect(guest.symlink('l', 'f')).rejects.toMatchObject({ code: 'EIO' })
    await expect(guest.setxattr('f', 'user.a', 'x')).rejects.toMatchObject({ code: 'EIO' })
    expect(await guest.names('/')).toEqual(['f'])
    await guest.put('g', 'new')
    expect(await guest.text('g')).toBe('new')
    await guest.fs.syncfs()
    expect(Buffer.from(await operator.read(KEY))).toEqual(bytes)
  })
})

it('shows the time of the service for a file that somebody else has changed since, with the mode that it had', async () => {
  await operator.write('f', Buffer.from('longer than before'))
  await store({ f: { ctime: past, mode: 0o100600, mtime: { sec: 5, nsec: 0 }, version: '1' } })
  const { mode, mtime } = await mount().stat('f')
  expect(mode).toBe(0o100600)
  expect(mtime).not.toBe(5)
})

it('ignores what was kept of a name that is now of another type', async () => {
  await operator.write('d/f', Buffer.from('x'))
  await operator.write('l', Buffer.from('an object'))
  await store({
    d: { ctime: past, mode: 0o100600 },
    l: { ctime: past, mode: 0o120777, target: 'x' },
  })
  const guest = mount()
  expect((await guest.stat('d')).mode).toBe(0o040755)
  expect(await guest.text('l')).toBe('an object')
  expect(await guest.names('/')).toEqual(['d', 'l'])
})

it('tells close when what a program changed could not be kept, and keeps it for the next time', async () => {
  const faults = new Faults()
  faults.sidecars = true
  const guest = mount(faulty(operator, faults))
  const file = await guest.create('f')
  await guest.setattr('f', { mode: 0o600 })
  faults.before = async (operation, key) => {
    if (operation === 'write' && key === KEY) throw new Error('PermissionDenied (permanent) at write => no')
  }
  await expect(file.flush()).rejects.toMatchObject({ code: 'EACCES' })
  faults.before = () => undefined
  await file.close()
  expect((await stored()).get('f')?.mode).toBe(0o100600)
})

it('writes the times of files a while after they were closed, many at once', async () => {
  const faults = new Faults()
  faults.sidecars = true
  const guest = mount(faulty(operator, faults), 1000)
  for (let i = 0; i < 20; i++) await guest.put(`f${i}`, 'x')
  const written = () => faults.calls.filter(call => call === `write ${KEY}`).length
  expect(written()).toBe(0)
  for (let i = 0; i < 300 && written() === 0; i++) await new Promise(resolve => setTimeout(resolve, 20))
  await guest.fs.syncfs()
  expect(written()).toBe(1)
  expect((await stored()).size).toBe(20)
})

describe('the format', () => {
  const time = fc.record({ sec: fc.integer(), nsec: fc.nat({ max: 999_999_999 }) })
  const word = fc.nat({ max: 0xffff_ffff })
  const name = fc.string({ unit: fc.constantFrom('a', '\n', '"', '\udc80', '_', '/', 'é', '\u2028') })
  const entry: fc.Arbitrary<AttributeEntry> = fc.record(
    {
      ctime: time,
      mode: word,
      uid: word,
      gid: word,
      rdev: word,
      atime: time,
      mtime: time,
      version: fc.string(),
      target: name,
      xattrs: fc
        .uniqueArray(fc.tuple(name, fc.uint8Array()), { selector: ([name]) => name })
        .map(pairs => new Map(pairs)),
    },
    { requiredKeys: ['ctime'] },
  )
  const segment = fc.oneof(fc.constantFrom('', '__proto__', 'constructor'), fc.string({ unit: 'grapheme' }))

  it('gives back every entry as it was', () => {
    const entries = fc
      .uniqueArray(fc.tuple(segment, entry), { selector: ([name]) => name })
      .map(pairs => new Map(pairs))
    fc.assert(
      fc.property(entries, map => {
        expect(decodeEntries(encodeEntries(map))).toEqual(map)
      }),
    )
  })

  it('refuses any other JSON with an error, and nothing worse', () => {
    fc.assert(
      fc.property(fc.jsonValue(), value => {
        const entries = { format: 'ovfs attributes', version: 1, entries: value }
        const isEmpty = Array.isArray(value) && value.length === 0
        const decode = () => decodeEntries(Buffer.from(JSON.stringify(entries)))
        if (isEmpty) expect(decode().size).toBe(0)
        else expect(decode).toThrow(Error)
      }),
    )
  })
})

describe('a sidecar that is large', () => {
  it('rests after it was written, a second for each MiB, and is written all the same when somebody waits', async () => {
    const onError = (error: Error) => errors.push(error)
    const storage = new Storage(operator, { scheme: 'memory', timeoutMs: 10_000, readOnly: false, onError })
    const sidecar = new Sidecar(storage, new KeyNames('memory'), () => '')
    sidecar.set('a', { ctime: past, mode: 0o100600 }, true)
    await sidecar.flush()
    expect(sidecar.restsUntil).toBeLessThanOrEqual(Date.now())
    sidecar.set('b', { ctime: past, xattrs: new Map([['user.x', new Uint8Array(3 << 20)]]) }, true)
    const before = Date.now()
    await sidecar.flush()
    expect(sidecar.restsUntil).toBeGreaterThanOrEqual(before + 4_000)
    sidecar.set('b', undefined, false)
    await sidecar.flush()
    expect([...(await stored()).keys()]).toEqual(['a'])
  })

  it('is left alone until it has rested, unless somebody waits for it', async () => {
    await operator.write('f', Buffer.from('x'))
    await store({
      large: { ctime: past, xattrs: new Map([['user.x', new Uint8Array(3 << 20)]]) },
    })
    const guest = mount(operator, 10_000)
    await guest.setattr('f', { mode: 0o600 })
    await guest.fs.syncfs()
    await guest.setattr('f', { mode: 0o640 })
    await new Promise(resolve => setTimeout(resolve, 1_500))
    expect((await stored()).get('f')?.mode).toBe(0o100600)
    await guest.fs.syncfs()
    expect((await stored()).get('f')?.mode).toBe(0o100640)
  })
})

describe('a sidecar that is empty', () => {
  it('holds nothing, and is written like one that is not there', async () => {
    await operator.write('f', Buffer.from('x'))
    await operator.write(KEY, Buffer.alloc(0))
    const guest = mount()
    await guest.setattr('f', { mode: 0o600 })
    await guest.fs.syncfs()
    expect((await stored()).get('f')?.mode).toBe(0o100600)
    expect(errors).toEqual([])
  })
})

describe('a sidecar that is full', () => {
  it('refuses what would make it larger, loses nothing that it has, and takes more once there is room', async () => {
    const onError = (error: Error) => errors.push(error)
    const options = { scheme: 'memory', timeoutMs: 10_000, readOnly: false, onError }
    const storage = new Storage(operator, options)
    const sidecar = new Sidecar(storage, new KeyNames('memory'), () => '', undefined, 1000)
    const xattrs = new Map([['user.x', new Uint8Array(500)]])
    sidecar.set('a', { ctime: past, xattrs }, true)
    await sidecar.flush()
    sidecar.requireWritable()
    sidecar.set('b', { ctime: past, xattrs }, true)
    await expect(sidecar.flush()).rejects.toMatchObject({ code: 'ENOSPC' })
    expect([...(await stored()).keys()]).toEqual(['a'])
    expect(() => sidecar.requireWritable()).toThrow('no room')
    await expect(sidecar.flush()).rejects.toMatchObject({ code: 'ENOSPC' })
    sidecar.set('a', undefined, false)
    await sidecar.flush()
    sidecar.requireWritable()
    expect([...(await stored()).keys()]).toEqual(['b'])
  })
})
