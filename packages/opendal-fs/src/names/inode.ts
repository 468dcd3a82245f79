// One file or directory that the guest knows, or that has something the storage does not have yet. The object is itself the
// reply to LOOKUP and GETATTR, so that an answer from memory allocates nothing. Inodes hang in a tree by name: a rename moves
// one link and with it the whole subtree, whose ids do not change.

import { type LogSlot, NO_SLOT, type NodeId } from '@ovfs/fuse-proto'
import type { Sidecar } from '../attributes/sidecar.ts'
import type { Time } from '../attributes/time.ts'
import type { Given } from '../attributes/user-metadata.ts'
import type { Content } from '../files/block-cache.ts'
import type { OpenFile } from '../files/handles.ts'
import { ShownVersion } from '../files/shown-version.ts'
import type { SavedFile } from '../journal/saved-files.ts'
import type { ObjectInfo } from '../storage/storage.ts'
import type { DirtyFile } from '../writes/dirty-file.ts'
import type { Listing } from './listing.ts'
import { Mutex } from './locks.ts'

export const S_IFMT = 0o170000
export const S_IFDIR = 0o040000
export const S_IFREG = 0o100000
export const S_IFLNK = 0o120000

/** How long something is trusted that only we can change. */
export const FOREVER = Number.MAX_SAFE_INTEGER

/** fuse_attr, filled in place. */
export interface InodeAttr {
  ino: number
  size: number
  blocks: number
  atime: number
  mtime: number
  ctime: number
  atimensec: number
  mtimensec: number
  ctimensec: number
  mode: number
  nlink: number
  uid: number
  gid: number
  rdev: number
  blksize: number
  flags: number
}

export class Inode {
  readonly nodeid: NodeId
  readonly generation = 0
  entryValid = 0
  attrValid = 0
  entryValidNsec = 0
  attrValidNsec = 0
  readonly attr: InodeAttr

  /** Undefined for the root, and for what has been removed. */
  parent: Inode | undefined
  name: string
  /** How many times the guest was told of this inode and has not forgotten it. */
  lookups = 0
  /** Where the session's log has it. */
  logSlot: LogSlot = NO_SLOT
  /** Handles that are open. */
  opens = 0
  /** Changes of its name that are under way. */
  changing = 0
  /** Until when the attributes may be trusted, in milliseconds since the epoch. */
  attrUntil = 0
  /** Until when the name may be trusted to lead here. */
  entryUntil = 0
  /** Counts the changes made here, so that an answer of the storage from before one is not taken for news. */
  epoch = 0
  /** A question to the storage that is under way for this inode's attributes. */
  refreshing: Promise<void> | undefined
  /** Removed by somebody else: what is written to it from now on has no place to go. */
  lost = false
  /** What stands for it in keys, where the name does not tell. */
  segment: string | undefined
  /** What a symbolic link points to. */
  target: string | undefined
  xattrs: ReadonlyMap<string, Uint8Array> | undefined
  /** What the object's user metadata says of it, where that is asked for. */
  given: Given | undefined
  /** A directory whose times a program has set: they are kept. */
  keepsTimes = false
  readonly file: FileState | undefined
  readonly directory: DirectoryState | undefined

  constructor(nodeid: NodeId, parent: Inode | undefined, name: string, attr: InodeAttr) {
    this.nodeid = nodeid
    this.parent = parent
    this.name = name
    this.attr = attr
    const isDirectory = (attr.mode & S_IFMT) === S_IFDIR
    this.directory = isDirectory ? new DirectoryState() : undefined
    this.file = isDirectory ? undefined : new FileState()
  }

  get removed(): boolean {
    return this.attr.nlink === 0
  }

  get kind(): 'file' | 'directory' | 'special' {
    if (this.directory !== undefined) return 'directory'
    return (this.attr.mode & S_IFMT) === S_IFREG ? 'file' : 'special'
  }

  /** True if this, or anything below it, has changes that the storage does not have. */
  get unpublished(): boolean {
    if (this.file !== undefined) return this.file.dirty !== undefined
    for (const child of this.directory!.children.values()) if (child.unpublished) return true
    return false
  }

  setSize(size: number): void {
    this.attr.size = size
    this.attr.blocks = Math.ceil(size / 512)
  }

  /** All times. */
  setTime(time: Time): void {
    this.setModified(time)
    this.setAccessed(time)
  }

  setAccessed(time: Time): void {
    this.attr.atime = time.sec
    this.attr.atimensec = time.nsec
  }

  /** Its bytes or names were changed, and by that itself. */
  setModified(time: Time): void {
    this.setModifiedAt(time)
    this.setChanged(time)
  }

  /** Its modification time alone. */
  setModifiedAt(time: Time): void {
    this.attr.mtime = time.sec
    this.attr.mtimensec = time.nsec
  }

  setChanged(time: Time): void {
    this.attr.ctime = time.sec
    this.attr.ctimensec = time.nsec
  }

  setTimesOf({ atime, atimensec, mtime, mtimensec, ctime, ctimensec }: InodeAttr): void {
    Object.assign(this.attr, { atime, atimensec, mtime, mtimensec, ctime, ctimensec })
  }

  setXattrs(xattrs: ReadonlyMap<string, Uint8Array> | undefined): void {
    this.xattrs = xattrs === undefined || xattrs.size === 0 ? undefined : xattrs
  }

  /** It has something that writing to it takes away. */
  get privileged(): boolean {
    return (this.attr.mode & 0o6000) !== 0 || this.xattrs !== undefined
  }

  /** From the root, beginning with a slash; for what has been removed only the last name that it had. */
  get path(): string {
    if (this.parent === undefined) return this.name === '' ? '/' : this.name
    return this.parent.parent === undefined ? `/${this.name}` : `${this.parent.path}/${this.name}`
  }

  /** True if this is `other` or lies somewhere below it. */
  isWithin(other: Inode): boolean {
    let inode: Inode | undefined = this
    while (inode !== undefined && inode !== other) inode = inode.parent
    return inode === other
  }
}

export class FileState {
  /** Something lies under the key: this file's published version, or what it has replaced without being published yet. */
  exists = false
  /** What the storage said last. Undefined for a file that was never published. */
  info: ObjectInfo | undefined
  /** What lay under the name when a file that was never published took it. */
  replaced: ObjectInfo | undefined
  /** The bytes of that version; undefined until somebody reads. */
  content: Content | undefined
  /** Changes that the storage does not have. */
  dirty: DirtyFile | undefined
  /** What of them the host's disk has, where the journal knows of it. */
  saved: SavedFile | undefined
  /** The key of a file that was removed while open, where the storage still holds it under another name. */
  detachedKey: string | undefined
  /** The version that the guest's page cache holds: the one of the last open. */
  seenByGuest: Content | undefined
  /** Decides which handles may still read the file. */
  readonly shown = new ShownVersion()
  /** When a program last wrote to it with O_DIRECT, in milliseconds since the epoch. */
  directWrite: number | undefined
  /** Handles that are open for writing. */
  readonly writers = new Set<OpenFile>()
  /** Publishing, renaming and removing, one at a time. */
  readonly lock = new Mutex()
}

export class DirectoryState {
  readonly children = new Map<string, Inode>()
  /** Names that do not exist, and until when that may be trusted. */
  readonly absent = new Map<string, number>()
  /** The listing that new readers share while it may be trusted. */
  listing: Listing | undefined
  /** Counts changes of names made here. */
  changes = 0
  /** Its names were changed here: it is at least as new as it shows, whatever the clock of the service says. */
  changedHere = false
  /** True if its times come from the storage or from a change by this guest. */
  hasTime = false
  /** Keeps what the service cannot; undefined until something is asked of it. */
  sidecar: Sidecar | undefined
  /** The storage has an object for the directory itself, so that it outlives its last child. */
  marked = false
}
