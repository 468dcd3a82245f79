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
  type FuseHandler,
  InitFlags,
  type InitIn,
  type InitOptions,
  type KstatfsOut,
  NAME_MAX,
  type NodeId,
  type OpenReply,
  type ReplyData,
  type RequestContext,
  type RequestData,
  type SetattrChange,
} from '@ovfs/fuse-proto'
import type { Operator } from 'opendal'
import { AttributeChanges } from './attribute-changes.ts'
import { BlockCache } from './block-cache.ts'
import { CoarseClock } from './coarse-clock.ts'
import { Directories } from './directories.ts'
import { FileRanges } from './file-ranges.ts'
import { Files, O_EXCL, O_TRUNC } from './files.ts'
import { Handles } from './handles.ts'
import { type Inode, S_IFMT, S_IFREG } from './inode.ts'
import { InodeTable } from './inode-table.ts'
import { KeyNames } from './key-names.ts'
import { SharedLock } from './locks.ts'
import { Namespace } from './namespace.ts'
import { type OpendalFsOptions, type Settings, settingsOf } from './options.ts'
import { Publisher } from './publication.ts'
import { Renamer } from './rename.ts'
import { StagingBudget } from './staging-store.ts'
import { Storage } from './storage.ts'
import { Tree } from './tree.ts'

const BLOCK = 4096

export class OpendalFs implements FuseHandler {
  readonly #settings: Settings
  readonly #storage: Storage
  readonly #clock = new CoarseClock()
  readonly #table: InodeTable
  readonly #tree: Tree
  readonly #handles: Handles
  readonly #publisher: Publisher
  readonly #files: Files
  readonly #ranges: FileRanges
  readonly #directories: Directories
  readonly #namespace: Namespace
  readonly #renamer: Renamer
  readonly #attributes: AttributeChanges

  /** @param operator without retry or time-out layers: both are done here */
  constructor(operator: Operator, options: OpendalFsOptions) {
    const settings = settingsOf(options)
    const names = new SharedLock()
    // One ceiling: a quarter of it for what is not published yet.
    const staging = new StagingBudget(
      Math.floor(settings.cacheBytes / 4),
      settings.stagingBytes,
      settings.stagingDir,
    )
    const cache = new BlockCache(settings.cacheBytes - staging.limit)
    this.#settings = settings
    this.#storage = new Storage(operator, settings)
    this.#table = new InodeTable(settings)
    this.#tree = new Tree(
      this.#table,
      this.#storage,
      new KeyNames(settings.scheme),
      this.#clock,
      cache,
      settings,
    )
    this.#handles = new Handles(settings.maxHandles)
    this.#publisher = new Publisher(this.#tree, staging, names, settings)
    this.#files = new Files(this.#tree, this.#handles, this.#publisher, settings)
    this.#ranges = new FileRanges(this.#tree, this.#handles, this.#publisher, this.#files)
    this.#directories = new Directories(this.#tree, this.#handles, settings)
    this.#namespace = new Namespace(this.#tree, this.#publisher, names)
    this.#renamer = new Renamer(this.#tree, this.#namespace, names)
    this.#attributes = new AttributeChanges(this.#tree, this.#publisher, this.#files)
  }

  /** Publishes what is not published yet. Nothing may be asked of the file system afterwards. */
  async close(): Promise<void> {
    await this.destroy()
    this.#clock.stop()
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
        InitFlags.MAX_PAGES,
    }
  }

  async destroy(): Promise<void> {
    const inodes = this.#handles.closeAll()
    this.#directories.closeAll()
    this.#table.forgetAll()
    const outcomes = await Promise.allSettled(Array.from(inodes, async inode => this.#files.closed(inode)))
    await this.#publisher.publishAll()
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  }

  lookup(_ctx: RequestContext, parentId: NodeId, name: string): Awaitable<EntryOut> {
    const parent = this.#table.directory(parentId)
    const known = this.#tree.lookupNow(parent, name)
    if (known === undefined) return this.#lookup(parent, name)
    if (known.nodeid !== 0) (known as Inode).lookups++
    return known
  }

  async #lookup(parent: Inode, name: string): Promise<EntryOut> {
    const child = await this.#tree.child(parent, name)
    if (child === undefined) return this.#tree.absence(this.#settings.negativeTtlMs)
    return this.#entry(child)
  }

  /** The reply that tells the guest of an inode; it counts. */
  #entry(inode: Inode): Inode {
    inode.lookups++
    return this.#tree.stamp(inode, this.#clock.now())
  }

  forget(node: NodeId, nlookup: number): void {
    this.#table.forget(node, nlookup)
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

  async setattr(_ctx: RequestContext, node: NodeId, change: SetattrChange): Promise<AttrReply> {
    const inode = this.#table.get(node)
    await this.#attributes.apply(inode, change)
    return this.#tree.stamp(inode, this.#clock.now())
  }

  open(_ctx: RequestContext, node: NodeId, flags: number): Awaitable<OpenReply> {
    return this.#files.open(this.#table.get(node), flags)
  }

  async create(
    _ctx: RequestContext,
    parentId: NodeId,
    name: string,
    _mode: number,
    flags: number,
  ): Promise<CreateReply> {
    const parent = this.#writableDirectory(parentId)
    const existing = await this.#tree.child(parent, name)
    if (parent.removed) throw new FsError('ENOENT')
    if (existing !== undefined) {
      if ((flags & O_EXCL) !== 0) throw new FsError('EEXIST')
      const open = await this.#files.open(existing, flags)
      return { entry: this.#entry(existing), open }
    }
    const inode = this.#namespace.addFile(parent, name)
    const open = this.#files.opened(inode, flags & ~O_TRUNC)
    return { entry: this.#entry(inode), open }
  }

  /** Nobody will close it, so it is published at once. Other types than regular files cannot be kept. */
  async mknod(_ctx: RequestContext, parentId: NodeId, name: string, mode: number): Promise<EntryOut> {
    const parent = this.#writableDirectory(parentId)
    if ((mode & S_IFMT) !== S_IFREG && (mode & S_IFMT) !== 0) throw new FsError('EPERM')
    await this.#namespace.requireFree(parent, name)
    const inode = this.#namespace.addFile(parent, name)
    const entry = this.#entry(inode)
    try {
      await this.#publisher.publish(inode)
    } catch (error) {
      inode.lookups--
      this.#namespace.forgetName(inode)
      throw error
    }
    return entry
  }

  async mkdir(_ctx: RequestContext, parentId: NodeId, name: string): Promise<EntryOut> {
    const parent = this.#writableDirectory(parentId)
    return this.#entry(await this.#namespace.mkdir(parent, name))
  }

  async unlink(_ctx: RequestContext, parentId: NodeId, name: string): Promise<void> {
    await this.#namespace.unlink(this.#writableDirectory(parentId), name)
  }

  async rmdir(_ctx: RequestContext, parentId: NodeId, name: string): Promise<void> {
    await this.#namespace.rmdir(this.#writableDirectory(parentId), name)
  }

  async rename(
    _ctx: RequestContext,
    parentId: NodeId,
    name: string,
    newParentId: NodeId,
    newName: string,
    flags: number,
  ): Promise<void> {
    const parent = this.#writableDirectory(parentId)
    await this.#renamer.rename(parent, name, this.#writableDirectory(newParentId), newName, flags)
  }

  #writableDirectory(node: NodeId): Inode {
    const directory = this.#table.directory(node)
    if (this.#storage.readOnly) throw new FsError('EROFS')
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
    _ctx: RequestContext,
    _node: NodeId,
    fh: FileHandle,
    offset: number,
    data: RequestData,
  ): Awaitable<number> {
    return this.#files.write(fh, offset, data)
  }

  flush(_ctx: RequestContext, _node: NodeId, fh: FileHandle): Awaitable<void> {
    return this.#files.flush(fh)
  }

  fsync(_ctx: RequestContext, _node: NodeId, fh: FileHandle): Awaitable<void> {
    return this.#files.fsync(fh)
  }

  release(_ctx: RequestContext, _node: NodeId, fh: FileHandle): Awaitable<void> {
    return this.#files.release(fh)
  }

  fallocate(
    _ctx: RequestContext,
    _node: NodeId,
    fh: FileHandle,
    offset: number,
    length: number,
    mode: number,
  ): Awaitable<void> {
    return this.#ranges.fallocate(fh, offset, length, mode)
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

  opendir(_ctx: RequestContext, node: NodeId): OpenReply {
    return this.#directories.open(this.#table.directory(node))
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
  fsyncdir(_ctx: RequestContext, node: NodeId): Awaitable<void> {
    return this.#publisher.publishBelow(this.#table.directory(node))
  }

  syncfs(): Promise<void> {
    return this.#publisher.publishAll()
  }

  /** No service says how much room there is: the user's figure, all of it free. */
  statfs(): KstatfsOut {
    const blocks = Math.floor(this.#settings.capacityBytes / BLOCK)
    const files = 2 ** 32
    return {
      blocks,
      bfree: blocks,
      bavail: blocks,
      files,
      ffree: files - Math.min(files, this.#table.count),
      bsize: BLOCK,
      namelen: NAME_MAX,
      frsize: BLOCK,
    }
  }
}
