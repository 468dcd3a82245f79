// The file system as the FUSE dispatcher sees it: one method per operation. Each finds the inode or handle that it is about and
// lets the part answer that knows: tree (names, attributes), files, directories, namespace, renamer.

import {
  type AttrReply,
  type Awaitable,
  type CreateReply,
  type DirentPlusSink,
  type DirentSink,
  type EntryOut,
  type FileHandle,
  FsError,
  FUSE_OPEN_KILL_SUIDGID,
  type FuseHandler,
  InitFlags,
  type InitIn,
  type InitOptions,
  type KstatfsOut,
  type NodeId,
  type OpenReply,
  type ReplyData,
  type RequestContext,
  type RequestData,
  type SetattrChange,
} from '@ovfs/fuse-proto'
import type { AttributeChanges } from './attributes/attribute-changes.ts'
import type { ExtendedAttributes } from './attributes/extended-attributes.ts'
import { CoarseClock } from './coarse-clock.ts'
import type { FileRanges } from './files/file-ranges.ts'
import { type Files, O_TRUNC } from './files/files.ts'
import type { Handles } from './files/handles.ts'
import { Replay, type ReplayReport } from './journal/replay.ts'
import type { Creation } from './names/creation.ts'
import type { Directories } from './names/directories.ts'
import type { Inode } from './names/inode.ts'
import type { InodeTable } from './names/inode-table.ts'
import type { NameChanges } from './names/name-changes.ts'
import type { Tree } from './names/tree.ts'
import { type OpendalFsOptions, type Settings, settingsOf } from './options.ts'
import { partsOf } from './parts.ts'
import type { KeptFileSystem } from './session/kept-file-system.ts'
import type { SessionTransfer } from './session/session-transfer.ts'
import type { Operator } from './storage/binding.ts'
import { ConflictError } from './writes/conflict.ts'
import type { Publisher } from './writes/publication.ts'

export class OpendalFs implements FuseHandler {
  readonly #settings: Settings
  readonly #clock = new CoarseClock()
  readonly #table: InodeTable
  readonly #tree: Tree
  readonly #handles: Handles
  readonly #publisher: Publisher
  readonly #files: Files
  readonly #ranges: FileRanges
  readonly #directories: Directories
  readonly #names: NameChanges
  readonly #creation: Creation
  readonly #attributes: AttributeChanges
  readonly #xattrs: ExtendedAttributes
  readonly #sessions: SessionTransfer
  readonly #kept: KeptFileSystem | undefined
  /** A file lost its changes at the end of a session, when no guest could be told. */
  #untold: ConflictError | undefined

  /** @param operator without retry or time-out layers: both are done here */
  constructor(operator: Operator, options: OpendalFsOptions) {
    this.#settings = settingsOf(options)
    const parts = partsOf(operator, this.#settings, this.#clock)
    this.#table = parts.table
    this.#tree = parts.tree
    this.#handles = parts.handles
    this.#publisher = parts.publisher
    this.#files = parts.files
    this.#ranges = parts.ranges
    this.#directories = parts.directories
    this.#names = parts.names
    this.#creation = parts.creation
    this.#attributes = parts.attributes
    this.#xattrs = parts.xattrs
    this.#sessions = parts.sessions
    this.#kept = parts.kept
  }

  /**
   * Finishes what the journal of an earlier file system says, and takes over what that one's guest holds. To be called before
   * anything is asked of this one. If it rejects, the journal and the log still have it all: as a StateError DAMAGED if the log
   * of the session makes no sense, and then this file system is of no use.
   */
  async replay(): Promise<ReplayReport | undefined> {
    const { state } = this.#settings
    const session = await this.#kept?.build()
    let report: ReplayReport | undefined
    if (state !== undefined && !this.#tree.storage.readOnly)
      report = await new Replay(state, this.#tree.storage, this.#tree.names, this.#settings, session).run()
    await this.#kept?.settle()
    return report
  }

  /** The session goes on, by what `replay` has taken over. */
  resume(): void {
    this.#kept?.begin()
  }

  /**
   * Publishes what is not published yet; what cannot be is left to the journal if there is one. Nothing may be asked of the
   * file system afterwards.
   */
  async close(): Promise<void> {
    try {
      // A session that survives has not ended: the next process has its handles.
      await (this.#kept?.isLive ? this.syncfs() : this.destroy())
      if (this.#untold !== undefined) throw this.#untold
    } finally {
      await this.#publisher.saveAll()
      this.#kept?.close()
      this.#clock.stop()
    }
  }

  /** Paths of the files that hold data which is not in the storage, sorted. Allowed after `close` too. */
  unpublished(): readonly string[] {
    return this.#publisher.unpublished()
  }

  init(_request: Readonly<InitIn>): InitOptions {
    // A guest that went away without a word has left its files open; what it wrote is published all the same.
    this.destroy().catch(this.#settings.onError)
    return {
      flags:
        InitFlags.ASYNC_READ |
        InitFlags.ATOMIC_O_TRUNC |
        InitFlags.BIG_WRITES |
        InitFlags.AUTO_INVAL_DATA |
        InitFlags.DO_READDIRPLUS |
        InitFlags.READDIRPLUS_AUTO |
        InitFlags.ASYNC_DIO |
        InitFlags.PARALLEL_DIROPS |
        InitFlags.CACHE_SYMLINKS |
        InitFlags.HANDLE_KILLPRIV_V2 |
        InitFlags.MAX_PAGES,
    }
  }

  async destroy(): Promise<void> {
    try {
      await this.#endSession()
    } catch (error) {
      if (error instanceof ConflictError) this.#untold = error
      throw error
    }
  }

  async #endSession(): Promise<void> {
    this.#kept?.end()
    const inodes = this.#handles.closeAll()
    this.#directories.closeAll()
    this.#table.forgetAll()
    const outcomes = await Promise.allSettled(Array.from(inodes, async inode => this.#files.closed(inode)))
    await this.syncfs()
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  }

  /** What the guest holds, for another file system over the same storage; what is unpublished is published first. */
  save(): Promise<Uint8Array> {
    return this.#sessions.save()
  }

  restore(state: Uint8Array): Promise<void> {
    return this.#sessions.restore(state)
  }

  lookup(_ctx: RequestContext, parentId: NodeId, name: string): Awaitable<EntryOut> {
    const parent = this.#table.directory(parentId)
    const known = this.#tree.lookupNow(parent, name)
    if (known === undefined) return this.#lookup(parent, name)
    if (known.nodeid !== 0) this.#table.tell(known as Inode)
    return known
  }

  async #lookup(parent: Inode, name: string): Promise<EntryOut> {
    const child = await this.#tree.child(parent, name)
    if (child === undefined) return this.#tree.absence(this.#settings.negativeTtlMs)
    return this.#tree.entry(child)
  }

  forget(node: NodeId, nlookup: number): void {
    if (this.#kept === undefined) this.#table.forget(node, nlookup)
    else this.#kept.forget(node, nlookup)
  }

  getattr(_ctx: RequestContext, node: NodeId, _fh: FileHandle | undefined): Awaitable<AttrReply> {
    const inode = this.#table.get(node)
    const now = this.#clock.now()
    return inode.attrUntil > now ? this.#tree.stamp(inode, now) : this.#getattr(inode)
  }

  async #getattr(inode: Inode): Promise<AttrReply> {
    await this.#tree.revalidate(inode)
    return this.#tree.stamp(inode, this.#clock.now())
  }

  async setattr(ctx: RequestContext, node: NodeId, change: SetattrChange): Promise<AttrReply> {
    const inode = this.#table.get(node)
    await this.#attributes.apply(inode, change, ctx.gid)
    return this.#tree.stamp(inode, this.#clock.now())
  }

  readlink(_ctx: RequestContext, node: NodeId): string {
    const { target } = this.#table.get(node)
    if (target === undefined) throw new FsError('EINVAL')
    return target
  }

  symlink(ctx: RequestContext, parent: NodeId, name: string, target: string): Promise<EntryOut> {
    return this.#creation.symlink(ctx, this.#writableDirectory(parent), name, target)
  }

  open(ctx: RequestContext, node: NodeId, flags: number, openFlags = 0): Awaitable<OpenReply> {
    const inode = this.#table.get(node)
    if ((flags & O_TRUNC) !== 0 && inode.privileged && !this.#tree.storage.readOnly)
      this.#tree.attributes.killPrivileges(inode, (openFlags & FUSE_OPEN_KILL_SUIDGID) !== 0, ctx.gid)
    return this.#files.open(inode, flags, ctx.unique)
  }

  create(
    ctx: RequestContext,
    parent: NodeId,
    name: string,
    mode: number,
    flags: number,
  ): Promise<CreateReply> {
    return this.#creation.create(ctx, this.#writableDirectory(parent), name, mode, flags)
  }

  mknod(ctx: RequestContext, parent: NodeId, name: string, mode: number, rdev: number): Promise<EntryOut> {
    return this.#creation.mknod(ctx, this.#writableDirectory(parent), name, mode, rdev)
  }

  mkdir(ctx: RequestContext, parent: NodeId, name: string, mode: number): Promise<EntryOut> {
    return this.#creation.mkdir(ctx, this.#writableDirectory(parent), name, mode)
  }

  async unlink(ctx: RequestContext, parent: NodeId, name: string): Promise<void> {
    await this.#names.unlink(ctx, this.#writableDirectory(parent), name)
  }

  async rmdir(ctx: RequestContext, parent: NodeId, name: string): Promise<void> {
    await this.#names.rmdir(ctx, this.#writableDirectory(parent), name)
  }

  async rename(
    ctx: RequestContext,
    parentId: NodeId,
    name: string,
    newParentId: NodeId,
    newName: string,
    flags: number,
  ): Promise<void> {
    const parent = this.#writableDirectory(parentId)
    const newParent = this.#writableDirectory(newParentId)
    await this.#names.rename(ctx, { parent, name, newParent, newName, flags })
  }

  #writableDirectory(node: NodeId): Inode {
    const directory = this.#table.directory(node)
    if (this.#tree.storage.readOnly) throw new FsError('EROFS')
    return directory
  }

  read(
    _ctx: RequestContext,
    _node: NodeId,
    fh: FileHandle,
    offset: number,
    size: number,
    out: ReplyData,
  ): Awaitable<void> {
    return this.#files.read(fh, offset, size, out)
  }

  write(
    ctx: RequestContext,
    _node: NodeId,
    fh: FileHandle,
    offset: number,
    data: RequestData,
    writeFlags = 0,
    openFlags = 0,
  ): Awaitable<number> {
    return this.#files.write(fh, offset, data, writeFlags, openFlags, ctx.gid)
  }

  flush(_ctx: RequestContext, node: NodeId, fh: FileHandle): Awaitable<void> {
    return this.#settle(this.#files.flush(fh), this.#table.get(node), false)
  }

  fsync(_ctx: RequestContext, node: NodeId, fh: FileHandle): Awaitable<void> {
    return this.#settle(this.#files.fsync(fh), this.#table.get(node), true)
  }

  /** The attributes after the bytes: the times that are kept belong to a version. */
  #settle(published: Awaitable<void>, inode: Inode, everything: boolean): Awaitable<void> {
    const { attributes } = this.#tree
    if (published === undefined) return attributes.settle(inode, everything)
    return published.then(() => attributes.settle(inode, everything))
  }

  getxattr(_ctx: RequestContext, node: NodeId, name: string): Awaitable<Uint8Array> {
    return this.#xattrs.get(this.#table.get(node), name)
  }

  listxattr(_ctx: RequestContext, node: NodeId): Promise<readonly string[]> {
    return this.#xattrs.list(this.#table.get(node))
  }

  setxattr(ctx: RequestContext, node: NodeId, name: string, value: Uint8Array, flags: number): Promise<void> {
    return this.#xattrs.set(ctx, this.#table.get(node), name, value, flags)
  }

  removexattr(ctx: RequestContext, node: NodeId, name: string): Promise<void> {
    return this.#xattrs.remove(ctx, this.#table.get(node), name)
  }

  release(_ctx: RequestContext, _node: NodeId, fh: FileHandle): Awaitable<void> {
    return this.#files.release(fh)
  }

  fallocate(
    ctx: RequestContext,
    _node: NodeId,
    fh: FileHandle,
    offset: number,
    length: number,
    mode: number,
  ): Awaitable<void> {
    return this.#ranges.fallocate(ctx, fh, offset, length, mode)
  }

  lseek(_ctx: RequestContext, _node: NodeId, fh: FileHandle, offset: number, whence: number): number {
    return this.#ranges.lseek(fh, offset, whence)
  }

  copyFileRange(
    _ctx: RequestContext,
    _node: NodeId,
    fh: FileHandle,
    offset: number,
    _nodeOut: NodeId,
    fhOut: FileHandle,
    offsetOut: number,
    length: number,
  ): Promise<number> {
    return this.#ranges.copy(fh, offset, fhOut, offsetOut, length)
  }

  opendir(ctx: RequestContext, node: NodeId): OpenReply {
    return this.#directories.open(this.#table.directory(node), ctx.unique)
  }

  readdir(
    _ctx: RequestContext,
    _node: NodeId,
    fh: FileHandle,
    cookie: number,
    out: DirentSink,
  ): Awaitable<void> {
    return this.#directories.read(fh, cookie, out)
  }

  readdirplus(
    _ctx: RequestContext,
    _node: NodeId,
    fh: FileHandle,
    cookie: number,
    out: DirentPlusSink,
  ): Awaitable<void> {
    return this.#directories.readPlus(fh, cookie, out)
  }

  releasedir(_ctx: RequestContext, _node: NodeId, fh: FileHandle): void {
    this.#directories.close(fh)
  }

  /** Names are in the storage as soon as they are answered; those of new files once the files are. */
  async fsyncdir(_ctx: RequestContext, node: NodeId): Promise<void> {
    const directory = this.#table.directory(node)
    await this.#publisher.publishBelow(directory)
    const { attributes } = this.#tree
    await Promise.all([attributes.settleBelow(directory), attributes.settle(directory, true)])
  }

  async syncfs(): Promise<void> {
    await this.#publisher.publishAll()
    await this.#tree.attributes.settleAll()
  }

  statfs(): Awaitable<KstatfsOut> {
    const { usage } = this.#publisher
    return usage.ready()?.then(() => usage.statfs(this.#table.count)) ?? usage.statfs(this.#table.count)
  }
}
