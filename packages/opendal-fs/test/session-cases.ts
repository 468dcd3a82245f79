// Requests that change names or the like, for tests that cut them off: each the same for the first time and again, with what must be
// true once it was answered.

import type { RequestContext } from '@ovfs/fuse-proto'
import { expect } from 'vitest'
import { ctx, type File, type Guest, O_EXCL, O_RDWR } from './guest.ts'

const XATTR_CREATE = 1
export const request: RequestContext = { ...ctx, unique: 1000 }

/** A file that stays open, and what it must hold at the end. */
export type Held = readonly [file: File, content: string]

export interface Case {
  readonly name: string
  prepare(guest: Guest): Promise<void>
  /** Opens what stays open. */
  hold?(guest: Guest): Promise<readonly Held[]>
  /** The same for the first time and again. */
  change(guest: Guest): Promise<unknown>
  /** Names at the top, and the contents of files. */
  readonly names: readonly string[]
  readonly contents: Record<string, string>
  check?(guest: Guest): Promise<void>
}

export const root = (guest: Guest) => guest.node('/')

const rename = (from: string, to: string) => async (guest: Guest) =>
  guest.fs.rename(request, await root(guest), from, await root(guest), to, 0)

const unlink = (name: string) => async (guest: Guest) => guest.fs.unlink(request, await root(guest), name)

async function putBoth(guest: Guest): Promise<void> {
  await guest.put('a', 'A')
  await guest.put('b', 'B')
}

export const CASES: readonly Case[] = [
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
    change: unlink('a'),
    names: [],
    contents: {},
  },
  {
    name: 'unlink of a link that no sidecar has, beside another',
    prepare: async guest => {
      await guest.symlink('a', 'there')
      await guest.symlink('b', 'there')
    },
    change: unlink('a'),
    names: ['b'],
    contents: {},
  },
  {
    name: 'rename of a link to another directory',
    prepare: async guest => {
      await guest.mkdir('d')
      await guest.symlink('d/a', 'there')
    },
    change: async guest => guest.fs.rename(request, await guest.node('d'), 'a', await root(guest), 'b', 0),
    names: ['b', 'd'],
    contents: {},
    check: async guest => {
      expect(await guest.readlink('b')).toBe('there')
      expect(await guest.names('d')).toEqual([])
    },
  },
  {
    name: 'rename of a link over a file',
    prepare: async guest => {
      await guest.symlink('a', 'there')
      await guest.put('b', 'B')
    },
    change: rename('a', 'b'),
    names: ['b'],
    contents: {},
    check: async guest => expect(await guest.readlink('b')).toBe('there'),
  },
  {
    name: 'rename of a file over a link',
    prepare: async guest => {
      await guest.put('a', 'A')
      await guest.symlink('b', 'there')
    },
    change: rename('a', 'b'),
    names: ['b'],
    contents: { b: 'A' },
  },
  {
    name: 'rename',
    prepare: guest => guest.put('a', 'A'),
    change: rename('a', 'b'),
    names: ['b'],
    contents: { b: 'A' },
  },
  {
    name: 'rename over another file',
    prepare: putBoth,
    change: rename('a', 'b'),
    names: ['b'],
    contents: { b: 'A' },
  },
  {
    name: 'rename of a file with another mode over one with a third',
    prepare: async guest => {
      await (await guest.create('a', O_RDWR, 0o600)).close()
      await (await guest.create('b', O_RDWR, 0o640)).close()
    },
    change: rename('a', 'b'),
    names: ['b'],
    contents: { b: '' },
    check: async guest => expect((await guest.stat('b')).mode).toBe(0o100600),
  },
  {
    name: 'rename of a file with another mode over one that was written just now',
    prepare: async guest => {
      const a = await guest.create('a', O_RDWR, 0o600)
      await a.fsync()
      await a.close()
      await guest.put('b', 'B')
    },
    change: rename('a', 'b'),
    names: ['b'],
    contents: { b: '' },
    check: async guest => expect((await guest.stat('b')).mode).toBe(0o100600),
  },
  {
    name: 'rename of a file with another mode to the name of one that was removed',
    prepare: async guest => {
      await (await guest.create('a', O_RDWR, 0o600)).close()
      const b = await guest.create('b', O_RDWR, 0o640)
      await b.fsync()
      await b.close()
      await guest.setattr('b', { mode: 0o660 })
      await guest.unlink('b')
    },
    change: rename('a', 'b'),
    names: ['b'],
    contents: { b: '' },
    check: async guest => expect((await guest.stat('b')).mode).toBe(0o100600),
  },
  {
    name: 'rename of a file with unpublished changes',
    prepare: async guest => {
      await guest.put('a', 'A')
      await (await guest.open('a', O_RDWR)).write(0, 'changed')
    },
    change: rename('a', 'b'),
    names: ['b'],
    contents: { b: 'changed' },
  },
  {
    name: 'unlink of an open file',
    prepare: guest => guest.put('a', 'A'),
    hold: async guest => [[await guest.open('a'), 'A']],
    change: unlink('a'),
    names: [],
    contents: {},
  },
  {
    name: 'unlink of an open file with unpublished changes',
    prepare: guest => guest.put('a', 'A'),
    hold: async guest => {
      const file = await guest.open('a', O_RDWR)
      await file.write(1, 'B')
      await file.fsync()
      await file.write(2, 'C')
      return [[file, 'ABC']]
    },
    change: unlink('a'),
    names: [],
    contents: {},
  },
  {
    name: 'rename over an open file',
    prepare: putBoth,
    hold: async guest => [[await guest.open('b'), 'B']],
    change: rename('a', 'b'),
    names: ['b'],
    contents: { b: 'A' },
  },
  {
    name: 'rename of a forgotten file over an open file',
    prepare: putBoth,
    hold: async guest => {
      const open = await guest.open('b')
      guest.fs.forget(await guest.node('a'), 2)
      await new Promise(resolve => setImmediate(resolve))
      return [[open, 'B']]
    },
    change: rename('a', 'b'),
    names: ['b'],
    contents: { b: 'A' },
  },
  {
    name: 'rename of an open file over an open file',
    prepare: putBoth,
    hold: async guest => [
      [await guest.open('a'), 'A'],
      [await guest.open('b'), 'B'],
    ],
    change: rename('a', 'b'),
    names: ['b'],
    contents: { b: 'A' },
  },
  {
    name: 'rename of an unpublished file over an open file with unpublished changes',
    prepare: guest => guest.put('b', 'B'),
    hold: async guest => {
      const b = await guest.open('b', O_RDWR)
      await b.write(1, 'C')
      const a = await guest.create('a')
      await a.write(0, 'new')
      return [
        [a, 'new'],
        [b, 'BC'],
      ]
    },
    change: rename('a', 'b'),
    names: ['b'],
    contents: { b: 'new' },
  },
  {
    name: 'rename of an unpublished file that has replaced another',
    prepare: guest => guest.put('b', 'B'),
    hold: async guest => {
      const a = await guest.create('a')
      await a.write(0, 'new')
      await guest.rename('a', 'b')
      return [[a, 'new']]
    },
    change: rename('b', 'c'),
    names: ['c'],
    contents: { c: 'new' },
  },
  {
    name: 'rename of an unpublished file over another',
    prepare: guest => guest.put('b', 'B'),
    hold: async guest => {
      const a = await guest.create('a')
      await a.write(0, 'new')
      return [[a, 'new']]
    },
    change: rename('a', 'b'),
    names: ['b'],
    contents: { b: 'new' },
  },
  {
    name: 'rename of a directory',
    prepare: async guest => {
      await guest.mkdir('d')
      await guest.put('d/a', 'A')
      await guest.put('d/b', 'B')
    },
    change: rename('d', 'e'),
    names: ['e'],
    contents: { 'e/a': 'A', 'e/b': 'B' },
  },
  {
    name: 'rename of a directory with another mode over one with a third',
    prepare: async guest => {
      await guest.mkdir('d', 0o700)
      await guest.mkdir('e', 0o750)
    },
    change: rename('d', 'e'),
    names: ['e'],
    contents: {},
    check: async guest => expect((await guest.stat('e')).mode).toBe(0o040700),
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
