// Attributes, links and devices after a kill: what the journal has of them is brought to where they are kept.

import { readFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type AttributeEntry, decodeEntries, encodeEntries } from '../src/attributes/attribute-entry.ts'
import { CrashRig, empty } from './crash-rig.ts'
import { type Guest, O_RDWR } from './guest.ts'
import { SCHEMES, type Service, service } from './services.ts'

const KEY = '.ovfs-attributes'
const S_IFIFO = 0o010000

/** Everything there is, with what is kept of it. */
async function seen(guest: Guest, path = ''): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const { name } of await guest.readdir(path === '' ? '/' : path)) {
    const child = path === '' ? name : `${path}/${name}`
    const { mode, uid } = await guest.stat(child)
    const type = mode >> 12
    const what = type === 10 ? `→ ${await guest.readlink(child)}` : (mode & 0o7777).toString(8)
    found[child] = uid === 0 ? what : `${what} of ${uid}`
    if (type === 4) Object.assign(found, await seen(guest, child))
  }
  return found
}

interface Case {
  readonly name: string
  prepare(guest: Guest): Promise<void>
  change(guest: Guest): Promise<void>
  readonly before: Record<string, string>
  readonly after: Record<string, string>
}

const CASES: readonly Case[] = [
  {
    name: 'a link that is moved to another directory',
    prepare: async guest => {
      await guest.mkdir('d')
      await guest.symlink('l', 'there')
    },
    change: guest => guest.rename('l', 'd/m'),
    before: { d: '755', l: '→ there' },
    after: { d: '755', 'd/m': '→ there' },
  },
  {
    name: 'a link that a sidecar has, moved to another directory',
    prepare: async guest => {
      await guest.mkdir('d')
      await guest.symlink('l', 'there')
      await guest.fs.syncfs()
    },
    change: guest => guest.rename('l', 'd/m'),
    before: { d: '755', l: '→ there' },
    after: { d: '755', 'd/m': '→ there' },
  },
  {
    name: 'a file that is moved over a link that a sidecar has',
    prepare: async guest => {
      await guest.put('f', 'F')
      await guest.symlink('l', 'old')
      await guest.fs.syncfs()
    },
    change: guest => guest.rename('f', 'l'),
    before: { f: '644', l: '→ old' },
    after: { l: '644' },
  },
  {
    name: 'a link that is moved over another',
    prepare: async guest => {
      await guest.symlink('l', 'new')
      await guest.symlink('m', 'old')
    },
    change: guest => guest.rename('l', 'm'),
    before: { l: '→ new', m: '→ old' },
    after: { m: '→ new' },
  },
  {
    name: 'a link that is moved over a file',
    prepare: async guest => {
      await guest.symlink('l', 'new')
      await guest.put('f', 'F')
    },
    change: guest => guest.rename('l', 'f'),
    before: { l: '→ new', f: '644' },
    after: { f: '→ new' },
  },
  {
    name: 'a link that is removed',
    prepare: async guest => {
      await guest.symlink('l', 'there')
      await guest.fs.syncfs()
    },
    change: guest => guest.unlink('l'),
    before: { l: '→ there' },
    after: {},
  },
  {
    name: 'a file with a mode and an owner that is moved over another to another directory',
    prepare: async guest => {
      await guest.mkdir('d')
      await guest.put('f', 'F')
      await guest.setattr('f', { mode: 0o4711, uid: 7 })
      await guest.put('d/f', 'old')
      await guest.setattr('d/f', { mode: 0o600 })
    },
    change: guest => guest.rename('f', 'd/f'),
    before: { d: '755', f: '4711 of 7', 'd/f': '600' },
    after: { d: '755', 'd/f': '4711 of 7' },
  },
  {
    name: 'a directory with a mode, full of files and links with theirs, that is moved',
    prepare: async guest => {
      await guest.mkdir('d', 0o700)
      await guest.mkdir('d/e', 0o711)
      await guest.put('d/f', 'F')
      await guest.setattr('d/f', { mode: 0o640 })
      await guest.symlink('d/e/l', 'there')
    },
    change: guest => guest.rename('d', 'm'),
    before: { d: '700', 'd/e': '711', 'd/e/l': '→ there', 'd/f': '640' },
    after: { m: '700', 'm/e': '711', 'm/e/l': '→ there', 'm/f': '640' },
  },
]

describe.each(SCHEMES)('on %s', scheme => {
  let storage: Service
  let rig: CrashRig

  beforeAll(async () => {
    storage = await service(scheme)
  })
  afterAll(() => storage.close())

  async function fresh(writeBack = true): Promise<void> {
    await empty(storage.outside)
    rig = new CrashRig(scheme, storage.operator, { attrs: 'sidecar', writeBack })
    await rig.start()
  }
  async function clear(): Promise<void> {
    await rig.close()
    rig.remove()
  }
  beforeEach(() => fresh())
  afterEach(clear)

  const store = async (entries: Record<string, AttributeEntry>) => {
    await storage.outside.write(KEY, Buffer.from(encodeEntries(new Map(Object.entries(entries)))))
  }
  const noSidecars = () => {
    const isChange = (operation: string) => !['stat', 'read', 'list', 'lister'].includes(operation)
    rig.faults.before = (operation, key) =>
      isChange(operation) && key.includes('.ovfs-') ? new Promise(() => undefined) : undefined
  }

  it('a close with write-back is answered while the sidecar cannot be written, and a kill loses nothing of it', async () => {
    noSidecars()
    const file = await rig.guest.create('f', O_RDWR, 0o750)
    await file.write(0, 'content')
    await rig.guest.setattr('f', { uid: 5, mtime: { sec: 1000, nsec: 5 } })
    await rig.guest.setxattr('f', 'user.colour', 'blue')
    await file.close()
    await rig.restart()
    const { mode, uid, mtime, mtimensec } = await rig.guest.stat('f')
    expect({ mode: mode & 0o7777, uid, mtime, mtimensec }).toEqual({
      mode: 0o750,
      uid: 5,
      mtime: 1000,
      mtimensec: 5,
    })
    expect(await rig.guest.getxattr('f', 'user.colour')).toBe('blue')
    expect(rig.report).toMatchObject({ published: 1, attributes: 1, conflicts: [] })
  })

  it('a file that the replay publishes is of the time at which it was written', async () => {
    rig.faults.before = operation => (operation === 'write' ? new Promise(() => undefined) : undefined)
    await rig.guest.put('f', 'content')
    const { mtime, mtimensec } = await rig.guest.stat('f')
    await rig.kill()
    await new Promise(resolve => setTimeout(resolve, 20))
    await rig.start()
    expect(rig.report).toMatchObject({ published: 1 })
    expect(await rig.guest.stat('f')).toMatchObject({ mtime, mtimensec })
    expect(await rig.guest.text('f')).toBe('content')
  })

  it('links, pipes and their removal are kept as soon as they are answered', async () => {
    await rig.guest.symlink('old', 'gone')
    await rig.guest.fs.syncfs()
    noSidecars()
    await rig.guest.symlink('l', 'there')
    await rig.guest.mknod('p', S_IFIFO | 0o620)
    await rig.guest.unlink('old')
    await rig.restart()
    expect(await seen(rig.guest)).toEqual({ l: '→ there', p: '620' })
    expect((await rig.guest.stat('p')).mode >> 12).toBe(S_IFIFO >> 12)
  })

  it('leaves nothing to do once the sidecar has everything', async () => {
    await rig.guest.mkdir('d')
    await rig.guest.symlink('d/l', 'there')
    await rig.guest.put('f', 'x')
    await rig.guest.setattr('f', { mode: 0o600 })
    await rig.guest.rename('f', 'd/f')
    await rig.guest.rename('d', 'e')
    await rig.guest.fs.syncfs()
    await rig.restart()
    expect(rig.report).toMatchObject({ published: 0, finished: 0, attributes: 0 })
    expect(await seen(rig.guest)).toEqual({ e: '755', 'e/l': '→ there', 'e/f': '600' })
  })

  it('keeps what another host has changed meanwhile, if it is newer, and all of what only one has changed', async () => {
    await rig.guest.put('f', 'x')
    await rig.guest.put('g', 'x')
    await rig.guest.put('h', 'x')
    await rig.guest.fs.syncfs()
    noSidecars()
    for (const name of ['f', 'g']) await rig.guest.setattr(name, { mode: 0o600 })
    await (await rig.guest.open('g', O_RDWR)).close()
    await rig.kill()
    const ctime = { sec: Math.floor(Date.now() / 1000) + 60, nsec: 0 }
    await store({ f: { ctime, mode: 0o100640 }, h: { ctime, mode: 0o100604 } })
    await rig.start()
    expect(await seen(rig.guest)).toEqual({ f: '640', g: '600', h: '604' })
  })

  it('does not bring back what is kept of names that are gone', async () => {
    await rig.guest.put('f', 'x')
    await rig.guest.mkdir('d')
    await rig.guest.symlink('l', 'x')
    await rig.guest.fs.syncfs()
    noSidecars()
    await rig.guest.setattr('f', { mode: 0o600 })
    await rig.guest.setattr('l', { uid: 3 })
    await rig.guest.symlink('d/l', 'there')
    await rig.kill()
    for (const key of ['f', KEY, 'd/']) await storage.outside.delete(key)
    await rig.start()
    expect(await seen(rig.guest)).toEqual({})
    expect((await storage.outside.list('', { recursive: true })).map(entry => entry.path())).not.toContain(
      `d/${KEY}`,
    )
  })

  it("does not give attributes to somebody else's file", async () => {
    // Nothing is published either.
    rig.faults.before = operation => (operation === 'write' ? new Promise(() => undefined) : undefined)
    await (await rig.guest.create('f', O_RDWR, 0o600)).close()
    await rig.kill()
    await storage.outside.write('f', Buffer.from('of another'))
    await rig.start()
    expect(rig.report?.conflicts).toHaveLength(1)
    expect(await seen(rig.guest)).toEqual({ f: '644' })
  })

  it('keeps in the recovery folder what a damaged sidecar cannot take', async () => {
    noSidecars()
    await rig.guest.symlink('l', 'there')
    await rig.kill()
    await storage.outside.write(KEY, Buffer.from('something else'))
    await rig.start()
    const [conflict] = rig.report?.conflicts ?? []
    expect(conflict?.key).toBe('')
    expect(decodeEntries(readFileSync(conflict!.keptAs!)).get('l')?.target).toBe('there')
    expect(String(await storage.outside.read(KEY))).toBe('something else')
  })

  describe.each([
    { mode: 'with close publishing', writeBack: false },
    { mode: 'with write-back', writeBack: true },
  ])('$mode', ({ writeBack }) => {
    async function killed(test: Case, steps: number, again?: number): Promise<'done' | undefined> {
      await clear()
      await fresh(writeBack)
      await test.prepare(rig.guest)
      const frozen = rig.freezeAfter(steps).then(() => 'killed' as const)
      const changing = test.change(rig.guest).then(() => 'done' as const)
      changing.catch(() => undefined)
      const end = await Promise.race([frozen, changing])
      if (again !== undefined) {
        await rig.kill()
        let replayed = false
        const replaying = rig.start(again).then(() => {
          replayed = true
        })
        // It never ends, unless it has nothing to change.
        replaying.catch(() => undefined)
        await expect.poll(() => rig.isFrozen || replayed, { timeout: 10_000 }).toBe(true)
      }
      await rig.restart()
      return end === 'done' ? end : undefined
    }

    it.each(CASES)('$name is as before or as after, wherever a kill came', async test => {
      for (let steps = 0; ; steps++) {
        const end = await killed(test, steps)
        const shown = await seen(rig.guest)
        if (end === 'done') {
          expect(shown).toEqual(test.after)
          break
        }
        expect([test.before, test.after]).toContainEqual(shown)
        expect(rig.report?.conflicts).toEqual([])
      }
    })

    it.each(scheme === 'memory' ? CASES : CASES.slice(-1))(
      '$name is so too if the replay is killed as well',
      async test => {
        for (let again = 0; again < 4; again++) {
          const end = await killed(test, again % 2, again)
          expect(end === 'done' ? [test.after] : [test.before, test.after]).toContainEqual(
            await seen(rig.guest),
          )
        }
      },
    )
  })
})
