// The commands that every file system has, and the sequences made of all. Handles stay open across commands; writes through one
// handle show through all others.

import { FATTR_FH, FATTR_SIZE } from '@ovfs/fuse-proto'
import fc from 'fast-check'
import { expect } from 'vitest'
import { data, length, MOST_HANDLES, offset, path, slot } from './arbitraries.ts'
import type { Capabilities, Capability } from './capabilities.ts'
import { alike, type Command, command, onHandle, outcomeOf } from './command.ts'
import { withCapability } from './optional-commands.ts'
import { conflicts, fromOutside } from './outside-commands.ts'
import { DIRECTORY_MODE, FILE_MODE, type Outcome, PlainDirectory, type PlainNode } from './reference.ts'

const RENAME_NOREPLACE = 1

const put = (path: string, data: Uint8Array) =>
  alike(
    `put ${path} ${data.length}`,
    async ({ mounted }) => {
      const open = await mounted.create(path, FILE_MODE)
      await mounted.client.setattr(open.node, { valid: FATTR_SIZE | FATTR_FH, fh: open.fh, size: 0 })
      await mounted.client.write(open.node, open.fh, 0, data)
      await open.close()
    },
    ({ tree }) => {
      const file = tree.create(path, FILE_MODE)
      if (typeof file === 'string') return file
      file.resize(0)
      file.write(0, data)
      return undefined
    },
  )

const open = (path: string) =>
  command(
    `open ${path}`,
    async (model, real) => {
      const file = model.tree.create(path, FILE_MODE)
      const got = await outcomeOf(
        real.mounted.create(path, FILE_MODE).then(each => {
          real.open.push(each)
        }),
      )
      expect(got).toBe(typeof file === 'string' ? file : undefined)
      if (typeof file !== 'string') model.open.push(file)
    },
    model => model.open.length < MOST_HANDLES,
  )

const always = [
  fc.tuple(path, data).map(([path, data]) => put(path, data)),
  fc.tuple(slot, offset, data).map(([slot, offset, data]) =>
    onHandle(`write ${offset}+${data.length}`, slot, async (file, { client, node, fh }) => {
      expect(await client.write(node, fh, offset, data)).toBe(data.length)
      file.write(offset, data)
    }),
  ),
  fc.tuple(slot, data).map(([slot, data]) =>
    onHandle(`append ${data.length}`, slot, async (file, { client, node, fh }) => {
      const { attr } = await client.getattr(node, fh)
      expect(attr.size).toBe(file.bytes.length)
      await client.write(node, fh, attr.size, data)
      file.write(file.bytes.length, data)
    }),
  ),
  fc.tuple(slot, offset, length).map(([slot, offset, length]) =>
    onHandle(`read ${offset}+${length}`, slot, async (file, { client, node, fh }) => {
      const found = await client.read(node, fh, offset, length)
      expect([...found]).toEqual([...file.bytes.subarray(offset, offset + length)])
    }),
  ),
  fc.tuple(slot, offset).map(([slot, size]) =>
    onHandle(`truncate to ${size}`, slot, async (file, { client, node, fh }) => {
      await client.setattr(node, { valid: FATTR_SIZE | FATTR_FH, fh, size })
      file.resize(size)
    }),
  ),
  slot.map(slot => onHandle('fsync', slot, async (_, { client, node, fh }) => client.fsync(node, fh))),
  slot.map(slot =>
    onHandle('close', slot, async (_, open, real, model) => {
      await open.close()
      const at = slot % model.open.length
      real.open.splice(at, 1)
      model.open.splice(at, 1)
    }),
  ),
  fc.tuple(path, offset).map(([path, size]) =>
    alike(
      `truncate ${path} to ${size}`,
      ({ mounted }) => mounted.at(path, node => mounted.client.setattr(node, { valid: FATTR_SIZE, size })),
      model => {
        const file = model.tree.file(path)
        file?.resize(size)
        return file === undefined ? outcomeOfTruncate(model.tree.find(path)) : undefined
      },
    ),
  ),
  path.map(path =>
    alike(
      `mkdir ${path}`,
      ({ mounted }) =>
        mounted
          .in(path, (parent, name) => mounted.client.mkdir(parent, name, DIRECTORY_MODE))
          .then(({ nodeid }) => mounted.client.forget(nodeid)),
      ({ tree }) => tree.add(path, () => new PlainDirectory(DIRECTORY_MODE)),
    ),
  ),
  path.map(path =>
    alike(
      `unlink ${path}`,
      ({ mounted }) => mounted.in(path, (parent, name) => mounted.client.unlink(parent, name)),
      ({ tree }) => tree.unlink(path),
    ),
  ),
  path.map(path =>
    alike(
      `rmdir ${path}`,
      ({ mounted }) => mounted.in(path, (parent, name) => mounted.client.rmdir(parent, name)),
      ({ tree }) => tree.rmdir(path),
    ),
  ),
  fc.tuple(path, path, fc.constantFrom(0, 0, 0, RENAME_NOREPLACE)).map(([from, to, flags]) =>
    alike(
      `rename ${from} to ${to}${flags === 0 ? '' : ', not over another'}`,
      ({ mounted }) =>
        mounted.in(from, (parent, name) =>
          mounted.in(to, (newParent, newName) =>
            mounted.client.rename2(parent, name, newParent, newName, flags),
          ),
        ),
      ({ tree }) => tree.rename(from, to, flags === RENAME_NOREPLACE),
    ),
  ),
  fc.constant(
    command(
      'mount again',
      async (_, real) => {
        await real.mounted.unmount()
        real.mounted = await real.remount()
      },
      model => model.open.length === 0,
    ),
  ),
]

/** Of a path that is not a file. */
function outcomeOfTruncate(found: PlainNode | string): Outcome {
  if (typeof found === 'string') return found
  return found instanceof PlainDirectory ? 'EISDIR' : 'EINVAL'
}

/** Sequences of what the file system can do, with `withOthers` also of what another host does meanwhile. */
export function sequencesOf(
  capabilities: Capabilities,
  withOthers: boolean,
  longest: number,
): fc.Arbitrary<Command[]> {
  const able = Object.entries(withCapability).filter(([name]) => capabilities[name as Capability])
  const all = [
    ...always,
    ...conflicts,
    ...able.flatMap(([, commands]) => commands),
    ...(withOthers ? fromOutside : []),
  ]
  const opening = { weight: 4, arbitrary: path.map(open) }
  const any = fc.oneof(opening, ...all.map(arbitrary => ({ weight: 1, arbitrary })))
  return fc.array(any, { minLength: Math.floor(longest / 2), maxLength: longest, size: 'max' })
}
