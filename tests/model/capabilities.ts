// What the file system under test can do, found by trying it on an empty storage: commands for the rest are left out, except
// for those whose refusal is part of the promise (hard links).

import { FATTR_GID, FATTR_MODE, FATTR_MTIME, FATTR_UID, FsError } from '@ovfs/fuse-proto'
import type { Mounted, OpenFile } from './mounted.ts'

export const S_IFIFO = 0o010000
export const S_IFCHR = 0o020000

export const FALLOC_KEEP_SIZE = 1
export const FALLOC_PUNCH_HOLE = 2
export const FALLOC_ZERO_RANGE = 16

const PROBES = {
  modes: async mounted => {
    await mounted.at('file', node => mounted.client.setattr(node, { valid: FATTR_MODE, mode: 0o600 }))
  },
  times: async mounted => {
    await mounted.at('file', node => mounted.client.setattr(node, { valid: FATTR_MTIME, mtime: 12345 }))
  },
  owners: async mounted => {
    await mounted.at('file', node =>
      mounted.client.setattr(node, { valid: FATTR_UID | FATTR_GID, uid: 1, gid: 1 }),
    )
  },
  specials: mounted =>
    mounted.in('pipe', (parent, name) => mounted.client.mknod(parent, name, S_IFIFO | 0o600)),
  links: mounted => mounted.in('link', (parent, name) => mounted.client.symlink(parent, name, 'file')),
  xattrs: mounted => mounted.at('file', node => mounted.client.setxattr(node, 'user.a', new Uint8Array(1))),
  allocate: ({ client }, { node, fh }) => client.fallocate(node, fh, 0, 10),
  punch: ({ client }, { node, fh }) =>
    client.fallocate(node, fh, 0, 10, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE),
  zero: ({ client }, { node, fh }) => client.fallocate(node, fh, 0, 10, FALLOC_ZERO_RANGE),
  copies: ({ client }, { node, fh }) =>
    client.copyFileRange({ node, fh, offset: 0 }, { node, fh, offset: 8 }, 4),
} satisfies Record<string, (mounted: Mounted, open: OpenFile) => Promise<unknown>>

export type Capability = keyof typeof PROBES
export type Capabilities = Readonly<Record<Capability, boolean>>

export async function probe(mounted: Mounted): Promise<Capabilities> {
  const open = await mounted.create('file', 0o644)
  await mounted.client.write(open.node, open.fh, 0, new Uint8Array(20))
  const found: Partial<Record<Capability, boolean>> = {}
  for (const [name, attempt] of Object.entries(PROBES) as [Capability, (typeof PROBES)[Capability]][]) {
    try {
      await attempt(mounted, open)
      found[name] = true
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      found[name] = false
    }
  }
  await open.close()
  return found as Capabilities
}
