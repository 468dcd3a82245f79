// What a file system implements: one method per FUSE operation, arguments decoded, replies as the header's structs.
// A method that is missing is answered with what the operations table (operations.ts) says is harmless.
//
// Methods return a value or a promise of one. A value is answered in the same tick. A method fails by throwing (or
// rejecting with) an FsError; anything else becomes EIO for the guest and is reported with its cause.
// Names are strings: UTF-8 decoded, with each byte that is not UTF-8 as one lone surrogate U+DC80..U+DCFF, so that every
// name survives the round trip (see names.ts). The dispatcher has already refused empty names, `/`, NUL, and over 255 bytes.

import type { RequestExtensions } from './extensions.ts'
import type { Attr, EntryOut, InitIn, KstatfsOut } from './structs.ts'
import type { FileLock, Statx } from './structs-extended.ts'

declare const brand: unique symbol
/** Names an inode towards the guest; 1 is the root. At most 2^53-1, never reused within a session. */
export type NodeId = number & { readonly [brand]: 'NodeId' }
/** Names an open file or directory towards the guest. At most 2^53-1. */
export type FileHandle = number & { readonly [brand]: 'FileHandle' }

export const ROOT_NODE = 1 as NodeId

export type Awaitable<T> = T | Promise<T>

/** Who asks. Valid until the request is answered; the object is reused afterwards. */
export interface RequestContext {
  readonly opcode: number
  /** The caller's fsuid, fsgid and pid; 0 for requests that the guest kernel makes by itself. */
  readonly uid: number
  readonly gid: number
  readonly pid: number
  /** The caller's umask, which MKNOD, MKDIR, CREATE and TMPFILE carry; to be applied if DONT_MASK was agreed. */
  readonly umask: number
  /**
   * What the guest adds to a creating request if SECURITY_CTX or CREATE_SUPP_GROUP was agreed. To be asked for before the
   * method returns or awaits. Throws FuseProtocolError.
   */
  extensions(): RequestExtensions
  /**
   * Names the request among all of the guest's: one that comes again, because its answer was lost with an earlier process, has
   * the same. To be asked for before the method returns or awaits.
   */
  readonly unique?: number
}

/**
 * The data of a WRITE, still in guest memory. Valid until the request is answered. When the guest goes away in the
 * middle it becomes empty, so a handler that awaits before copying must compare the copied count with `byteLength`
 * as it was at the call.
 */
export interface RequestData {
  readonly byteLength: number
  /** Copies bytes [offset, offset + length) of the data to `target` at `targetOffset`; returns the count copied. */
  copyTo(target: Uint8Array, targetOffset?: number, offset?: number, length?: number): number
}

/** Where READ and other operations with a variable reply put their bytes: straight into guest memory, in order. */
export interface ReplyData {
  /** Room left, in bytes: at most what the guest asked for. */
  readonly room: number
  /** Appends bytes; what exceeds the room is not written. Returns the count written. */
  write(source: Uint8Array, offset?: number, length?: number): number
  /** Appends zeros; returns the count written. */
  fill(length: number): number
}

/** A listing being written. Both return false, and write nothing, when the entry no longer fits: stop there. */
export interface DirentSink {
  /**
   * Appends one name.
   * @param next cookie that continues after this entry: > 0, at most 2^53-1
   * @param type DT_*, that is mode >> 12
   */
  add(name: string, ino: number, type: number, next: number): boolean
}

export interface DirentPlusSink extends DirentSink {
  /**
   * Appends one name with its attributes. The entry's lookup count grows by one unless the name is `.` or `..` (which,
   * like entries without attributes, go through `add`): count only after this returned true.
   */
  addEntry(name: string, entry: EntryOut, next: number): boolean
}

export interface AttrReply {
  /** Seconds, and nanoseconds of the fraction, for which the guest may trust the attributes. */
  readonly attrValid: number
  readonly attrValidNsec: number
  readonly attr: Attr
}

export interface OpenReply {
  readonly fh: FileHandle
  /** FOPEN_* */
  readonly openFlags: number
}

export interface StatxReply {
  readonly attrValid: number
  readonly attrValidNsec: number
  readonly stat: Statx
}

/** How a lock is asked for. */
export interface LockOptions {
  /** Until it can be had; a guest cannot take the request back. */
  readonly wait: boolean
  /** A lock of flock(2), on the whole file. */
  readonly flock: boolean
}

/** What an ioctl came to. */
export interface IoctlReply {
  readonly result: number
  /** At most as many bytes as the caller has room for. */
  readonly data?: Uint8Array
}

export interface CreateReply {
  readonly entry: EntryOut
  readonly open: OpenReply
}

/** The members that are undefined are not to be changed. `now` means the host's present time. */
export interface SetattrChange {
  readonly valid: number
  readonly mode: number | undefined
  readonly uid: number | undefined
  readonly gid: number | undefined
  readonly size: number | undefined
  readonly atime: Timestamp | 'now' | undefined
  readonly mtime: Timestamp | 'now' | undefined
  readonly ctime: Timestamp | undefined
  readonly fh: FileHandle | undefined
  /** FATTR_KILL_SUIDGID was set. */
  readonly killSuidgid: boolean
}

export interface Timestamp {
  /** Seconds since the epoch, may be negative. */
  readonly sec: number
  /** 0..999999999 */
  readonly nsec: number
}

/** What the file system offers; the negotiation (init.ts) intersects it with the guest's offer and fills the rest. */
export interface InitOptions {
  /** FUSE_* flags wanted, bits 0..31. */
  readonly flags: number
  /** FUSE_* flags wanted, bits 32..63. */
  readonly flags2?: number
  /** Bytes per WRITE; default 1 MiB. */
  readonly maxWrite?: number
  /** Asynchronous requests in flight per mount; default 128. */
  readonly maxBackground?: number
  /** Timestamp granularity in nanoseconds; default 1. */
  readonly timeGran?: number
}

export interface FuseHandler {
  /** A new session begins: node ids, handles and locks of an earlier one mean nothing any more. */
  init(request: Readonly<InitIn>): InitOptions
  /** The guest unmounted. Also called, once, when the session ends in another way. */
  destroy?(): Awaitable<void>
  /**
   * Everything that a handler elsewhere needs to go on with the session: node ids with their lookup counts, handles. The guest
   * asks for nothing meanwhile, and may go on here afterwards.
   */
  save?(): Awaitable<Uint8Array>
  /** Begins a session, instead of `init`, from what `save` gave elsewhere. Fails if the bytes, which are untrusted, make no sense. */
  restore?(state: Uint8Array): Awaitable<void>
  /** Goes on with what a handler of another process wrote into the session's log, if it wrote anything; instead of `init`. */
  resume?(): Awaitable<void>

  /** A name within a directory. Raises the lookup count of the answer. `nodeid` 0 = does not exist, cacheable. */
  lookup?(ctx: RequestContext, parent: NodeId, name: string): Awaitable<EntryOut>
  /** Lowers the lookup count; never answered. */
  forget?(node: NodeId, nlookup: number): void
  getattr?(ctx: RequestContext, node: NodeId, fh: FileHandle | undefined): Awaitable<AttrReply>
  /** Attributes as statx(2) has them, birth time included; Linux asks only when a program wants what getattr lacks. */
  statx?(
    ctx: RequestContext,
    node: NodeId,
    fh: FileHandle | undefined,
    flags: number,
    mask: number,
  ): Awaitable<StatxReply>
  setattr?(ctx: RequestContext, node: NodeId, change: SetattrChange): Awaitable<AttrReply>
  readlink?(ctx: RequestContext, node: NodeId): Awaitable<string>
  symlink?(ctx: RequestContext, parent: NodeId, name: string, target: string): Awaitable<EntryOut>
  mknod?(ctx: RequestContext, parent: NodeId, name: string, mode: number, rdev: number): Awaitable<EntryOut>
  mkdir?(ctx: RequestContext, parent: NodeId, name: string, mode: number): Awaitable<EntryOut>
  unlink?(ctx: RequestContext, parent: NodeId, name: string): Awaitable<void>
  rmdir?(ctx: RequestContext, parent: NodeId, name: string): Awaitable<void>
  /** RENAME and RENAME2; `flags` are RENAME_NOREPLACE 1, RENAME_EXCHANGE 2, RENAME_WHITEOUT 4. */
  rename?(
    ctx: RequestContext,
    parent: NodeId,
    name: string,
    newParent: NodeId,
    newName: string,
    flags: number,
  ): Awaitable<void>
  link?(ctx: RequestContext, node: NodeId, newParent: NodeId, newName: string): Awaitable<EntryOut>
  /**
   * `flags` are those of open(2) in the guest, whose processor nothing in the protocol names. The access mode, O_CREAT, O_EXCL,
   * O_TRUNC, O_APPEND, O_NONBLOCK and O_SYNC have one number on x86-64, arm64 and RISC-V; O_DIRECT, O_DIRECTORY, O_NOFOLLOW and
   * O_LARGEFILE have others on arm64, among them each other's. The same for all operations with such `flags`.
   */
  open?(ctx: RequestContext, node: NodeId, flags: number, openFlags: number): Awaitable<OpenReply>
  create?(
    ctx: RequestContext,
    parent: NodeId,
    name: string,
    mode: number,
    flags: number,
    openFlags: number,
  ): Awaitable<CreateReply>
  /** A file in the directory that has no name, nlink 0; its node may get one by `link`. */
  tmpfile?(
    ctx: RequestContext,
    parent: NodeId,
    mode: number,
    flags: number,
    openFlags: number,
  ): Awaitable<CreateReply>
  /** Writes at most `size` bytes from `offset` into `out`; fewer means end of file. */
  read?(
    ctx: RequestContext,
    node: NodeId,
    fh: FileHandle,
    offset: number,
    size: number,
    out: ReplyData,
  ): Awaitable<void>
  /** Returns the count of bytes taken; `writeFlags` are FUSE_WRITE_*, `openFlags` those of the open file (O_DIRECT). */
  write?(
    ctx: RequestContext,
    node: NodeId,
    fh: FileHandle,
    offset: number,
    data: RequestData,
    writeFlags: number,
    openFlags: number,
  ): Awaitable<number>
  statfs?(ctx: RequestContext, node: NodeId): Awaitable<KstatfsOut>
  /** At every close(2); its error is the result of close. Drops the owner's POSIX locks, if locks were agreed. */
  flush?(ctx: RequestContext, node: NodeId, fh: FileHandle, lockOwner: bigint): Awaitable<void>
  fsync?(ctx: RequestContext, node: NodeId, fh: FileHandle, dataOnly: boolean): Awaitable<void>
  /** Once for each successful open or create; its error is seen by nobody. `flockOwner`: drops that owner's flock(2) lock. */
  release?(ctx: RequestContext, node: NodeId, fh: FileHandle, flockOwner: bigint | undefined): Awaitable<void>
  /** The lock that stands in the way of `lock`; one of type F_UNLCK (2) if none does. */
  getlk?(
    ctx: RequestContext,
    node: NodeId,
    fh: FileHandle,
    owner: bigint,
    lock: FileLock,
  ): Awaitable<FileLock>
  /** Sets a lock, or removes it: type F_UNLCK (2). EAGAIN when another stands in the way and `wait` is false. */
  setlk?(
    ctx: RequestContext,
    node: NodeId,
    fh: FileHandle,
    owner: bigint,
    lock: FileLock,
    options: LockOptions,
  ): Awaitable<void>
  /** `input` is what the caller passed in, `room` how many bytes it takes back. */
  ioctl?(
    ctx: RequestContext,
    node: NodeId,
    fh: FileHandle,
    command: number,
    argument: bigint,
    input: Uint8Array,
    room: number,
  ): Awaitable<IoctlReply>
  /** `flags` are XATTR_CREATE 1, XATTR_REPLACE 2; `setxattrFlags` FUSE_SETXATTR_*, 0 unless SETXATTR_EXT was agreed. */
  setxattr?(
    ctx: RequestContext,
    node: NodeId,
    name: string,
    value: Uint8Array,
    flags: number,
    setxattrFlags: number,
  ): Awaitable<void>
  getxattr?(ctx: RequestContext, node: NodeId, name: string): Awaitable<Uint8Array>
  listxattr?(ctx: RequestContext, node: NodeId): Awaitable<readonly string[]>
  removexattr?(ctx: RequestContext, node: NodeId, name: string): Awaitable<void>
  opendir?(ctx: RequestContext, node: NodeId, flags: number): Awaitable<OpenReply>
  /** Continues after `cookie`, 0 being the start; an empty listing means the end. */
  readdir?(
    ctx: RequestContext,
    node: NodeId,
    fh: FileHandle,
    cookie: number,
    out: DirentSink,
  ): Awaitable<void>
  readdirplus?(
    ctx: RequestContext,
    node: NodeId,
    fh: FileHandle,
    cookie: number,
    out: DirentPlusSink,
  ): Awaitable<void>
  releasedir?(ctx: RequestContext, node: NodeId, fh: FileHandle): Awaitable<void>
  fsyncdir?(ctx: RequestContext, node: NodeId, fh: FileHandle, dataOnly: boolean): Awaitable<void>
  access?(ctx: RequestContext, node: NodeId, mask: number): Awaitable<void>
  fallocate?(
    ctx: RequestContext,
    node: NodeId,
    fh: FileHandle,
    offset: number,
    length: number,
    mode: number,
  ): Awaitable<void>
  lseek?(ctx: RequestContext, node: NodeId, fh: FileHandle, offset: number, whence: number): Awaitable<number>
  copyFileRange?(
    ctx: RequestContext,
    node: NodeId,
    fh: FileHandle,
    offset: number,
    nodeOut: NodeId,
    fhOut: FileHandle,
    offsetOut: number,
    length: number,
  ): Awaitable<number>
  syncfs?(ctx: RequestContext, node: NodeId): Awaitable<void>
}
