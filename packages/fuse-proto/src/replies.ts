// Replies of handlers that are written by hand: the header's structures from the few fields that differ from file to file.

import type { AttrReply, NodeId } from './handler.ts'
import type { Attr, EntryOut } from './structs.ts'

const S_IFMT = 0o170000
const S_IFDIR = 0o040000
/** fuse_attr.blocks counts in these. */
const BLOCK = 512
const PREFERRED_IO = 4096

/** Attributes with what is usual for the fields that are not given: owned by root, 1970, as many blocks as the size needs. */
export function attrOf(fields: Pick<Attr, 'ino' | 'mode'> & Partial<Attr>): Attr {
  const { mode, size = 0 } = fields
  return {
    ...{ size, blocks: Math.ceil(size / BLOCK), blksize: PREFERRED_IO, uid: 0, gid: 0, rdev: 0, flags: 0 },
    ...{ atime: 0, mtime: 0, ctime: 0, atimensec: 0, mtimensec: 0, ctimensec: 0 },
    nlink: (mode & S_IFMT) === S_IFDIR ? 2 : 1,
    ...fields,
  }
}

/** An entry whose name and attributes the guest may trust for `seconds`; its node id is the inode number. */
export function entryOf(attr: Attr, seconds: number): EntryOut {
  const { attrValid, attrValidNsec } = attrReplyOf(attr, seconds)
  const valid = { entryValid: attrValid, attrValid, entryValidNsec: attrValidNsec, attrValidNsec }
  return { nodeid: attr.ino as NodeId, generation: 0, ...valid, attr }
}

/** Attributes that the guest may trust for `seconds`. */
export function attrReplyOf(attr: Attr, seconds: number): AttrReply {
  const attrValid = Math.floor(seconds)
  return { attrValid, attrValidNsec: Math.round((seconds - attrValid) * 1e9) % 1e9, attr }
}
