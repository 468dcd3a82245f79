// The structures that most requests carry, field for field as in <linux/fuse.h>, protocol 7.45: headers, attributes, names,
// files, directories and INIT. The rarer ones are in structs-extended.ts. Fields are little-endian.
//
// Sizes, offsets and ids are numbers and refuse what is above 2^53-1; what only has to come back as it was (unique, lock
// owners) is a bigint. Seconds are signed: the header says uint64_t, but a time before 1970 arrives in two's complement.

import { type Infer, i32, n64, pad, struct, u16, u32, u64 } from '@ovfs/cstruct'
import { seconds } from './seconds.ts'

export const InHeader = struct('fuse_in_header', {
  /** Bytes of the whole request. */
  len: u32,
  opcode: u32,
  unique: u64,
  nodeid: n64,
  uid: u32,
  gid: u32,
  pid: u32,
  /** Extensions at the end of the request, in units of 8 bytes. */
  totalExtlen: u16,
  padding: pad(2),
})
export type InHeader = Infer<typeof InHeader>

export const OutHeader = struct('fuse_out_header', {
  /** Bytes of the whole reply. */
  len: u32,
  /** 0 or a negative errno. */
  error: i32,
  unique: u64,
})
export type OutHeader = Infer<typeof OutHeader>

export const Attr = struct('fuse_attr', {
  ino: n64,
  size: n64,
  /** In units of 512 bytes. */
  blocks: n64,
  atime: seconds,
  mtime: seconds,
  ctime: seconds,
  atimensec: u32,
  mtimensec: u32,
  ctimensec: u32,
  /** File type and permissions. */
  mode: u32,
  nlink: u32,
  uid: u32,
  gid: u32,
  rdev: u32,
  blksize: u32,
  /** FUSE_ATTR_* */
  flags: u32,
})
export type Attr = Infer<typeof Attr>

export const EntryOut = struct('fuse_entry_out', {
  /** 0 in the reply to LOOKUP: the name does not exist, and that may be cached. */
  nodeid: n64,
  generation: n64,
  /** Seconds for which the name may be trusted. */
  entryValid: n64,
  /** Seconds for which the attributes may be trusted. */
  attrValid: n64,
  entryValidNsec: u32,
  attrValidNsec: u32,
  attr: Attr,
})
export type EntryOut = Infer<typeof EntryOut>

export const AttrOut = struct('fuse_attr_out', {
  attrValid: n64,
  attrValidNsec: u32,
  dummy: pad(4),
  attr: Attr,
})
export type AttrOut = Infer<typeof AttrOut>

export const GetattrIn = struct('fuse_getattr_in', { getattrFlags: u32, dummy: pad(4), fh: n64 })
export type GetattrIn = Infer<typeof GetattrIn>

export const SetattrIn = struct('fuse_setattr_in', {
  /** FATTR_* */
  valid: u32,
  padding: pad(4),
  fh: n64,
  size: n64,
  lockOwner: u64,
  atime: seconds,
  mtime: seconds,
  ctime: seconds,
  atimensec: u32,
  mtimensec: u32,
  ctimensec: u32,
  mode: u32,
  unused4: pad(4),
  uid: u32,
  gid: u32,
  unused5: pad(4),
})
export type SetattrIn = Infer<typeof SetattrIn>

export const ForgetIn = struct('fuse_forget_in', { nlookup: n64 })
export type ForgetIn = Infer<typeof ForgetIn>

export const BatchForgetIn = struct('fuse_batch_forget_in', { count: u32, dummy: pad(4) })
export type BatchForgetIn = Infer<typeof BatchForgetIn>

export const ForgetOne = struct('fuse_forget_one', { nodeid: n64, nlookup: n64 })
export type ForgetOne = Infer<typeof ForgetOne>

export const MknodIn = struct('fuse_mknod_in', { mode: u32, rdev: u32, umask: u32, padding: pad(4) })
export type MknodIn = Infer<typeof MknodIn>

export const MkdirIn = struct('fuse_mkdir_in', { mode: u32, umask: u32 })
export type MkdirIn = Infer<typeof MkdirIn>

export const RenameIn = struct('fuse_rename_in', { newdir: n64 })
export type RenameIn = Infer<typeof RenameIn>

export const Rename2In = struct('fuse_rename2_in', { newdir: n64, flags: u32, padding: pad(4) })
export type Rename2In = Infer<typeof Rename2In>

export const LinkIn = struct('fuse_link_in', { oldnodeid: n64 })
export type LinkIn = Infer<typeof LinkIn>

export const OpenIn = struct('fuse_open_in', {
  /** O_* of the guest's architecture. */
  flags: u32,
  /** FUSE_OPEN_* */
  openFlags: u32,
})
export type OpenIn = Infer<typeof OpenIn>

export const CreateIn = struct('fuse_create_in', { flags: u32, mode: u32, umask: u32, openFlags: u32 })
export type CreateIn = Infer<typeof CreateIn>

export const OpenOut = struct('fuse_open_out', {
  fh: n64,
  /** FOPEN_* */
  openFlags: u32,
  backingId: i32,
})
export type OpenOut = Infer<typeof OpenOut>

export const ReleaseIn = struct('fuse_release_in', {
  fh: n64,
  flags: u32,
  /** FUSE_RELEASE_* */
  releaseFlags: u32,
  lockOwner: u64,
})
export type ReleaseIn = Infer<typeof ReleaseIn>

export const FlushIn = struct('fuse_flush_in', { fh: n64, unused: pad(4), padding: pad(4), lockOwner: u64 })
export type FlushIn = Infer<typeof FlushIn>

export const ReadIn = struct('fuse_read_in', {
  fh: n64,
  /** Byte offset, or a directory cookie. */
  offset: n64,
  size: u32,
  /** FUSE_READ_* */
  readFlags: u32,
  lockOwner: u64,
  flags: u32,
  padding: pad(4),
})
export type ReadIn = Infer<typeof ReadIn>

export const WriteIn = struct('fuse_write_in', {
  fh: n64,
  offset: n64,
  size: u32,
  /** FUSE_WRITE_* */
  writeFlags: u32,
  lockOwner: u64,
  flags: u32,
  padding: pad(4),
})
export type WriteIn = Infer<typeof WriteIn>

export const WriteOut = struct('fuse_write_out', { size: u32, padding: pad(4) })
export type WriteOut = Infer<typeof WriteOut>

export const KstatfsOut = struct('fuse_kstatfs', {
  /** This and the next two are in units of `frsize`. */
  blocks: n64,
  bfree: n64,
  bavail: n64,
  files: n64,
  ffree: n64,
  bsize: u32,
  namelen: u32,
  frsize: u32,
  padding: pad(4),
  spare: pad(24),
})
export type KstatfsOut = Infer<typeof KstatfsOut>

export const StatfsOut = struct('fuse_statfs_out', { st: KstatfsOut })
export type StatfsOut = Infer<typeof StatfsOut>

export const FsyncIn = struct('fuse_fsync_in', {
  fh: n64,
  /** FUSE_FSYNC_* */
  fsyncFlags: u32,
  padding: pad(4),
})
export type FsyncIn = Infer<typeof FsyncIn>

export const AccessIn = struct('fuse_access_in', { mask: u32, padding: pad(4) })
export type AccessIn = Infer<typeof AccessIn>

/** `off` is opaque to everybody but the server: real file systems use all of its bits. */
export const Dirent = struct('fuse_dirent', { ino: n64, off: u64, namelen: u32, type: u32 })
export type Dirent = Infer<typeof Dirent>

export const Direntplus = struct('fuse_direntplus', { entryOut: EntryOut, dirent: Dirent })
export type Direntplus = Infer<typeof Direntplus>

export const InitIn = struct('fuse_init_in', {
  major: u32,
  minor: u32,
  maxReadahead: u32,
  /** FUSE_*, bits 0..31. */
  flags: u32,
  /** FUSE_*, bits 32..63; there from minor 36 on, and meaningful with FUSE_INIT_EXT only. */
  flags2: u32,
  unused: pad(44),
})
export type InitIn = Infer<typeof InitIn>

export const InitOut = struct('fuse_init_out', {
  major: u32,
  minor: u32,
  maxReadahead: u32,
  flags: u32,
  maxBackground: u16,
  congestionThreshold: u16,
  maxWrite: u32,
  timeGran: u32,
  maxPages: u16,
  mapAlignment: u16,
  flags2: u32,
  maxStackDepth: u32,
  requestTimeout: u16,
  unused: pad(22),
})
export type InitOut = Infer<typeof InitOut>
