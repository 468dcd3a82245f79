// What a file is beside its bytes: its mode, owner, times, extended attributes, and the existence of what has no object. The inode
// shows it; the directory's sidecar keeps what differs from what the service and the options say. Programs' changes are in
// the storage at the next close or fsync of the file, all others at its next fsync, and otherwise within a second or so.

import { encodedLength } from '@ovfs/fuse-proto'
import { type Inode, S_IFDIR, S_IFMT, S_IFREG } from '../names/inode.ts'
import { forEachConcurrently, type SharedLock } from '../names/locks.ts'
import type { Tree } from '../names/tree.ts'
import type { Settings } from '../options.ts'
import { SIDECAR } from '../storage/key-names.ts'
import type { ListedObject, ObjectInfo } from '../storage/storage.ts'
import { type AttributeEntry, isSpecial, versionOf } from './attribute-entry.ts'
import { Sidecar } from './sidecar.ts'
import { compareTimes, now, type Time } from './time.ts'

const S_ISUID = 0o4000
const S_ISGID = 0o2000
const S_IXGRP = 0o010
const PERMISSIONS = 0o7777
/** The root has no name in any directory: its own sidecar has it under this one. */
const ROOT_SEGMENT = ''

const FLUSH_DELAY_MS = 1_000
const RETRY_DELAY_MS = 10_000
const CONCURRENT_FLUSHES = 8

export interface Creator {
  readonly uid: number
  readonly gid: number
}

export class Attributes {
  readonly #tree: Tree
  readonly #settings: Settings
  /** Moving a directory excludes writing into it. */
  readonly #names: SharedLock
  readonly #dirty = new Set<Inode>()
  #timer: NodeJS.Timeout | undefined

  constructor(tree: Tree, settings: Settings, names: SharedLock) {
    this.#tree = tree
    this.#settings = settings
    this.#names = names
  }

  // What is kept

  /** False if only what the service has is shown. */
  get kept(): boolean {
    return this.#settings.attrs === 'sidecar'
  }

  /** The sidecar is also what tells which names there are, because the service cannot list. */
  get indexed(): boolean {
    return this.kept && !this.#tree.storage.capability.list
  }

  // Reading

  /** Makes sure that a directory's sidecar may be trusted; undefined if it may already. */
  fresh(directory: Inode): undefined | Promise<void> {
    if (!this.kept || directory.removed) return undefined
    const sidecar = this.#sidecar(directory)
    if (sidecar.until > this.#tree.clock.now()) return undefined
    return this.#read(sidecar)
  }

  /** The same, by what a listing just said of the sidecar. */
  async freshFrom(directory: Inode, objects: readonly ListedObject[]): Promise<void> {
    if (!this.kept || directory.removed) return
    const object = objects.find(({ segment }) => segment === SIDECAR)
    const known =
      object === undefined
        ? { info: undefined }
        : object.info === undefined
          ? undefined
          : { info: object.info }
    await this.#read(this.#sidecar(directory), known)
  }

  async #read(sidecar: Sidecar, known?: { readonly info: ObjectInfo | undefined }): Promise<void> {
    await sidecar.read(known)
    sidecar.until = this.#tree.clock.now() + this.#settings.entryTtlMs
  }

  /** A name that exists without an object. The directory's sidecar must be fresh. */
  special(directory: Inode, segment: string): ObjectInfo | undefined {
    if (!this.kept) return undefined
    const entry = this.#sidecar(directory).get(segment)
    return entry === undefined || !isSpecial(entry) ? undefined : infoOf(entry)
  }

  /** All of them. */
  *specials(directory: Inode): Generator<ListedObject> {
    if (!this.kept) return
    for (const [segment, entry] of this.#sidecar(directory).entries()) {
      if (isSpecial(entry)) yield { segment, kind: 'special', info: infoOf(entry) }
    }
  }

  /** Brings an inode up to date with what the storage said and the sidecar keeps. */
  show(inode: Inode, info: ObjectInfo): void {
    const { attr } = inode
    if (info.mtime !== undefined) inode.setTime(info.mtime)
    if (!this.kept) return
    const type = info.kind === 'directory' ? S_IFDIR : info.kind === 'file' ? S_IFREG : info.mode! & S_IFMT
    const found = this.#place(inode)?.get()
    // Somebody else may have put an object of another type there.
    const entry = found !== undefined && ((found.mode ?? type) & S_IFMT) === type ? found : undefined
    attr.mode = entry?.mode ?? type | this.#standardMode(inode)
    attr.uid = entry?.uid ?? this.#settings.uid
    attr.gid = entry?.gid ?? this.#settings.gid
    attr.rdev = entry?.rdev ?? 0
    inode.target = entry?.target
    inode.setXattrs(entry?.xattrs)
    inode.keepsTimes = inode.file === undefined && entry?.mtime !== undefined
    if (entry !== undefined) this.#showTimes(inode, entry, info)
    if (info.kind === 'special') inode.setSize(encodedLength(inode.target ?? ''))
  }

  #showTimes(inode: Inode, entry: AttributeEntry, info: ObjectInfo): void {
    const isCurrent = entry.version === undefined || entry.version === versionOf(info)
    if (isCurrent && entry.mtime !== undefined) {
      inode.setTime(entry.mtime)
      inode.setChanged(entry.ctime)
    } else if (compareTimes(entry.ctime, info.mtime) > 0) {
      inode.setChanged(entry.ctime)
    }
    if (isCurrent && entry.atime !== undefined) inode.setAccessed(entry.atime)
  }

  // Changing

  /** @throws EIO if the inode's attributes cannot be kept because what keeps them is damaged */
  requireWritable(inode: Inode): void {
    this.#place(inode)?.sidecar.requireWritable()
  }

  /** The inode is new: it is whose it is, and of a directory with setgid it has the group. */
  create(inode: Inode, creator: Creator, permissions: number): void {
    if (!this.kept) return
    const { attr } = inode
    const parent = inode.parent!
    const inherits = (parent.attr.mode & S_ISGID) !== 0
    attr.mode = (attr.mode & S_IFMT) | (permissions & PERMISSIONS)
    if (inherits && inode.directory !== undefined) attr.mode |= S_ISGID
    attr.uid = creator.uid
    attr.gid = inherits ? parent.attr.gid : creator.gid
    if (inode.kind === 'special' || !this.#isStandard(inode)) this.record(inode, true)
  }

  /** Linux clears setuid, setgid and file capabilities when somebody writes or gives the file away. */
  killPrivileges(inode: Inode, modeBits: boolean): void {
    const { attr } = inode
    if (inode.file === undefined || !inode.privileged) return
    let killed = 0
    if (modeBits) killed = S_ISUID | ((attr.mode & S_IXGRP) !== 0 ? S_ISGID : 0)
    const capability = inode.xattrs?.has(CAPABILITY) === true
    if ((attr.mode & killed) === 0 && !capability) return
    attr.mode &= ~killed
    if (capability) inode.setXattrs(new Map([...inode.xattrs!].filter(([name]) => name !== CAPABILITY)))
    inode.setChanged(now())
    this.record(inode, true)
  }

  /**
   * Keeps what the inode shows now, if it differs from what it would show otherwise.
   * @param urgent a program asked for it: the next close of the file writes it
   */
  record(inode: Inode, urgent: boolean): void {
    const place = this.kept && !this.#tree.storage.readOnly ? this.#place(inode) : undefined
    if (place === undefined) return
    place.sidecar.set(place.segment, this.#entryOf(inode), urgent)
    this.#schedule(place.directory)
  }

  /** A name is gone. */
  removed(directory: Inode, segment: string): void {
    if (!this.kept || directory.removed) return
    this.#sidecar(directory).set(segment, undefined, false)
    this.#schedule(directory)
  }

  /** A directory is gone. */
  cleared(directory: Inode): void {
    directory.directory!.sidecar?.clear()
    this.#dirty.delete(directory)
  }

  /** Names were added to or taken from a directory. */
  namesChanged(directory: Inode): void {
    directory.setModified(now())
    if (directory.keepsTimes) this.record(directory, false)
  }

  /** To be waited for before the object of a new name appears: the index must not lack what exists. */
  async announce(inode: Inode): Promise<void> {
    const place = this.indexed ? this.#place(inode) : undefined
    if (place === undefined || place.sidecar.has(place.segment)) return
    await this.fresh(place.directory)
    this.record(inode, false)
    await place.sidecar.flush()
  }

  /** The same for a name that has no inode yet. */
  async announceName(directory: Inode, segment: string): Promise<void> {
    if (!this.indexed) return
    const sidecar = this.#sidecar(directory)
    sidecar.set(segment, { ctime: now() }, false)
    await sidecar.flush()
  }

  /** Moves an inode's object by `move`: what is kept of it must be at the new place before. */
  async moving(inode: Inode, directory: Inode, segment: string, move: () => Promise<void>): Promise<void> {
    const { mode, uid, gid } = this.kept ? (this.#entryOf(inode) ?? NOTHING) : NOTHING
    const matters = mode !== undefined || uid !== undefined || gid !== undefined || inode.xattrs !== undefined
    if (!matters && !this.indexed) return move()
    await this.fresh(directory)
    const sidecar = this.#sidecar(directory)
    const before = sidecar.get(segment)
    sidecar.set(segment, { ...this.#entryOf(inode), ctime: now() }, false)
    try {
      await sidecar.flush()
      await move()
    } catch (error) {
      sidecar.set(segment, before, false)
      this.#schedule(directory)
      throw error
    }
  }

  // Writing

  /**
   * Settles once the storage keeps what is shown of the inode; undefined if it does.
   * @param everything also the times at which it was written
   */
  settle(inode: Inode, everything: boolean): undefined | Promise<void> {
    const directory = inode.parent ?? inode
    const sidecar = directory.directory?.sidecar
    if (sidecar === undefined || !sidecar.dirty || !(everything || sidecar.urgent)) return undefined
    return this.settleBelow(directory)
  }

  /** The same for all that lies directly in a directory. */
  settleBelow(directory: Inode): Promise<void> {
    return this.#names.shared(() => this.#flush(directory))
  }

  /** Writes everything; fails with the first error once all have been tried. */
  async settleAll(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    let failure: { error: unknown } | undefined
    await forEachConcurrently([...this.#dirty], CONCURRENT_FLUSHES, async directory => {
      await this.#names
        .shared(() => this.#flush(directory))
        .catch(error => {
          failure ??= { error }
        })
    })
    if (failure === undefined) return
    this.#arm(RETRY_DELAY_MS)
    throw failure.error
  }

  async #flush(directory: Inode): Promise<void> {
    if (!directory.removed) await directory.directory!.sidecar?.flush()
    this.#dirty.delete(directory)
    this.#tree.table.drop(directory)
  }

  #schedule(directory: Inode): void {
    this.#dirty.add(directory)
    this.#arm(FLUSH_DELAY_MS)
  }

  #arm(milliseconds: number): void {
    this.#timer ??= setTimeout(() => {
      // Nobody waits for it; another attempt is due, and an fsync gets the error that it ends with.
      this.settleAll().catch(this.#settings.onError)
    }, milliseconds).unref()
  }

  // Entries

  #isStandard({ attr, directory }: Inode): boolean {
    const { uid, gid, fileMode, dirMode } = this.#settings
    const mode = directory === undefined ? fileMode : dirMode
    return (attr.mode & PERMISSIONS) === mode && attr.uid === uid && attr.gid === gid
  }

  #standardMode(inode: Inode): number {
    return inode.directory === undefined ? this.#settings.fileMode : this.#settings.dirMode
  }

  #sidecar(directory: Inode): Sidecar {
    const state = directory.directory!
    state.sidecar ??= new Sidecar(this.#tree.storage, this.#tree.names, () => this.#tree.key(directory))
    return state.sidecar
  }

  /** Where the inode's entry is; undefined if it has no name any more. */
  #place(inode: Inode): Place | undefined {
    const directory = inode.parent ?? (inode === this.#tree.table.root ? inode : undefined)
    if (directory === undefined) return undefined
    let segment = inode.parent === undefined ? ROOT_SEGMENT : this.#tree.segment(inode)
    // A file has the plain one.
    if (inode.segment !== undefined && inode.directory !== undefined) segment += '/'
    const sidecar = this.#sidecar(directory)
    return { directory, segment, sidecar, get: () => sidecar.get(segment) }
  }

  #entryOf(inode: Inode): AttributeEntry | undefined {
    const { attr, file } = inode
    const type = attr.mode & S_IFMT
    const ctime: Time = { sec: attr.ctime, nsec: attr.ctimensec }
    const mtime: Time = { sec: attr.mtime, nsec: attr.mtimensec }
    const atime: Time = { sec: attr.atime, nsec: attr.atimensec }
    const isRegular = type === S_IFREG
    const published = isRegular && file!.dirty === undefined ? file!.info : undefined
    const keepsTimes = isRegular
      ? compareTimes(mtime, published?.mtime) !== 0
      : type !== S_IFDIR || inode.keepsTimes
    const entry: AttributeEntry = {
      ctime,
      mode: attr.mode === (type | this.#standardMode(inode)) && !isSpecial(attr) ? undefined : attr.mode,
      uid: attr.uid === this.#settings.uid ? undefined : attr.uid,
      gid: attr.gid === this.#settings.gid ? undefined : attr.gid,
      mtime: keepsTimes ? mtime : undefined,
      atime: (keepsTimes || isRegular) && compareTimes(atime, mtime) !== 0 ? atime : undefined,
      rdev: attr.rdev === 0 ? undefined : attr.rdev,
      target: inode.target,
      xattrs: inode.xattrs,
    }
    const times = entry.mtime !== undefined || entry.atime !== undefined
    const version = times && published !== undefined ? versionOf(published) : undefined
    const differs = Object.values(entry).some(value => value !== undefined && value !== ctime)
    return differs || this.indexed ? { ...entry, version } : undefined
  }
}

interface Place {
  readonly directory: Inode
  readonly segment: string
  readonly sidecar: Sidecar
  get(): AttributeEntry | undefined
}

const NOTHING: Partial<AttributeEntry> = {}
const CAPABILITY = 'security.capability'

function infoOf(entry: AttributeEntry): ObjectInfo {
  return { kind: 'special', size: 0, mtime: undefined, etag: undefined, mode: entry.mode }
}
