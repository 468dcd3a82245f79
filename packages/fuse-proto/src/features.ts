// The features of INIT: which ones this package can do, and for each of the others why not.

import { InitFlags as F, InitFlags2 as F2 } from './constants.ts'

/** Features that need nothing from this package, or what it does. */
export const IMPLEMENTED_FLAGS =
  F.ASYNC_READ |
  F.POSIX_LOCKS |
  F.ATOMIC_O_TRUNC |
  F.BIG_WRITES |
  F.DONT_MASK |
  F.FLOCK_LOCKS |
  F.AUTO_INVAL_DATA |
  F.DO_READDIRPLUS |
  F.READDIRPLUS_AUTO |
  F.ASYNC_DIO |
  F.WRITEBACK_CACHE |
  F.PARALLEL_DIROPS |
  F.HANDLE_KILLPRIV |
  F.POSIX_ACL |
  F.MAX_PAGES |
  F.CACHE_SYMLINKS |
  F.SUBMOUNTS |
  F.HANDLE_KILLPRIV_V2 |
  F.SETXATTR_EXT |
  F.INIT_EXT
export const IMPLEMENTED_FLAGS2 =
  F2.SECURITY_CTX | F2.CREATE_SUPP_GROUP | F2.DIRECT_IO_ALLOW_MMAP | F2.NO_EXPORT_SUPPORT

/** Before minor 38 there is no total_extlen, and extensions cannot be told from names. */
export const EXTENSIONS_MINOR = 38
export const EXTENSION_FLAGS2 = F2.SECURITY_CTX | F2.CREATE_SUPP_GROUP

const DEV_FUSE = 'only /dev/fuse has it'
const ANNOUNCED = 'the guest only says that it can; nothing changes when it is agreed'
const NO_WINDOW = "needs a DAX window, which QEMU's vhost-user-fs does not have"

/** Why a feature is never agreed. */
export const REFUSED_FEATURES: Readonly<Partial<Record<keyof typeof F | keyof typeof F2, string>>> = {
  FILE_OPS: 'no Linux kernel offers it',
  EXPORT_SUPPORT: '`.` and `..` cannot be looked up; NO_EXPORT_SUPPORT says so to the guest',
  SPLICE_WRITE: DEV_FUSE,
  SPLICE_MOVE: DEV_FUSE,
  SPLICE_READ: DEV_FUSE,
  HAS_IOCTL_DIR: ANNOUNCED,
  NO_OPEN_SUPPORT: ANNOUNCED,
  ABORT_ERROR: DEV_FUSE,
  NO_OPENDIR_SUPPORT: ANNOUNCED,
  EXPLICIT_INVAL_DATA: 'needs notifications, which no virtio-fs guest takes',
  MAP_ALIGNMENT: NO_WINDOW,
  INIT_RESERVED: 'reserved',
  HAS_INODE_DAX: NO_WINDOW,
  HAS_EXPIRE_ONLY: ANNOUNCED,
  PASSTHROUGH: 'needs a file of the host in the guest kernel',
  HAS_RESEND: ANNOUNCED,
  ALLOW_IDMAP: 'requests would not say any more who asks',
  OVER_IO_URING: DEV_FUSE,
  REQUEST_TIMEOUT: 'one late answer would end the whole mount',
}
