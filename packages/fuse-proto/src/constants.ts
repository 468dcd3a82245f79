// Flag sets and limits of the protocol, named as in <linux/fuse.h>. Open flags and file types are Linux's, not FUSE's.

export const FUSE_KERNEL_VERSION = 7
/** The newest minor that the tables of this package describe. */
export const FUSE_KERNEL_MINOR_VERSION = 45
/** Guests with an older minor are refused: the first that speaks over virtio is 31, and below 27 structures differ. */
export const FUSE_OLDEST_MINOR_VERSION = 27

export const FUSE_ROOT_ID = 1
/** An INIT whose bytes stand in the other order: the guest is big-endian. */
export const FUSE_INIT_BSWAP_RESERVED = 0x1a00_0000

/** Bytes of one name, NAME_MAX of Linux; the guest kernel lets longer ones through. */
export const NAME_MAX = 255
/** Bytes of one name in a listing that the guest kernel takes at most. */
export const FUSE_NAME_MAX = 1024
/** Bytes of a path with its NUL; bounds the target of a symbolic link. */
export const PATH_MAX = 4096
export const XATTR_NAME_MAX = 255
/** Bytes of one extended attribute's value. */
export const XATTR_SIZE_MAX = 65536
/** Bytes of the list of extended attributes of one file. */
export const XATTR_LIST_MAX = 65536

export const Opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const

export type OperationName = keyof typeof Opcode

/** INIT, bits 0..31, in `flags`. */
export const InitFlags = {
  ASYNC_READ: 0x1,
  POSIX_LOCKS: 0x2,
  FILE_OPS: 0x4,
  ATOMIC_O_TRUNC: 0x8,
  EXPORT_SUPPORT: 0x10,
  BIG_WRITES: 0x20,
  DONT_MASK: 0x40,
  SPLICE_WRITE: 0x80,
  SPLICE_MOVE: 0x100,
  SPLICE_READ: 0x200,
  FLOCK_LOCKS: 0x400,
  HAS_IOCTL_DIR: 0x800,
  AUTO_INVAL_DATA: 0x1000,
  DO_READDIRPLUS: 0x2000,
  READDIRPLUS_AUTO: 0x4000,
  ASYNC_DIO: 0x8000,
  WRITEBACK_CACHE: 0x1_0000,
  NO_OPEN_SUPPORT: 0x2_0000,
  PARALLEL_DIROPS: 0x4_0000,
  HANDLE_KILLPRIV: 0x8_0000,
  POSIX_ACL: 0x10_0000,
  ABORT_ERROR: 0x20_0000,
  MAX_PAGES: 0x40_0000,
  CACHE_SYMLINKS: 0x80_0000,
  NO_OPENDIR_SUPPORT: 0x100_0000,
  EXPLICIT_INVAL_DATA: 0x200_0000,
  MAP_ALIGNMENT: 0x400_0000,
  SUBMOUNTS: 0x800_0000,
  HANDLE_KILLPRIV_V2: 0x1000_0000,
  SETXATTR_EXT: 0x2000_0000,
  INIT_EXT: 0x4000_0000,
  INIT_RESERVED: 0x8000_0000,
} as const

/** INIT, bits 32..63, in `flags2` (here shifted down by 32). */
export const InitFlags2 = {
  SECURITY_CTX: 0x1,
  HAS_INODE_DAX: 0x2,
  CREATE_SUPP_GROUP: 0x4,
  HAS_EXPIRE_ONLY: 0x8,
  DIRECT_IO_ALLOW_MMAP: 0x10,
  PASSTHROUGH: 0x20,
  NO_EXPORT_SUPPORT: 0x40,
  HAS_RESEND: 0x80,
  ALLOW_IDMAP: 0x100,
  OVER_IO_URING: 0x200,
  REQUEST_TIMEOUT: 0x400,
} as const

/** `valid` of SETATTR. */
export const FATTR_MODE = 0x1
export const FATTR_UID = 0x2
export const FATTR_GID = 0x4
export const FATTR_SIZE = 0x8
export const FATTR_ATIME = 0x10
export const FATTR_MTIME = 0x20
export const FATTR_FH = 0x40
export const FATTR_ATIME_NOW = 0x80
export const FATTR_MTIME_NOW = 0x100
export const FATTR_LOCKOWNER = 0x200
export const FATTR_CTIME = 0x400
export const FATTR_KILL_SUIDGID = 0x800

/** `openFlags` of the reply to OPEN, OPENDIR and CREATE. */
export const FOPEN_DIRECT_IO = 0x1
export const FOPEN_KEEP_CACHE = 0x2
export const FOPEN_NONSEEKABLE = 0x4
export const FOPEN_CACHE_DIR = 0x8
export const FOPEN_STREAM = 0x10
export const FOPEN_NOFLUSH = 0x20
export const FOPEN_PARALLEL_DIRECT_WRITES = 0x40
export const FOPEN_PASSTHROUGH = 0x80

export const FUSE_GETATTR_FH = 0x1
export const FUSE_OPEN_KILL_SUIDGID = 0x1
export const FUSE_RELEASE_FLUSH = 0x1
export const FUSE_RELEASE_FLOCK_UNLOCK = 0x2
export const FUSE_READ_LOCKOWNER = 0x2
export const FUSE_WRITE_CACHE = 0x1
export const FUSE_WRITE_LOCKOWNER = 0x2
export const FUSE_WRITE_KILL_SUIDGID = 0x4
export const FUSE_FSYNC_FDATASYNC = 0x1
export const FUSE_ATTR_SUBMOUNT = 0x1
export const FUSE_ATTR_DAX = 0x2
export const FUSE_LK_FLOCK = 0x1
export const FUSE_SETXATTR_ACL_KILL_SGID = 0x1
export const FUSE_EXPIRE_ONLY = 0x1
export const FUSE_POLL_SCHEDULE_NOTIFY = 0x1
export const FUSE_IOCTL_COMPAT = 0x1
export const FUSE_IOCTL_UNRESTRICTED = 0x2
export const FUSE_IOCTL_RETRY = 0x4
export const FUSE_IOCTL_32BIT = 0x8
export const FUSE_IOCTL_DIR = 0x10
export const FUSE_IOCTL_COMPAT_X32 = 0x20

/** `mode` of FALLOCATE. */
export const FALLOC_FL_KEEP_SIZE = 0x1
export const FALLOC_FL_PUNCH_HOLE = 0x2
export const FALLOC_FL_ZERO_RANGE = 0x10

export const RENAME_NOREPLACE = 0x1
export const RENAME_EXCHANGE = 0x2
export const RENAME_WHITEOUT = 0x4

/** `error` of a notification, a reply header whose `unique` is 0. */
export const NotifyCode = {
  POLL: 1,
  INVAL_INODE: 2,
  INVAL_ENTRY: 3,
  STORE: 4,
  RETRIEVE: 5,
  DELETE: 6,
  RESEND: 7,
  INC_EPOCH: 8,
  PRUNE: 9,
} as const

/** File types in `mode`. */
export const S_IFMT = 0o170000
export const S_IFSOCK = 0o140000
export const S_IFLNK = 0o120000
export const S_IFREG = 0o100000
export const S_IFBLK = 0o060000
export const S_IFDIR = 0o040000
export const S_IFCHR = 0o020000
export const S_IFIFO = 0o010000

/** Directory entry types: S_IF* >> 12. */
export const DT_UNKNOWN = 0
export const DT_FIFO = 1
export const DT_CHR = 2
export const DT_DIR = 4
export const DT_BLK = 6
export const DT_REG = 8
export const DT_LNK = 10
export const DT_SOCK = 12

export const SEEK_DATA = 3
export const SEEK_HOLE = 4
