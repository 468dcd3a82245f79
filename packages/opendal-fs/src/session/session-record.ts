// Writes down what a guest holds and what the storage does not have yet, each change before the guest is told of it, so that
// another process can go on when this one is killed. A kill between two entries must err on the harmless side: a node that was
// looked up once too often, a handle that nobody knows.

import { type FileHandle, type LogSlot, NO_SLOT, type SessionLog } from '@ovfs/fuse-proto'
import { toPlain } from '../attributes/attribute-entry.ts'
import type { ChangeRecord, SidecarChange } from '../attributes/sidecar.ts'
import type { Time } from '../attributes/time.ts'
import type { Handles, OpenDirectory, OpenFile } from '../files/handles.ts'
import type { Inode } from '../names/inode.ts'
import type { InodeTable } from '../names/inode-table.ts'
import type { Listing } from '../names/listing.ts'
import type { DirtyRecord } from '../writes/dirty-record.ts'
import { isKept, type StagingPage } from '../writes/staging-pages.ts'
import {
  Kind,
  type LoggedAttempt,
  type LoggedAttributes,
  type LoggedDirectory,
  type LoggedDirty,
  type LoggedFile,
  type LoggedNode,
  type LoggedShown,
} from './log-entries.ts'

export class SessionRecord {
  readonly #log: SessionLog
  readonly #table: InodeTable
  readonly #handles: Handles
  readonly #files = new Map<Inode, FileRecord>()
  /** Listings that somebody is in the middle of. */
  readonly #listings = new Map<Listing, number>()
  readonly #attempts = new Map<number, LoggedAttempt>()
  #lastListing = 0

  constructor(log: SessionLog, table: InodeTable, handles: Handles) {
    this.#log = log
    this.#table = table
    this.#handles = handles
    log.addWriter(() => this.#writeAll())
  }

  /** What `task` changes without waiting is there for another process all together, or not at all. */
  together<T>(task: () => T): T {
    return this.#log.together(task)
  }

  // Nodes

  /** The guest has been told of the inode once more, or has forgotten it. */
  counted(inode: Inode): void {
    if (inode.logSlot === NO_SLOT) this.#node(inode)
    else this.#log.setFirst(inode.logSlot, inode.lookups)
  }

  /** The inode has another name now, or none. */
  named(inode: Inode): void {
    if (inode.logSlot !== NO_SLOT) this.#node(inode)
  }

  #known(inode: Inode): void {
    if (inode.logSlot === NO_SLOT && inode !== this.#table.root) this.#node(inode)
  }

  #node(inode: Inode): void {
    const { nodeid, parent, name, attr, segment, target, lost, lookups, file, directory } = inode
    if (parent !== undefined) this.#known(parent)
    const node: LoggedNode = {
      id: nodeid,
      parent: parent?.nodeid ?? 0,
      name,
      mode: attr.mode,
      ...(segment !== undefined && { segment }),
      ...(target !== undefined && { target }),
      ...(lost && { lost }),
      ...(file?.detachedKey !== undefined && { aside: file.detachedKey }),
      ...(directory?.marked === true && { marked: true }),
    }
    inode.logSlot = this.#log.append(Kind.NODE, node, lookups)
  }

  // Handles

  openedFile({ fh, inode, writable, opened, request }: OpenFile): void {
    this.#known(inode)
    const isStale = inode.file?.shown.isStale(opened) === true
    const entry: LoggedFile = {
      fh: fh!,
      node: inode.nodeid,
      writable,
      ...(isStale && { stale: true as const }),
      ...(isNumber(request) && { request }),
    }
    this.#log.append(Kind.FILE, entry)
  }

  openedDirectory(directory: OpenDirectory): void {
    this.#known(directory.inode)
    this.#directory(directory)
  }

  closed(fh: FileHandle): void {
    this.#log.append(Kind.CLOSED, undefined, fh)
  }

  /** Its writes are lost: it says so at each close and fsync. */
  failed({ fh, failure }: OpenFile): void {
    if (failure !== undefined) this.#log.append(Kind.FAILED, [failure.code, failure.message], fh)
  }

  /** The guest has bytes of the file, and this is its version. */
  shown(inode: Inode): void {
    const { info, shown } = inode.file!
    if (!shown.isShown || inode.logSlot === NO_SLOT) return
    const entry: LoggedShown = {
      node: inode.nodeid,
      ...(info !== undefined && { version: { size: info.size, etag: info.etag, mtime: info.mtime } }),
    }
    this.#log.append(Kind.SHOWN, entry)
  }

  /** Another client has replaced the file: handles may be stale now. */
  replaced(inode: Inode): void {
    if (inode.logSlot === NO_SLOT) return
    const entry: LoggedShown = { node: inode.nodeid }
    this.#log.append(Kind.SHOWN, entry)
    for (const file of this.#handles.files.values()) if (file.inode === inode) this.openedFile(file)
  }

  /**
   * A reader is about to be given entries of a listing.
   * @param isDone it needs to know of no entry any more: it is given all of them at once, or nothing
   */
  reads(directory: OpenDirectory, isDone: boolean): void {
    const progress = isDone ? 'done' : directory.listing
    if (directory.logged === progress) return
    directory.logged = progress
    if (progress !== 'done' && progress !== undefined && !this.#listings.has(progress)) {
      const id = ++this.#lastListing
      this.#listings.set(progress, id)
      progress.onAppend = name => this.#log.append(Kind.LISTED, [id, name])
      this.#listing(id, namesOf(progress))
    }
    this.#directory(directory)
  }

  /** Nobody reads it any more. */
  letGo(listing: Listing): void {
    this.#listings.delete(listing)
    listing.onAppend = undefined
  }

  #listing(id: number, names: readonly string[]): void {
    this.#log.append(Kind.LISTING, [id, names])
  }

  #directory({ fh, inode, logged, begun, request }: OpenDirectory): void {
    let listing = logged === 'done' ? logged : logged && this.#listings.get(logged)
    if (begun !== undefined) {
      listing = ++this.#lastListing
      this.#listing(listing, begun)
    }
    const entry: LoggedDirectory = {
      fh: fh!,
      node: inode.nodeid,
      ...(listing !== undefined && { listing }),
      ...(isNumber(request) && { request }),
    }
    this.#log.append(Kind.DIRECTORY, entry)
  }

  // Unpublished changes

  /** For the changes of a file that has none yet. */
  file(inode: Inode): DirtyRecord {
    this.#known(inode)
    const file = new FileRecord(this.#log, inode, () => this.dirty(inode))
    this.#files.set(inode, file)
    return file
  }

  /** Everything about a file's unpublished changes, if it has some. */
  dirty(inode: Inode): void {
    const { dirty, info, exists, replaced } = inode.file!
    const file = this.#files.get(inode)
    if (dirty === undefined || file === undefined) return
    file.interrupt()
    const entry: LoggedDirty = {
      ...dirty.state,
      node: inode.nodeid,
      attr: inode.attr,
      ...(inode.xattrs !== undefined && {
        xattrs: Array.from(
          inode.xattrs,
          ([name, value]) => [name, Buffer.from(value).toString('base64')] as const,
        ),
      }),
      ...(info !== undefined && { info }),
      exists,
      ...(replaced !== undefined && { replaced }),
      ...(file.publishing !== undefined && { publishing: file.publishing }),
    }
    if (entry.pages.every(([, place]) => isKept(place))) this.#log.append(Kind.DIRTY, entry)
    else this.#log.abandon(new UnkeptBytes())
  }

  /**
   * So many bytes may be in the storage soon.
   * @param isCurrent they are what there is now, and nothing older
   */
  publishing(inode: Inode, size: number, isCurrent: boolean): void {
    const file = this.#files.get(inode)
    if (file === undefined) return
    file.interrupt()
    file.publishing = size
    this.#log.append(Kind.PUBLISHING, [inode.nodeid, size, isCurrent])
  }

  /** So many bytes are in the storage that an earlier process has saved. */
  published(inode: Inode, size: number): void {
    const file = this.#files.get(inode)
    if (file !== undefined) file.publishing = size
  }

  /** Nothing is unpublished any more. */
  clean(inode: Inode): void {
    if (this.#files.delete(inode)) this.#log.append(Kind.CLEAN, undefined, inode.nodeid)
  }

  // Attributes

  sidecar(directory: Inode): ChangeRecord {
    return {
      changed: (segment, change) => this.#attributes(directory, segment, change),
      settled: () => this.#log.append(Kind.SETTLED, undefined, directory.nodeid),
    }
  }

  #attributes(directory: Inode, segment: string, { entry, at, over, urgent }: SidecarChange): void {
    this.#known(directory)
    const plain: LoggedAttributes = {
      directory: directory.nodeid,
      segment,
      entry: entry === undefined ? null : toPlain(entry),
      at,
      over: over === undefined ? null : toPlain(over),
      urgent,
    }
    this.#log.append(Kind.ATTRIBUTES, plain)
  }

  // Attempts

  attempt(unique: number, attempt: LoggedAttempt): void {
    this.#attempts.set(unique, attempt)
    this.#log.append(Kind.ATTEMPT, attempt, unique)
  }

  /** Its answer is about to be written down. */
  attempted(unique: number): void {
    setImmediate(() => this.#attempts.delete(unique))
  }

  /** None of them is of interest any more. */
  endAttempts(): void {
    this.#attempts.clear()
  }

  // The whole

  #writeAll(): void {
    const inodes = [...this.#table.values()]
    for (const inode of inodes) inode.logSlot = NO_SLOT
    const last: readonly [id: number, fh: number] = [this.#table.lastId, this.#handles.last]
    this.#log.append(Kind.LAST, last)
    for (const inode of inodes) this.#known(inode)
    for (const [listing, id] of this.#listings) this.#listing(id, namesOf(listing))
    for (const file of this.#handles.files.values()) {
      this.openedFile(file)
      this.failed(file)
    }
    for (const inode of inodes) if (inode.opens > 0 && inode.file !== undefined) this.shown(inode)
    for (const directory of this.#handles.directories.values()) this.#directory(directory)
    for (const inode of [...this.#files.keys()]) this.dirty(inode)
    for (const inode of inodes) {
      for (const [segment, change] of inode.directory?.sidecar?.changes ?? [])
        this.#attributes(inode, segment, change)
    }
    for (const [unique, attempt] of this.#attempts) this.#log.append(Kind.ATTEMPT, attempt, unique)
  }
}

/** Not every number of 64 bits can be written down. */
function isNumber(request: number | undefined): request is number {
  return request !== undefined && request > 0
}

/** The host's disk had no room when they were written. */
class UnkeptBytes extends Error {
  constructor() {
    super('there is no room in the state folder for what the guest has written')
  }
}

function namesOf({ entries }: Listing): string[] {
  return entries.map(({ name }) => name)
}

/** Writes that follow each other are one entry, whose end moves. */
class FileRecord implements DirtyRecord {
  readonly #log: SessionLog
  readonly #inode: Inode
  readonly #changed: () => void
  /** The size of what may have been published since the version under the changes. */
  publishing: number | undefined
  #slot: LogSlot = NO_SLOT
  #start = 0
  #end = 0

  constructor(log: SessionLog, inode: Inode, changed: () => void) {
    this.#log = log
    this.#inode = inode
    this.#changed = changed
  }

  wrote(start: number, end: number, mtime: Time): void {
    const milliseconds = mtime.sec * 1000 + mtime.nsec / 1e6
    if (this.#slot !== NO_SLOT && start >= this.#start && start <= this.#end) {
      this.#end = Math.max(this.#end, end)
      this.#log.setFirst(this.#slot, this.#end)
      this.#log.setSecond(this.#slot, milliseconds)
      return
    }
    this.#start = start
    this.#end = end
    const slot = this.#log.append(Kind.WROTE, [this.#inode.nodeid, start], end, milliseconds)
    this.#slot = slot
  }

  page(index: number, { place }: StagingPage): void {
    this.#log.append(Kind.PAGE, [this.#inode.nodeid, index, place])
  }

  spilled(): void {
    this.#changed()
  }

  changed(): void {
    this.#changed()
  }

  rebased(): void {
    this.publishing = undefined
    this.#changed()
  }

  /** What is written from now on is an entry of its own. */
  interrupt(): void {
    this.#slot = NO_SLOT
  }
}
