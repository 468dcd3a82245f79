// What a file is beside its bytes: its mode, owner, times, extended attributes, and the existence of what has no object. The inode
// shows it; the directory's sidecar keeps what differs from what the service and the options say. Programs' changes are in
// the storage at the next close or fsync of the file, all others at its next fsync, and otherwise within a second or so. With a
// journal they are noted there at once, and with write-back that is what a close waits for.

import { AttributeNotes, type EntryChange, keptChange } from '../journal/attribute-notes.ts'
import type { Journal } from '../journal/journal.ts'
import type { EntryKey, KeptChange } from '../journal/journal-entries.ts'
import { StateError } from '../journal/state-error.ts'
import { isLookAlike } from '../names/directory-index.ts'
import type { Inode } from '../names/inode.ts'
import { forEachConcurrently, type SharedLock } from '../names/locks.ts'
import type { Tree } from '../names/tree.ts'
import type { Settings } from '../options.ts'
import type { SessionRecord } from '../session/session-record.ts'
import type { MovedVersions, SidecarMover } from '../storage/moved-versions.ts'
import type { ListedObject, ObjectInfo } from '../storage/storage.ts'
import { type AttributeEntry, isSpecial } from './attribute-entry.ts'
import { entryOf, isStandard, showEntry } from './inode-entry.ts'
import { MovedSidecars } from './moved-sidecars.ts'
import { type Creator, clearPrivileges, giveTo } from './ownership.ts'
import { Sidecar } from './sidecar.ts'
import { now } from './time.ts'

/** The root has no name in any directory: its own sidecar has it under this one. */
const ROOT_SEGMENT = ''

const FLUSH_DELAY_MS = 1_000
const RETRY_DELAY_MS = 10_000
const CONCURRENT_FLUSHES = 8

export class Attributes {
  readonly #tree: Tree
  readonly #settings: Settings
  /** Moving a directory excludes writing into it. */
  readonly #names: SharedLock
  readonly #dirty = new Set<Inode>()
  #timer: NodeJS.Timeout | undefined
  /** Told of what the storage does not have yet, if it is to survive this process. */
  sessionRecord: SessionRecord | undefined

  constructor(tree: Tree, settings: Settings, names: SharedLock) {
    this.#tree = tree
    this.#settings = settings
    this.#names = names
  }

  // What is kept

  get #journal(): Journal | undefined {
    return this.#settings.state?.journal
  }

  /** False if only what the service has is shown. */
  get kept(): boolean {
    return this.#settings.attrs === 'sidecar'
  }

  /** The sidecar is also what tells which names there are, because the service cannot list. */
  get indexed(): boolean {
    return this.kept && !this.#tree.storage.canList
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
    const object = objects.find(({ segment }) => segment === this.#tree.names.sidecar)
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

  /** True if the sidecar, which must be fresh, has an entry of that name. */
  isIndexed(directory: Inode, segment: string): boolean {
    return this.#sidecar(directory).get(segment) !== undefined
  }

  /** True if it has an entry of another name that the service cannot tell from this one: see ServiceTraits.guessesDirectories. */
  hasLookAlike(directory: Inode, segment: string): boolean {
    for (const [other] of this.#sidecar(directory).entries())
      if (other !== segment && isLookAlike(segment, other)) return true
    return false
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
    const place = this.kept ? this.#place(inode) : undefined
    const ownChange = inode.directory && this.#tree.storage.ownChange(this.#tree.key(inode))
    showEntry(inode, info, place?.sidecar.get(place.segment), this.#settings, ownChange)
  }

  // Changing

  /** @throws EIO if the inode's attributes cannot be kept because what keeps them is damaged */
  requireWritable(inode: Inode): void {
    this.#place(inode)?.sidecar.requireWritable()
  }

  /** The inode is new: it is whose it is, and of a directory with setgid it has the group. */
  create(inode: Inode, creator: Creator, permissions: number): void {
    if (!this.kept) return
    giveTo(inode, creator, permissions)
    const matters = inode.kind === 'special' || !isStandard(inode, this.#settings)
    if (matters || this.#inherits(inode)) this.record(inode, true)
  }

  /** The storage still has what was kept of an earlier file of that name. */
  #inherits(inode: Inode): boolean {
    const { sidecar, segment } = this.#place(inode)!
    const { mode, uid, gid, xattrs } = sidecar.origin(segment) ?? NOTHING
    return [mode, uid, gid, xattrs].some(value => value !== undefined)
  }

  /**
   * Linux clears setuid, setgid and file capabilities when a file is written to or gets another owner.
   * @param group the caller's
   */
  killPrivileges(inode: Inode, modeBits: boolean, group?: number): void {
    if (clearPrivileges(inode, modeBits, group)) this.record(inode, true)
  }

  /** A program has written to a file, although no byte of it is another. */
  markModified(inode: Inode): void {
    if (!this.kept) return
    const present = now()
    inode.setModified(present)
    if (inode.file?.dirty !== undefined) inode.file.dirty.mtime = present
    this.record(inode, false)
  }

  /**
   * Keeps what the inode shows now, if it differs from what it would show otherwise.
   * @param urgent a program asked for it: the next close of the file writes it
   * @param noted the journal has it until then
   */
  record(inode: Inode, urgent: boolean, noted = urgent): void {
    const place = this.kept && !this.#tree.storage.readOnly ? this.#place(inode) : undefined
    if (place === undefined) return
    place.sidecar.set(place.segment, this.#entryOf(inode), urgent, noted)
    if (inode.file?.dirty !== undefined) this.sessionRecord?.dirty(inode)
    this.#schedule(place.directory)
  }

  /** A name is gone. */
  removed(directory: Inode, segment: string): void {
    if (!this.kept || directory.removed) return
    const sidecar = this.#sidecar(directory)
    sidecar.set(segment, undefined, false, isSpecial(sidecar.get(segment) ?? NOTHING))
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
    directory.directory!.changedHere = true
    directory.directory!.hasTime = true
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

  /** Moves an inode's object by `move`: what is kept of it must be at the new place before, or in the journal. */
  async moving(inode: Inode, directory: Inode, segment: string, move: () => Promise<void>): Promise<void> {
    if (this.#journal !== undefined && !this.indexed) return move()
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

  /** What the journal is to know of the attributes of an inode that is about to be moved: at its new place, and at its old one. */
  beforeMove(inode: Inode, directory: Inode, segment: string, target: Inode | undefined): CarriedAttributes {
    const from = this.#journal === undefined || !this.kept ? undefined : this.#place(inode)
    if (from === undefined) return { changes: [], notes: [], giveBack: () => undefined }
    const to: Place = { directory, segment, sidecar: this.#sidecar(directory) }
    const at = now()
    const entry = this.#entryOf(inode)
    const changeOf = ({ directory, segment, sidecar }: Place, entry: AttributeEntry | undefined) =>
      keptChange(this.#tree.key(directory), segment, { entry, at, over: sidecar.before(segment) })
    // Also without a target: what was noted of one that was removed is older than the move.
    const places = [from, (target && this.#place(target)) ?? to]
    const taken = places.map(place => ({ place, key: place.sidecar.takeNote(place.segment) }))
    return {
      changes: [changeOf(to, entry && { ...entry, ctime: at }), changeOf(from, undefined)],
      notes: taken.flatMap(({ key }) => key ?? []),
      giveBack: () => {
        for (const { place, key } of taken)
          if (key !== undefined) place.sidecar.giveBackNote(place.segment, key)
      },
    }
  }

  /** Whether a program has changed something that the storage lacks. */
  isUrgent(inode: Inode): boolean {
    const place = this.kept ? this.#place(inode) : undefined
    return place?.sidecar.isUrgent(place.segment) === true
  }

  /** A directory, with all that is in it, has another key. */
  moved({ directory }: Inode): void {
    directory?.sidecar?.moved()
    for (const child of directory?.children.values() ?? []) this.moved(child)
  }

  /** Updates the sidecars below a moved directory; undefined if there are no sidecars. */
  get mover(): SidecarMover | undefined {
    const { storage, names } = this.#tree
    return this.kept && !storage.readOnly ? new MovedSidecars(storage, names) : undefined
  }

  /** Files of the directory were copied: their attributes now belong to the copies. */
  copied({ directory }: Inode, versions: MovedVersions): void {
    directory!.sidecar?.copied(versions)
  }

  // Writing

  /**
   * Settles once what is shown of the inode is kept: by the storage, or, for a close with write-back, by the journal.
   * Undefined if it is.
   * @param everything also the times at which it was written, and by the storage
   */
  settle(inode: Inode, everything: boolean): undefined | Promise<void> {
    const directory = inode.parent ?? inode
    const sidecar = directory.directory?.sidecar
    if (sidecar === undefined || !sidecar.dirty || !(everything || sidecar.urgent)) return undefined
    if (!everything && this.#settings.writeBack && this.#journal !== undefined) return this.#noted(directory)
    return this.settleBelow(directory)
  }

  /** Settles once names that exist in the sidecar alone are as safe as others, if there is a journal; undefined if they are. */
  settleSpecials(directory: Inode): undefined | Promise<void> {
    return this.#journal === undefined ? undefined : this.#noted(directory)
  }

  #noted(directory: Inode): undefined | Promise<void> {
    return directory.directory!.sidecar?.noted()?.catch(error => {
      if (!(error instanceof StateError)) throw error
      // A full disk: then the storage has to take it now.
      this.#settings.onError(error)
      return this.#flush(directory)
    })
  }

  /** The same for all that lies directly in a directory. */
  settleBelow(directory: Inode): Promise<void> {
    return this.#names.shared(() => this.#flush(directory))
  }

  /** Writes everything; fails with the first error once all have been tried. */
  async settleAll(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    await this.#settleEach([...this.#dirty])
  }

  /** Writes what nobody waits for, apart from large sidecars that have been written a moment ago. */
  async #settleDue(): Promise<void> {
    this.#timer = undefined
    const now = Date.now()
    const due = [...this.#dirty].filter(({ directory }) => (directory!.sidecar?.restsUntil ?? 0) <= now)
    if (due.length < this.#dirty.size) this.#arm(FLUSH_DELAY_MS)
    await this.#settleEach(due)
  }

  async #settleEach(directories: readonly Inode[]): Promise<void> {
    let failure: { error: unknown } | undefined
    await forEachConcurrently(directories, CONCURRENT_FLUSHES, async directory => {
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
    const { sidecar } = directory.directory!
    if (!directory.removed) await sidecar?.flush()
    if (sidecar?.dirty !== true || directory.removed) this.#dirty.delete(directory)
    this.#tree.table.drop(directory)
  }

  #schedule(directory: Inode): void {
    this.#dirty.add(directory)
    this.#arm(FLUSH_DELAY_MS)
  }

  #arm(milliseconds: number): void {
    this.#timer ??= setTimeout(() => {
      // Nobody waits for it; another attempt is due, and an fsync gets the error that it ends with.
      this.#settleDue().catch(this.#settings.onError)
    }, milliseconds).unref()
  }

  // Entries

  #sidecar(directory: Inode): Sidecar {
    const state = directory.directory!
    state.sidecar ??= this.#newSidecar(directory)
    return state.sidecar
  }

  /** A change that an earlier process has made and may not have written. */
  resume(directory: Inode, segment: string, change: EntryChange, urgent: boolean): void {
    this.#sidecar(directory).restore(segment, change, urgent)
    this.#dirty.add(directory)
  }

  /** Writes soon what was resumed. */
  resumed(): void {
    if (this.#dirty.size > 0) this.#arm(FLUSH_DELAY_MS)
  }

  #newSidecar(directory: Inode): Sidecar {
    const { storage, names } = this.#tree
    const journal = this.#journal
    const key = () => this.#tree.key(directory)
    const notes = journal && new AttributeNotes(journal, key, this.#settings.onError)
    return new Sidecar(storage, names, key, notes, undefined, this.sessionRecord?.sidecar(directory))
  }

  /** Where the inode's entry is; undefined if it has no name any more. */
  #place(inode: Inode): Place | undefined {
    const directory = inode.parent ?? (inode === this.#tree.table.root ? inode : undefined)
    if (directory === undefined) return undefined
    let segment = inode.parent === undefined ? ROOT_SEGMENT : this.#tree.segment(inode)
    // The file of the same name has the entry without the slash.
    if (inode.segment !== undefined && inode.directory !== undefined && !this.#tree.isSpelling(inode))
      segment += '/'
    return { directory, segment, sidecar: this.#sidecar(directory) }
  }

  #entryOf(inode: Inode): AttributeEntry | undefined {
    return entryOf(inode, this.#settings, this.indexed)
  }
}

interface Place {
  readonly directory: Inode
  readonly segment: string
  readonly sidecar: Sidecar
}

export interface CarriedAttributes {
  readonly changes: readonly KeptChange[]
  /** Keys of the notes that the changes replace. */
  readonly notes: readonly EntryKey[]
  /** The move has failed. */
  giveBack(): void
}

const NOTHING: Partial<AttributeEntry> = {}

function infoOf(entry: AttributeEntry): ObjectInfo {
  return { kind: 'special', size: 0, mtime: undefined, etag: undefined, mode: entry.mode }
}
