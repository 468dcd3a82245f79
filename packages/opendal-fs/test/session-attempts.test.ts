// A request that changes names is cut off by a kill after each single change that it makes in the storage, and once after the last,
// before its answer was recorded. It comes again: it must succeed, as if it had been done once.

import type { RequestContext } from '@ovfs/fuse-proto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { empty, files } from './crash-rig.ts'
import { ctx, File, type Guest, O_EXCL, O_RDWR } from './guest.ts'
import { SCHEMES, type Service, service } from './services.ts'
import { SessionRig } from './session-rig.ts'

const XATTR_CREATE = 1
const request: RequestContext = { ...ctx, unique: 1000 }

interface Case {
  readonly name: string
  prepare(guest: Guest): Promise<void>
  /** The same for the first time and again. */
  change(guest: Guest): Promise<unknown>
  /** Names at the top, and the contents of files. */
  readonly names: readonly string[]
  readonly contents: Record<string, string>
  check?(guest: Guest): Promise<void>
}

const root = (guest: Guest) => guest.node('/')

const CASES: readonly Case[] = [
  {
    name: 'mkdir',
    prepare: async () => undefined,
    change: async guest => guest.fs.mkdir(request, await root(guest), 'd', 0o700),
    names: ['d'],
    contents: {},
    check: async guest => expect((await guest.stat('d')).mode).toBe(0o040700),
  },
  {
    name: 'rmdir',
    prepare: guest => guest.mkdir('d'),
    change: async guest => guest.fs.rmdir(request, await root(guest), 'd'),
    names: [],
    contents: {},
  },
  {
    name: 'open with O_CREAT and O_EXCL',
    prepare: async () => undefined,
    change: async guest => guest.fs.create(request, await root(guest), 'a', 0o600, O_RDWR | O_EXCL),
    names: ['a'],
    contents: { a: '' },
    check: async guest => expect((await guest.stat('a')).mode).toBe(0o100600),
  },
  {
    name: 'mknod of a file',
    prepare: async () => undefined,
    change: async guest => guest.fs.mknod(request, await root(guest), 'a', 0o100600, 0),
    names: ['a'],
    contents: { a: '' },
  },
  {
    name: 'symlink',
    prepare: async () => undefined,
    change: async guest => guest.fs.symlink(request, await root(guest), 'link', 'target'),
    names: ['link'],
    contents: {},
    check: async guest => expect(await guest.readlink('link')).toBe('target'),
  },
  {
    name: 'unlink',
    prepare: guest => guest.put('a', 'A'),
    change: async guest => guest.fs.unlink(request, await root(guest), 'a'),
    names: [],
    contents: {},
  },
  {
    name: 'rename',
    prepare: guest => guest.put('a', 'A'),
    change: async guest => guest.fs.rename(request, await root(guest), 'a', await root(guest), 'b', 0),
    names: ['b'],
    contents: { b: 'A' },
  },
  {
    name: 'rename over another file',
    prepare: async guest => {
      await guest.put('a', 'A')
      await guest.put('b', 'B')
    },
    change: async guest => guest.fs.rename(request, await root(guest), 'a', await root(guest), 'b', 0),
    names: ['b'],
    contents: { b: 'A' },
  },
  {
    name: 'rename of a file with unpublished changes',
    prepare: async guest => {
      await guest.put('a', 'A')
      await (await guest.open('a', O_RDWR)).write(0, 'changed')
    },
    change: async guest => guest.fs.rename(request, await root(guest), 'a', await root(guest), 'b', 0),
    names: ['b'],
    contents: { b: 'changed' },
  },
  {
    name: 'rename of a directory',
    prepare: async guest => {
      await guest.mkdir('d')
      await guest.put('d/a', 'A')
      await guest.put('d/b', 'B')
    },
    change: async guest => guest.fs.rename(request, await root(guest), 'd', await root(guest), 'e', 0),
    names: ['e'],
    contents: { 'e/a': 'A', 'e/b': 'B' },
  },
  {
    name: 'setxattr with XATTR_CREATE',
    prepare: guest => guest.put('a', 'A'),
    change: async guest =>
      guest.fs.setxattr(request, await guest.node('a'), 'user.x', new Uint8Array([65]), XATTR_CREATE),
    names: ['a'],
    contents: { a: 'A' },
    check: async guest => expect(await guest.getxattr('a', 'user.x')).toBe('A'),
  },
  {
    name: 'removexattr',
    prepare: async guest => {
      await guest.put('a', 'A')
      await guest.setxattr('a', 'user.x', 'X')
    },
    change: async guest => guest.fs.removexattr(request, await guest.node('a'), 'user.x'),
    names: ['a'],
    contents: { a: 'A' },
    check: async guest => expect(await guest.listxattr('a')).toEqual([]),
  },
]

describe.each(SCHEMES)('on %s, a request that comes again after a kill succeeds once:', scheme => {
  let storage: Service

  beforeAll(async () => {
    storage = await service(scheme)
  })
  afterAll(() => storage.close())

  /** Lets so many changes of the storage happen. True if the request was through before the kill. */
  async function cutOff(
    changes: number,
    { prepare, change }: Pick<Case, 'prepare' | 'change'>,
    again: (guest: Guest, rig: SessionRig) => Promise<void>,
  ): Promise<boolean> {
    const rig = new SessionRig(scheme, storage.operator)
    try {
      const guest = await rig.start()
      await prepare(guest)
      const frozen = rig.freezeAfter(changes).then(() => false)
      const isThrough = await Promise.race([frozen, change(guest).then(() => true)])
      await again(await rig.restart(), rig)
      await rig.close()
      return isThrough
    } finally {
      rig.remove()
      await empty(storage.outside)
    }
  }

  it.each(CASES)('$name', async given => {
    const { change, names, contents, check } = given
    const again = async (guest: Guest) => {
      await change(guest)
      expect(await guest.names('/')).toEqual(names)
      for (const [path, content] of Object.entries(contents)) expect(await guest.text(path)).toBe(content)
      await check?.(guest)
    }
    for (let changes = 0; !(await cutOff(changes, given, again)); ) changes++
  })

  it.each(['unlink', 'rename', 'rename of a forgotten file'])(
    '%s over a file that is open, which stays readable',
    async how => {
      let open: File
      const prepare = async (guest: Guest) => {
        await guest.put('a', 'A')
        await guest.put('b', 'B')
        open = await guest.open('a')
        if (how === 'rename of a forgotten file') guest.fs.forget(await guest.node('b'), 2)
        await new Promise(resolve => setImmediate(resolve))
      }
      const change = async (guest: Guest) => {
        if (how === 'unlink') await guest.fs.unlink(request, await root(guest), 'a')
        else await guest.fs.rename(request, await root(guest), 'b', await root(guest), 'a', 0)
      }
      const again = async (guest: Guest, { fs }: SessionRig) => {
        await change(guest)
        expect(await files(guest)).toEqual(how === 'unlink' ? { b: 'B' } : { a: 'B' })
        const bytes = await new File(fs, open.node, open.fh, 0).readAll()
        expect(new TextDecoder().decode(bytes)).toBe('A')
      }
      for (let changes = 0; !(await cutOff(changes, { prepare, change }, again)); ) changes++
    },
  )

  it.each(['at once', 'after another kill'])(
    'what was begun in a session means nothing to a request of the next with the same number, %s',
    async when => {
      const rig = new SessionRig(scheme, storage.operator)
      try {
        let guest = await rig.start()
        await guest.fs.create(request, await root(guest), 'a', 0o600, O_RDWR | O_EXCL)
        await guest.mkdir('d')
        guest = await rig.restart()
        // The guest mounts again.
        await guest.fs.destroy()
        rig.log.begin()
        if (when !== 'at once') guest = await rig.restart()
        await expect(
          guest.fs.create(request, await root(guest), 'a', 0o600, O_RDWR | O_EXCL),
        ).rejects.toMatchObject({ code: 'EEXIST' })
        await expect(guest.fs.mkdir(request, await root(guest), 'd', 0o700)).rejects.toMatchObject({
          code: 'EEXIST',
        })
        await rig.close()
      } finally {
        rig.remove()
        await empty(storage.outside)
      }
    },
  )
})
