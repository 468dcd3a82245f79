// The structures of the rarer operations, field for field as in <linux/fuse.h>, protocol 7.45: extended attributes, locks,
// ioctl, poll, allocation, seeking, copying, DAX, statx, request extensions and notifications.

import { type Infer, i32, i64, n64, pad, struct, u16, u32, u64 } from '@ovfs/cstruct'

/** The 16-byte form, which is used when FUSE_SETXATTR_EXT was negotiated. */
export const SetxattrIn = struct('fuse_setxattr_in', {
  size: u32,
  /** XATTR_CREATE 1, XATTR_REPLACE 2. */
  flags: u32,
  setxattrFlags: u32,
  padding: pad(4),
})
export type SetxattrIn = Infer<typeof SetxattrIn>

/** The first half of SetxattrIn, FUSE_COMPAT_SETXATTR_IN_SIZE: the form without FUSE_SETXATTR_EXT. */
export const SetxattrInCompat = struct('fuse_setxattr_in', { size: u32, flags: u32 })
export type SetxattrInCompat = Infer<typeof SetxattrInCompat>

export const GetxattrIn = struct('fuse_getxattr_in', { size: u32, padding: pad(4) })
export type GetxattrIn = Infer<typeof GetxattrIn>

export const GetxattrOut = struct('fuse_getxattr_out', { size: u32, padding: pad(4) })
export type GetxattrOut = Infer<typeof GetxattrOut>

export const FileLock = struct('fuse_file_lock', {
  start: u64,
  /** Included; 0x7fffffffffffffff is the end of the file. */
  end: u64,
  /** F_RDLCK 0, F_WRLCK 1, F_UNLCK 2. */
  type: u32,
  pid: u32,
})
export type FileLock = Infer<typeof FileLock>

export const LkIn = struct('fuse_lk_in', { fh: n64, owner: u64, lk: FileLock, lkFlags: u32, padding: pad(4) })
export type LkIn = Infer<typeof LkIn>

export const LkOut = struct('fuse_lk_out', { lk: FileLock })
export type LkOut = Infer<typeof LkOut>

export const InterruptIn = struct('fuse_interrupt_in', { unique: u64 })
export type InterruptIn = Infer<typeof InterruptIn>

export const BmapIn = struct('fuse_bmap_in', { block: n64, blocksize: u32, padding: pad(4) })
export type BmapIn = Infer<typeof BmapIn>

export const BmapOut = struct('fuse_bmap_out', { block: n64 })
export type BmapOut = Infer<typeof BmapOut>

export const IoctlIn = struct('fuse_ioctl_in', {
  fh: n64,
  /** FUSE_IOCTL_* */
  flags: u32,
  cmd: u32,
  arg: u64,
  inSize: u32,
  outSize: u32,
})
export type IoctlIn = Infer<typeof IoctlIn>

export const IoctlIovec = struct('fuse_ioctl_iovec', { base: u64, len: u64 })
export type IoctlIovec = Infer<typeof IoctlIovec>

export const IoctlOut = struct('fuse_ioctl_out', { result: i32, flags: u32, inIovs: u32, outIovs: u32 })
export type IoctlOut = Infer<typeof IoctlOut>

export const PollIn = struct('fuse_poll_in', { fh: n64, kh: u64, flags: u32, events: u32 })
export type PollIn = Infer<typeof PollIn>

export const PollOut = struct('fuse_poll_out', { revents: u32, padding: pad(4) })
export type PollOut = Infer<typeof PollOut>

export const FallocateIn = struct('fuse_fallocate_in', {
  fh: n64,
  offset: n64,
  length: n64,
  mode: u32,
  padding: pad(4),
})
export type FallocateIn = Infer<typeof FallocateIn>

export const LseekIn = struct('fuse_lseek_in', {
  fh: n64,
  offset: n64,
  /** SEEK_DATA 3, SEEK_HOLE 4. */
  whence: u32,
  padding: pad(4),
})
export type LseekIn = Infer<typeof LseekIn>

export const LseekOut = struct('fuse_lseek_out', { offset: n64 })
export type LseekOut = Infer<typeof LseekOut>

export const CopyFileRangeIn = struct('fuse_copy_file_range_in', {
  fhIn: n64,
  offIn: n64,
  nodeidOut: n64,
  fhOut: n64,
  offOut: n64,
  len: n64,
  flags: u64,
})
export type CopyFileRangeIn = Infer<typeof CopyFileRangeIn>

export const CopyFileRangeOut = struct('fuse_copy_file_range_out', { bytesCopied: n64 })
export type CopyFileRangeOut = Infer<typeof CopyFileRangeOut>

export const SetupmappingIn = struct('fuse_setupmapping_in', {
  fh: n64,
  foffset: n64,
  len: n64,
  /** FUSE_SETUPMAPPING_FLAG_* */
  flags: u64,
  moffset: n64,
})
export type SetupmappingIn = Infer<typeof SetupmappingIn>

export const RemovemappingIn = struct('fuse_removemapping_in', { count: u32 })
export type RemovemappingIn = Infer<typeof RemovemappingIn>

export const RemovemappingOne = struct('fuse_removemapping_one', { moffset: n64, len: n64 })
export type RemovemappingOne = Infer<typeof RemovemappingOne>

export const SyncfsIn = struct('fuse_syncfs_in', { padding: pad(8) })
export type SyncfsIn = Infer<typeof SyncfsIn>

export const SxTime = struct('fuse_sx_time', { tvSec: i64, tvNsec: u32, reserved: pad(4) })
export type SxTime = Infer<typeof SxTime>

export const Statx = struct('fuse_statx', {
  /** STATX_*: which fields are valid. */
  mask: u32,
  blksize: u32,
  attributes: u64,
  nlink: u32,
  uid: u32,
  gid: u32,
  mode: u16,
  spare0: pad(2),
  ino: n64,
  size: n64,
  blocks: n64,
  attributesMask: u64,
  atime: SxTime,
  btime: SxTime,
  ctime: SxTime,
  mtime: SxTime,
  rdevMajor: u32,
  rdevMinor: u32,
  devMajor: u32,
  devMinor: u32,
  spare2: pad(112),
})
export type Statx = Infer<typeof Statx>

export const StatxIn = struct('fuse_statx_in', {
  getattrFlags: u32,
  reserved: pad(4),
  fh: n64,
  sxFlags: u32,
  sxMask: u32,
})
export type StatxIn = Infer<typeof StatxIn>

export const StatxOut = struct('fuse_statx_out', {
  attrValid: n64,
  attrValidNsec: u32,
  flags: u32,
  spare: pad(16),
  stat: Statx,
})
export type StatxOut = Infer<typeof StatxOut>

/** Head of the security contexts at the end of a creating request. */
export const SecctxHeader = struct('fuse_secctx_header', { size: u32, nrSecctx: u32 })
export type SecctxHeader = Infer<typeof SecctxHeader>

export const Secctx = struct('fuse_secctx', { size: u32, padding: pad(4) })
export type Secctx = Infer<typeof Secctx>

export const ExtHeader = struct('fuse_ext_header', { size: u32, type: u32 })
export type ExtHeader = Infer<typeof ExtHeader>

export const SuppGroups = struct('fuse_supp_groups', { nrGroups: u32 })
export type SuppGroups = Infer<typeof SuppGroups>

export const NotifyPollWakeupOut = struct('fuse_notify_poll_wakeup_out', { kh: u64 })
export type NotifyPollWakeupOut = Infer<typeof NotifyPollWakeupOut>

export const NotifyInvalInodeOut = struct('fuse_notify_inval_inode_out', { ino: n64, off: i64, len: i64 })
export type NotifyInvalInodeOut = Infer<typeof NotifyInvalInodeOut>

export const NotifyInvalEntryOut = struct('fuse_notify_inval_entry_out', {
  parent: n64,
  namelen: u32,
  /** FUSE_EXPIRE_ONLY */
  flags: u32,
})
export type NotifyInvalEntryOut = Infer<typeof NotifyInvalEntryOut>

export const NotifyDeleteOut = struct('fuse_notify_delete_out', {
  parent: n64,
  child: n64,
  namelen: u32,
  padding: pad(4),
})
export type NotifyDeleteOut = Infer<typeof NotifyDeleteOut>

export const NotifyStoreOut = struct('fuse_notify_store_out', {
  nodeid: n64,
  offset: n64,
  size: u32,
  padding: pad(4),
})
export type NotifyStoreOut = Infer<typeof NotifyStoreOut>

export const NotifyRetrieveOut = struct('fuse_notify_retrieve_out', {
  notifyUnique: u64,
  nodeid: n64,
  offset: n64,
  size: u32,
  padding: pad(4),
})
export type NotifyRetrieveOut = Infer<typeof NotifyRetrieveOut>

/** The arguments of NOTIFY_REPLY. */
export const NotifyRetrieveIn = struct('fuse_notify_retrieve_in', {
  dummy1: pad(8),
  offset: n64,
  size: u32,
  dummy2: pad(4),
  dummy3: pad(8),
  dummy4: pad(8),
})
export type NotifyRetrieveIn = Infer<typeof NotifyRetrieveIn>

export const NotifyPruneOut = struct('fuse_notify_prune_out', { count: u32, padding: pad(4), spare: pad(8) })
export type NotifyPruneOut = Infer<typeof NotifyPruneOut>

export const CuseInitIn = struct('cuse_init_in', { major: u32, minor: u32, unused: pad(4), flags: u32 })
export type CuseInitIn = Infer<typeof CuseInitIn>

export const CuseInitOut = struct('cuse_init_out', {
  major: u32,
  minor: u32,
  unused: pad(4),
  flags: u32,
  maxRead: u32,
  maxWrite: u32,
  devMajor: u32,
  devMinor: u32,
  spare: pad(40),
})
export type CuseInitOut = Infer<typeof CuseInitOut>
