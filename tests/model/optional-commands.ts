// Commands for what not every file system has, by the capability that they need.

import { FATTR_ATIME, FATTR_GID, FATTR_MODE, FATTR_MTIME, FATTR_UID } from '@ovfs/fuse-proto'
import fc from 'fast-check'
import { expect } from 'vitest'
import { bits, data, id, length, offset, path, slot, time, xattr } from './arbitraries.ts'
import {
  type Capability,
  FALLOC_KEEP_SIZE,
  FALLOC_PUNCH_HOLE,
  FALLOC_ZERO_RANGE,
  S_IFCHR,
  S_IFIFO,
} from './capabilities.ts'
import { alike, type Command, command, onHandle, type Real } from './command.ts'
import { type Outcome, PlainDirectory, PlainLink, type PlainNode, PlainSpecial } from './reference.ts'

const allocation = (keepSize: boolean, mode: number, slot: number, offset: number, length: number) =>
  onHandle(`fallocate ${mode} ${offset}+${length}`, slot, async (file, { client, node, fh }) => {
    await client.fallocate(node, fh, offset, length, mode)
    const { bytes } = file
    if (!keepSize && offset + length > bytes.byteLength) file.resize(offset + length)
    if ((mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) !== 0)
      file.bytes.fill(0, Math.min(offset, file.bytes.length), offset + length)
    file.mtime = undefined
  })

/** Something with whatever a path leads to. */
const onNode = (
  text: string,
  path: string,
  real: (node: number, real: Real) => Promise<unknown>,
  plain: (node: PlainNode) => Outcome,
) =>
  alike(
    `${text} ${path}`,
    side => side.mounted.at(path, node => real(node, side)),
    ({ tree }) => {
      const found = tree.find(path)
      return typeof found === 'string' ? found : plain(found)
    },
  )

const adding = (
  text: string,
  path: string,
  real: (parent: number, name: string, real: Real) => Promise<{ nodeid: number }>,
  plain: () => PlainNode,
) =>
  alike(
    text,
    side =>
      side.mounted
        .in(path, (parent, name) => real(parent, name, side))
        .then(({ nodeid }) => side.mounted.client.forget(nodeid)),
    ({ tree }) => tree.add(path, plain),
  )

// chown(2): a file loses its setuid bit, and its setgid bit where that is not mere mandatory locking.
function dropPrivileges(node: PlainNode): void {
  if (node instanceof PlainDirectory) return
  node.mode &= (node.mode & 0o010) === 0 ? ~0o4000 : ~0o6000
}

export const withCapability: Record<Capability, fc.Arbitrary<Command>[]> = {
  modes: [
    fc.tuple(path, bits).map(([path, mode]) =>
      onNode(
        `chmod ${mode.toString(8)}`,
        path,
        (node, { mounted }) => mounted.client.setattr(node, { valid: FATTR_MODE, mode }),
        node => {
          node.mode = mode
          return undefined
        },
      ),
    ),
  ],
  owners: [
    fc.tuple(path, id, id).map(([path, uid, gid]) =>
      onNode(
        `chown ${uid}:${gid}`,
        path,
        (node, { mounted }) => mounted.client.setattr(node, { valid: FATTR_UID | FATTR_GID, uid, gid }),
        node => {
          Object.assign(node, { uid, gid })
          dropPrivileges(node)
          return undefined
        },
      ),
    ),
  ],
  times: [
    fc.tuple(path, time, time).map(([path, mtime, atime]) =>
      onNode(
        `utimens ${mtime} ${atime}`,
        path,
        (node, { mounted }) =>
          mounted.client.setattr(node, { valid: FATTR_MTIME | FATTR_ATIME, mtime, atime }),
        node => {
          Object.assign(node, { mtime, atime })
          return undefined
        },
      ),
    ),
  ],
  links: [
    fc.tuple(path, fc.constantFrom('a', '../b', '/nowhere')).map(([path, target]) =>
      adding(
        `symlink ${path} to ${target}`,
        path,
        (parent, name, { mounted }) => mounted.client.symlink(parent, name, target),
        () => new PlainLink(target),
      ),
    ),
  ],
  specials: [
    fc.tuple(path, fc.constantFrom(S_IFIFO, S_IFCHR), bits).map(([path, type, mode]) => {
      const rdev = type === S_IFCHR ? 0x103 : 0
      return adding(
        `mknod ${path} ${(type | mode).toString(8)}`,
        path,
        (parent, name, { mounted }) => mounted.client.mknod(parent, name, type | mode, rdev),
        () => new PlainSpecial(type | mode, rdev),
      )
    }),
  ],
  xattrs: [
    fc.tuple(path, xattr, data).map(([path, name, value]) =>
      onNode(
        `setxattr ${name}`,
        path,
        (node, { mounted }) => mounted.client.setxattr(node, name, value),
        node => {
          node.xattrs.set(name, Buffer.from(value).toString('latin1'))
          return undefined
        },
      ),
    ),
    fc.tuple(path, xattr).map(([path, name]) =>
      onNode(
        `removexattr ${name}`,
        path,
        (node, { mounted }) => mounted.client.removexattr(node, name),
        node => (node.xattrs.delete(name) ? undefined : 'ENODATA'),
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
