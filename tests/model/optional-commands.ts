// Commands for what not every file system has, by the capability that they need.

import { FATTR_MODE, FATTR_MTIME } from '@ovfs/fuse-proto'
import fc from 'fast-check'
import { expect } from 'vitest'
import { bits, data, length, offset, path, slot, time, xattr } from './arbitraries.ts'
import { type Capability, FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE } from './capabilities.ts'
import { alike, type Command, command, onHandle, outcomeOf } from './command.ts'
import { PlainDirectory, PlainFile, PlainLink } from './reference.ts'

const allocation = (keepSize: boolean, mode: number, slot: number, offset: number, length: number) =>
  onHandle(`fallocate ${mode} ${offset}+${length}`, slot, async (file, { client, node, fh }) => {
    await client.fallocate(node, fh, offset, length, mode)
    const { bytes } = file
    if (!keepSize && offset + length > bytes.byteLength) file.resize(offset + length)
    if ((mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) !== 0)
      file.bytes.fill(0, Math.min(offset, file.bytes.length), offset + length)
    file.mtime = undefined
  })

export const withCapability: Record<Capability, fc.Arbitrary<Command>[]> = {
  modes: [
    fc.tuple(path, bits).map(([path, mode]) =>
      alike(
        `chmod ${path} ${mode.toString(8)}`,
        ({ mounted }) => mounted.at(path, node => mounted.client.setattr(node, { valid: FATTR_MODE, mode })),
        model => {
          const found = model.tree.find(path)
          if (found instanceof PlainFile || found instanceof PlainDirectory) found.mode = mode
          return typeof found === 'string' ? found : undefined
        },
      ),
    ),
  ],
  times: [
    fc.tuple(path, time).map(([path, mtime]) =>
      alike(
        `utimens ${path} ${mtime}`,
        ({ mounted }) =>
          mounted.at(path, node => mounted.client.setattr(node, { valid: FATTR_MTIME, mtime })),
        model => {
          const file = model.tree.file(path)
          if (file !== undefined) file.mtime = mtime
          const found = model.tree.find(path)
          return typeof found === 'string' ? found : undefined
        },
      ),
    ),
  ],
  links: [
    fc.tuple(path, fc.constantFrom('a', '../b', '/nowhere')).map(([path, target]) =>
      alike(
        `symlink ${path} to ${target}`,
        ({ mounted }) =>
          mounted
            .in(path, (parent, name) => mounted.client.symlink(parent, name, target))
            .then(({ nodeid }) => mounted.client.forget(nodeid)),
        ({ tree }) => tree.add(path, () => new PlainLink(target)),
      ),
    ),
  ],
  xattrs: [
    fc.tuple(path, xattr, data).map(([path, name, value]) =>
      command(
        `setxattr ${path} ${name}`,
        async ({ tree }, { mounted }) => {
          await mounted.at(path, node => mounted.client.setxattr(node, name, value))
          tree.file(path)!.xattrs.set(name, Buffer.from(value).toString('latin1'))
        },
        ({ tree }) => tree.file(path) !== undefined,
      ),
    ),
    fc.tuple(path, xattr).map(([path, name]) =>
      command(
        `removexattr ${path} ${name}`,
        async ({ tree }, { mounted }) => {
          const got = await outcomeOf(mounted.at(path, node => mounted.client.removexattr(node, name)))
          expect(got).toBe(tree.file(path)!.xattrs.delete(name) ? undefined : 'ENODATA')
        },
        ({ tree }) => tree.file(path) !== undefined,
      ),
    ),
  ],
  allocate: [
    fc
      .tuple(fc.boolean(), slot, offset, length)
      .map(([keep, ...rest]) => allocation(keep, keep ? FALLOC_KEEP_SIZE : 0, ...rest)),
  ],
  punch: [
    fc
      .tuple(slot, offset, length)
      .map(range => allocation(true, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, ...range)),
  ],
  zero: [
    fc
      .tuple(fc.boolean(), slot, offset, length)
      .map(([keep, ...rest]) => allocation(keep, FALLOC_ZERO_RANGE | (keep ? FALLOC_KEEP_SIZE : 0), ...rest)),
  ],
  copies: [
    fc.tuple(slot, slot, offset, offset, length).map(([from, to, source, target, length]) =>
      command(
        `copy ${source}+${length} of handle ${from} to ${target} of handle ${to}`,
        async ({ open: files }, { open, mounted }) => {
          const [input, output] = [open[from % open.length]!, open[to % open.length]!]
          const copied = files[from % open.length]!.bytes.slice(source, source + length)
          const done = await mounted.client.copyFileRange(
            { node: input.node, fh: input.fh, offset: source },
            { node: output.node, fh: output.fh, offset: target },
            length,
          )
          expect(done).toBe(copied.length)
          if (done > 0) files[to % open.length]!.write(target, copied)
        },
        // Ranges that overlap are refused by the kernel, and never get here.
        ({ open }) => open.length > 0 && open[from % open.length] !== open[to % open.length],
      ),
    ),
  ],
}
