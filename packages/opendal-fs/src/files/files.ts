// Open files: reading through the cache, writing into the unpublished state, and the moments at which that is published. What
// memory can answer is answered without a promise.

import {
  type Awaitable,
  type FileHandle,
  FOPEN_KEEP_CACHE,
  FsError,
  FUSE_WRITE_KILL_SUIDGID,
  type OpenReply,
  type ReplyData,
  type RequestData,
} from '@ovfs/fuse-proto'
import type { NameJournal } from '../journal/name-journal.ts'
import { FOREVER, type Inode } from '../names/inode.ts'
import type { SharedLock } from '../names/locks.ts'
import type { Tree } from '../names/tree.ts'
import type { Settings } from '../options.ts'
import { isVersionLost } from '../storage/storage-error.ts'
import { isVersionBlind } from '../storage/version.ts'
import type { Publisher } from '../writes/publication.ts'
import type { Handles, OpenFile } from './handles.ts'
import { ReadAhead } from './read-ahead.ts'

// The values of the guest's architecture, the same on all that Linux runs virtio-fs on.
const O_ACCMODE = 0o3
const O_RDONLY = 0
export const O_EXCL = 0o200
export const O_TRUNC = 0o1000
/** O_DIRECT of x86 and of arm64. On each, the other one's bit is O_DIRECTORY, which a file that is open for writing never has. */
const O_DIRECT = 0x4000 | 0x1_0000

/** An open comes right after the lookup that led to it; attributes younger than this were fetched for this very open. */
const LOOKUP_TO_OPEN_MS = 50
/** Reads that find another version than the one they began with start over on that, so often. */
const READ_ATTEMPTS = 3

export class Files {
  readonly #tree: Tree
  readonly #handles: Handles
  readonly #publisher: Publisher
  readonly #settings: Settings
  readonly #journal: NameJournal
  /** Held while looking at an object, so that its directory is not moved meanwhile. */
  readonly #names: SharedLock

  constructor(
    tree: Tree,
    handles: Handles,
    publisher: Publisher,
    settings: Settings,
    journal: NameJournal,
    names: SharedLock,
  ) {
    this.#names = names
    this.#tree = tree
    this.#handles = handles
    this.#publisher = publisher
    this.#settings = settings
    this.#journal = journal
  }

  /** Close-to-open: what another host had published before this open is what this open shows. */
  open(inode: Inode, flags: number, request?: number): Awaitable<OpenReply> {
    if (inode.file === undefined) throw new FsError('EISDIR')
    // The guest's kernel follows links and opens pipes and devices itself.
    if (inode.kind === 'special') throw new FsError('ENXIO')
    const writes = (flags & O_ACCMODE) !== O_RDONLY || (flags & O_TRUNC) !== 0
    if (writes && this.#tree.storage.readOnly) throw new FsError('EROFS')
    if (inode.attrUntil === FOREVER || this.#justAsked(inode)) return this.opened(inode, flags, request)
    return this.#tree.revalidate(inode).then(() => this.opened(inode, flags, request))
  }

  #justAsked(inode: Inode): boolean {
    const age = this.#tree.clock.now() - (inode.attrUntil - this.#settings.attrTtlMs)
    return age <= LOOKUP_TO_OPEN_MS
  }

  opened(inode: Inode, flags: number, request?: number): OpenReply {
    const file = inode.file!
    if (inode.removed && inode.opens === 0) throw new FsError('ESTALE', 'the file has been removed')
    const readAhead = new ReadAhead(this.#tree.cache)
    const writable = (flags & O_ACCMODE) !== O_RDONLY
    const opened = file.shown.number
    const fh = this.#handles.addFile({ inode, writable, readAhead, opened, request })
    if ((flags & O_TRUNC) !== 0) {
      if (inode.attr.size > 0) this.truncate(inode, 0)
      // open(2): O_TRUNC marks the times, also if there was nothing to cut.
      else this.#tree.attributes.markModified(inode)
    } else if (file.dirty === undefined && inode.opens === 1 && isVersionBlind(file.info!)) {
      this.#tree.dropContent(inode)
    }
    // With unpublished changes all news came from this guest itself.
    const version = file.dirty === undefined ? this.#tree.content(inode) : file.seenByGuest
    const keepsPages = file.seenByGuest === version
    file.seenByGuest = version
    if (keepsPages) this.#tree.shows(inode)
    return { fh, openFlags: keepsPages ? FOPEN_KEEP_CACHE : 0 }
  }

  read(fh: FileHandle, offset: number, size: number, out: ReplyData): Awaitable<void> {
    const handle = this.#handles.file(fh)
    requireCurrent(handle)
    const { inode } = handle
    const { dirty } = inode.file!
    if (dirty !== undefined) {
      const end = Math.min(offset + size, dirty.size)
      if (offset >= end) return undefined
      this.#tree.shows(inode)
      const waiting = dirty.read(offset, end, out)
      return waiting === undefined ? undefined : this.#settle(waiting, handle, offset, size, out)
    }
    const content = this.#tree.content(inode)
    const end = Math.min(offset + size, content.size)
    if (offset >= end) return undefined
    if (this.#tree.cache.readNow(content, offset, end, out)) {
      this.#tree.shows(inode)
      handle.readAhead.observe(content, offset, end, false)
      return undefined
    }
    return this.#settle(this.#readSlowly(handle, offset, size, out), handle, offset, size, out)
  }

  async #readSlowly(handle: OpenFile, offset: number, size: number, out: ReplyData): Promise<void> {
    const { inode } = handle
    await this.#tree.refresh(inode)
    // Anything may have happened while we asked.
    requireCurrent(handle)
    const { dirty, shown } = inode.file!
    const { number } = shown
    if (dirty !== undefined) {
      const end = Math.min(offset + size, dirty.size)
      if (offset < end) await dirty.read(offset, end, out)
      this.#tree.shows(inode)
      return
    }
    const content = this.#tree.content(inode)
    const end = Math.min(offset + size, content.size)
    if (offset >= end) return
    const reading = this.#tree.cache.read(content, offset, end, out)
    handle.readAhead.observe(content, offset, end, true)
    await reading
    // The version was replaced while its bytes were fetched; a later read would return bytes of another version.
    if (shown.number !== number) throw staleError()
    this.#tree.shows(inode)
  }

  /** Starts the read again if its version is gone, unless the guest has bytes of that version. */
  async #settle(
    reading: Promise<void>,
    handle: OpenFile,
    offset: number,
    size: number,
    out: ReplyData,
  ): Promise<void> {
    const { inode } = handle
    const { room } = out
    for (let attempt = 1; ; attempt++) {
      try {
        return await reading
      } catch (error) {
        if (!isVersionLost(error) || attempt === READ_ATTEMPTS || out.room !== room || inode.removed)
          throw error
      }
      // The locks wait for a publication that is storing a new version, and for a rename that is moving the object.
      await this.#names.shared(() => inode.file!.lock.run(() => this.#tree.revalidate(inode)))
      reading = this.#readSlowly(handle, offset, size, out)
    }
  }

  /**
   * @param openFlags of the open file, as in open(2)
   * @param group the caller's
   */
  write(
    fh: FileHandle,
    offset: number,
    data: RequestData,
    writeFlags = 0,
    openFlags = 0,
    group?: number,
  ): Awaitable<number> {
    const handle = this.#handles.file(fh)
    const { inode, writable } = handle
    if (!writable) throw new FsError('EBADF')
    requireKept(handle)
    if (offset + data.byteLength > this.#tree.storage.largestFile) throw new FsError('EFBIG')
    const growth = offset + data.byteLength - inode.attr.size
    if (this.#publisher.usage.limited && growth > 0 && !inode.removed) {
      const counting = this.#publisher.usage.ready()
      if (counting !== undefined)
        return counting.then(() => this.write(fh, offset, data, writeFlags, openFlags, group))
      this.#publisher.usage.requireBytes(growth)
    }
    if (inode.privileged)
      this.#tree.attributes.killPrivileges(inode, (writeFlags & FUSE_WRITE_KILL_SUIDGID) !== 0, group)
    if ((openFlags & O_DIRECT) !== 0) inode.file!.directWrite = this.#tree.clock.now()
    const dirty = this.#publisher.dirty(inode)
    this.#tree.shows(inode)
    const written = dirty.write(offset, data)
    if (typeof written === 'number') {
      this.#publisher.showDirty(inode)
      return written
    }
    return written.then(count => {
      this.#publisher.showDirty(inode)
      return count
    })
  }

  /** To be called when the count of what there is is ready. */
  truncate(inode: Inode, size: number): void {
    if (size > this.#tree.storage.largestFile) throw new FsError('EFBIG')
    if (!inode.removed) this.#publisher.usage.requireBytes(size - inode.attr.size)
    this.#publisher.dirty(inode).truncate(size)
    this.#publisher.showDirty(inode)
  }

  /** Makes [offset, end) read as zeros and the file at least `size` long. */
  zero(inode: Inode, offset: number, end: number, size: number): Awaitable<void> {
    if (offset >= inode.attr.size && size === inode.attr.size) return undefined
    if (!inode.removed) this.#publisher.usage.requireBytes(size - inode.attr.size)
    const dirty = this.#publisher.dirty(inode)
    const punched = () => {
      if (size > dirty.size) dirty.truncate(size)
      this.#publisher.showDirty(inode)
    }
    const waiting = dirty.punch(offset, end)
    return waiting === undefined ? punched() : waiting.then(punched)
  }

  /** At every close(2). A reader's close does not publish what a writer is in the middle of. */
  flush(fh: FileHandle): Awaitable<void> {
    const handle = this.#handles.file(fh)
    if (!handle.writable) return requireKept(handle)
    return this.#kept(handle, () => this.#publisher.settle(handle.inode))
  }

  fsync(fh: FileHandle): Awaitable<void> {
    const handle = this.#handles.file(fh)
    return this.#kept(handle, () => this.#publisher.publish(handle.inode))
  }

  /** A handle's bytes may be lost while it waits for another's publication of the same file. */
  #kept(handle: OpenFile, publish: () => Awaitable<void>): Awaitable<void> {
    requireKept(handle)
    return publish()?.then(() => requireKept(handle))
  }

  release(fh: FileHandle): Awaitable<void> {
    if (this.#handles.wasClosed(fh)) return undefined
    return this.closed(this.#handles.closeFile(fh).inode)
  }

  /** To be called when a handle of the file has been closed. */
  closed(inode: Inode): Awaitable<void> {
    if (inode.opens > 0) return undefined
    if (!inode.removed) return this.#publisher.released(inode) ?? this.#tree.table.drop(inode)
    const file = inode.file!
    const { detachedKey } = file
    file.detachedKey = undefined
    this.#publisher.discard(inode)
    this.#tree.dropContent(inode)
    this.#tree.table.drop(inode)
    return detachedKey === undefined ? undefined : this.#journal.deleteAside(this.#tree.storage, detachedKey)
  }
}

/** @throws ESTALE if another client has replaced a version of which the guest has bytes, since the handle was opened */
function requireCurrent({ inode, opened }: OpenFile): void {
  if (inode.file!.shown.isStale(opened)) throw staleError()
}

function staleError(): FsError {
  return new FsError('ESTALE', 'another client has replaced the file since it was opened')
}

/** @throws what the handle's writes were lost to */
function requireKept({ failure }: OpenFile): void {
  if (failure !== undefined) throw failure
}
