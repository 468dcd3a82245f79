// The object beside the files of one directory that keeps what the service cannot: a cache of it, and the changes that it does
// not have yet. Several hosts may write it: before a write it is read again, and each name's newer entry counts. With a journal,
// changes that must not be lost are noted there until the storage has them.

import { FsError } from '@ovfs/fuse-proto'
import type { AttributeNotes, EntryChange } from '../journal/attribute-notes.ts'
import type { EntryKey } from '../journal/journal-entries.ts'
import type { KeyNames } from '../storage/key-names.ts'
import type { MovedVersions } from '../storage/moved-versions.ts'
import { replaceObject } from '../storage/object-replacement.ts'
import { refusalOf } from '../storage/service-answer.ts'
import type { ObjectInfo, Storage } from '../storage/storage.ts'
import { isVersionLost, StorageError, versionLostError } from '../storage/storage-error.ts'
import { compareVersions, mayBeVersion } from '../storage/version.ts'
import {
  type AttributeEntry,
  decodeEntries,
  type Entries,
  encodeEntries,
  entryOfCopy,
  isSpecial,
  LARGEST_SIDECAR,
} from './attribute-entry.ts'
import { compareTimes, timeOf } from './time.ts'

/** It is written whole: a large one is left alone for so long after each MiB that was written, at most so long. */
const REST_MS_PER_MIB = 1_000
const LONGEST_REST_MS = 30_000
/** Another host may write between our reading and writing, so often in a row. */
const ATTEMPTS = 8

export interface SidecarChange extends EntryChange {
  /** A program asked for it. */
  readonly urgent: boolean
  /** It follows one of an earlier process, which may have been stored before it was noted so. */
  readonly resumed: boolean
}

/** Told of what the storage does not have yet, before anybody relies on it. */
export interface ChangeRecord {
  changed(segment: string, change: SidecarChange): void
  /** The storage has everything. */
  settled(): void
}

export class Sidecar {
  readonly #storage: Storage
  readonly #names: KeyNames
  /** The directory's key now: it may move. */
  readonly #directoryKey: () => string
  readonly #notes: AttributeNotes | undefined
  readonly #largest: number
  readonly #record: ChangeRecord | undefined
  #stored: Entries = new Map()
  readonly #changes = new Map<string, SidecarChange>()
  /** The object that `#stored` came from; undefined if there was none, or if it must be read again. */
  #info: ObjectInfo | undefined
  #damage: FsError | undefined
  #denial: StorageError | undefined
  #reading: Promise<void> | undefined
  #writing: Promise<void> | undefined
  #replacing: Promise<void> | undefined
  /** Counts them: what was read before one is not what is there after it. */
  #replacements = 0
  /** Until when it may be trusted, in milliseconds since the epoch. */
  until = 0
  /** Until when nobody should write it who is not waited for, in milliseconds since the epoch. */
  restsUntil = 0
  /** The changes that wait have no room: what would come to them is refused. */
  #full = false
  /** A change is waiting that a program asked for, and not only the time at which it wrote. */
  urgent = false

  /**
   * @param notes what survives the host, of what must
   * @param largest bytes of the object; what would make it larger is refused
   * @param record what survives this process
   */
  constructor(
    storage: Storage,
    names: KeyNames,
    directoryKey: () => string,
    notes?: AttributeNotes,
    largest = LARGEST_SIDECAR,
    record?: ChangeRecord,
  ) {
    this.#storage = storage
    this.#names = names
    this.#directoryKey = directoryKey
    this.#notes = notes
    this.#largest = largest
    this.#record = record
  }

  /** The storage lacks something. */
  get dirty(): boolean {
    return this.#changes.size > 0
  }

  /** What the storage lacks, by segment. */
  get changes(): ReadonlyMap<string, SidecarChange> {
    return this.#changes
  }

  get(segment: string): AttributeEntry | undefined {
    const change = this.#changes.get(segment)
    return change === undefined ? this.#stored.get(segment) : change.entry
  }

  /** True if the storage has an entry of that name. */
  has(segment: string): boolean {
    return this.#stored.has(segment) && !this.#changes.has(segment)
  }

  *entries(): Generator<readonly [string, AttributeEntry]> {
    for (const pair of this.#stored) if (!this.#changes.has(pair[0])) yield pair
    for (const [segment, { entry }] of this.#changes) if (entry !== undefined) yield [segment, entry]
  }

  /** True if a program has changed what is kept of the name, and the storage lacks it. */
  isUrgent(segment: string): boolean {
    return this.#changes.get(segment)?.urgent === true
  }

  /** What the storage has, or had before the change that it lacks. */
  origin(segment: string): AttributeEntry | undefined {
    const change = this.#changes.get(segment)
    return change === undefined ? this.#stored.get(segment) : change.over
  }

  /** The same for a change that follows: of what is removed only the time, since the storage may have the removal by now. */
  before(segment: string): AttributeEntry | undefined {
    const change = this.#changes.get(segment)
    if (change?.over === undefined || change.entry !== undefined) return this.origin(segment)
    return { ctime: change.over.ctime }
  }

  /**
   * @param urgent a program asked for it
   * @param noted it must survive the daemon, if there is a journal
   */
  set(segment: string, entry: AttributeEntry | undefined, urgent: boolean, noted = urgent): void {
    const { resumed = false, entry: former } = this.#changes.get(segment) ?? {}
    // What was resumed may have been stored, and is to be removed then.
    const over = this.before(segment) ?? (resumed && entry === undefined ? former : undefined)
    if (entry === undefined && over === undefined && this.#writing === undefined) {
      if (this.#changes.delete(segment)) this.#recordNothing(segment)
      this.#notes?.crossOut([segment])
      return
    }
    const change = { entry, at: entry?.ctime ?? timeOf(Date.now()), over, urgent, resumed }
    this.#changes.set(segment, change)
    this.urgent ||= urgent
    this.#record?.changed(segment, change)
    // What an earlier note says is not true any more.
    if (noted || this.#notes?.has(segment) === true) this.#notes?.put(segment, change)
  }

  /** What was recorded of a name is not wanted any more. */
  #recordNothing(segment: string): void {
    const at = timeOf(Date.now())
    const nothing = { entry: undefined, at, over: undefined, urgent: false, resumed: false }
    if (this.dirty) this.#record?.changed(segment, nothing)
    else this.#record?.settled()
  }

  /** A change that was made before, by another daemon. */
  restore(segment: string, change: EntryChange, urgent = true): void {
    this.#changes.set(segment, { ...change, urgent, resumed: true })
    this.urgent ||= urgent
  }

  /** Takes back a change that `restore` has brought, before anything was written. */
  withdraw(segment: string): void {
    this.#changes.delete(segment)
  }

  /** Settles once the journal's disk has the changes that are noted; undefined if it does. */
  noted(): undefined | Promise<void> {
    return this.#notes?.settled()
  }

  /** The key of the name's note, which is the caller's from now on. */
  takeNote(segment: string): EntryKey | undefined {
    return this.#notes?.take(segment)
  }

  giveBackNote(segment: string, key: EntryKey): void {
    this.#notes?.giveBack(segment, key)
    if (!this.#changes.has(segment)) this.#notes?.crossOut([segment])
  }

  /** The directory's key is another one now. */
  moved(): void {
    for (const [segment, change] of this.#changes)
      if (this.#notes?.has(segment) === true) this.#notes.put(segment, change)
  }

  /** The files were copied: changes the entries from the old versions to the versions of the copies. */
  copied(versions: MovedVersions): void {
    // The sidecar itself was copied, so its version has changed too.
    this.#info = undefined
    this.until = 0
    for (const [segment, moved] of versions) {
      const stored = this.#stored.get(segment)
      if (stored !== undefined) this.#stored.set(segment, entryOfCopy(stored, moved))
      const change = this.#changes.get(segment)
      const entry = change && entryOfCopy(change.entry, moved)
      if (change === undefined || entry === change.entry) continue
      const next = { ...change, entry }
      this.#changes.set(segment, next)
      this.#record?.changed(segment, next)
    }
  }

  /** The object is not ours to change. */
  get isDamaged(): boolean {
    return this.#damage !== undefined
  }

  /** The error with which the service refuses to read the sidecar; undefined if it can be read. */
  get denial(): StorageError | undefined {
    return this.#denial
  }

  /** @throws EIO if the object is not ours to change, ENOSPC if it is full */
  requireWritable(): void {
    if (this.#damage !== undefined) throw this.#damage
    if (this.#full) throw this.#fullError()
  }

  #fullError(): FsError {
    const key = JSON.stringify(this.#directoryKey() + this.#names.sidecar)
    return new FsError('ENOSPC', `${key} has no room for more: it may have ${this.#largest} bytes`)
  }

  /** The directory is gone: nothing of it is wanted any more. */
  clear(): void {
    this.#changes.clear()
    this.#notes?.crossOutAll()
    this.#stored = new Map()
    this.#info = undefined
    this.urgent = false
    this.#record?.settled()
  }

  /** Reads what the storage has now, unless it is what we know. */
  read(known?: { readonly info: ObjectInfo | undefined }): Promise<void> {
    this.#reading ??= this.#read(known).finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  get #isUnseen(): boolean {
    return this.#info === undefined && this.#stored.size === 0
  }

  async #read(known: { readonly info: ObjectInfo | undefined } | undefined): Promise<void> {
    try {
      await this.#readObject(known)
      this.#denial = undefined
    } catch (error) {
      const refusal = refusalOf(error)
      if (!(error instanceof StorageError) || (refusal !== 'object' && refusal !== 'access')) throw error
      // The service may still let the files of the directory be read: they show the last known attributes.
      this.#denial = error
      this.#refuse(undefined, 'the service refuses to give it', this.#stored)
    }
  }

  async #readObject(known: { readonly info: ObjectInfo | undefined } | undefined): Promise<void> {
    const key = this.#directoryKey() + this.#names.sidecar
    for (let attempt = 1; ; attempt++) {
      const replacements = this.#replacements
      const isOvertaken = () => this.#replacements !== replacements && attempt < ATTEMPTS
      const isKnown = attempt === 1 && known !== undefined
      const value = !isKnown && this.#storage.statsByReading ? await this.#readValue(key) : undefined
      const info = isKnown
        ? known.info
        : value === undefined
          ? await this.#storage.stat(key, this.#isUnseen)
          : value.info
      if (info === undefined || info.size === 0) {
        if (isOvertaken()) continue
        return this.#take(info, new Map())
      }
      if (this.#info !== undefined && compareVersions(this.#info, info) === 'same') return
      if (info.size > this.#largest) return this.#refuse(info, `${info.size} bytes are too many`)
      try {
        const bytes = value?.bytes ?? (await this.#storage.read(key, 0, info.size, info.etag))
        const { entries, fault } = decoded(bytes)
        // Half of what is being put there now is not what is there.
        if (fault !== undefined) await this.#replacing?.catch(() => undefined)
        if (isOvertaken()) continue
        if (entries !== undefined) return this.#take(info, entries)
        // Where a read carries no condition, it may have met a longer object than the size was asked of.
        const isStill = attempt === ATTEMPTS || mayBeVersion(info, await this.#storage.stat(key))
        if (isStill) return this.#refuse(info, fault)
      } catch (error) {
        // Replaced or removed between the two questions.
        if (!isVersionLost(error) || attempt === ATTEMPTS) throw error
      }
    }
  }

  /** Reads the bytes with one request, and derives from them what stat would return. */
  async #readValue(key: string): Promise<{ info: ObjectInfo | undefined; bytes?: Uint8Array }> {
    const bytes = await this.#storage.readValue(key)
    if (bytes === undefined) return { info: undefined }
    return { info: { kind: 'file', size: bytes.byteLength, mtime: undefined, etag: undefined }, bytes }
  }

  #take(info: ObjectInfo | undefined, entries: Entries, damage?: FsError): void {
    this.#info = info
    this.#stored = entries
    this.#damage = damage
  }

  /** What somebody else has put there, or what is left of ours, is reported and left alone. */
  #refuse(info: ObjectInfo | undefined, reason: string, entries: Entries = new Map()): void {
    const key = JSON.stringify(this.#directoryKey() + this.#names.sidecar)
    const damage = new FsError('EIO', `${key} cannot be used to keep attributes: ${reason}`)
    // Once, though it is read again and again where the service cannot tell versions apart.
    if (this.#damage?.message !== damage.message) this.#storage.report(damage)
    this.#take(info, entries, damage)
  }

  /** Settles once the storage has all changes made before the call. */
  async flush(): Promise<void> {
    while (this.dirty) {
      this.#writing ??= this.#write().finally(() => {
        this.#writing = undefined
      })
      await this.#writing
    }
  }

  async #write(): Promise<void> {
    const { urgent } = this
    this.urgent = false
    const writing = new Map(this.#changes)
    try {
      for (let attempt = 1; ; attempt++) {
        await this.read()
        // Times are not worth an error: that the object is damaged has been reported.
        if (this.#damage !== undefined && !urgent) break
        if (this.#damage !== undefined) throw this.#damage
        const merged = merge(this.#stored, writing)
        if (merged === undefined) break
        try {
          this.#replacing = this.#replace(merged).finally(() => {
            this.#replacing = undefined
            this.#replacements++
          })
          await this.#replacing
          break
        } catch (error) {
          if (!isVersionLost(error) || attempt === ATTEMPTS) throw error
        }
      }
    } catch (error) {
      this.urgent = true
      throw error
    }
    const done: string[] = []
    for (const [segment, change] of writing) {
      const present = this.#changes.get(segment)
      if (present === change) {
        this.#changes.delete(segment)
        done.push(segment)
      } else if (present !== undefined) {
        // It replaces what has just been stored.
        this.#changes.set(segment, { ...present, over: this.#stored.get(segment) })
      }
    }
    this.#notes?.crossOut(done)
    if (!this.dirty) this.#record?.settled()
  }

  async #replace(entries: Entries): Promise<void> {
    const storage = this.#storage
    const directory = this.#directoryKey()
    const key = directory + this.#names.sidecar
    if (entries.size === 0) {
      this.#full = false
      await storage.delete(key)
    } else {
      const bytes = encodeEntries(entries)
      // What was written beyond could not be read any more: the storage keeps what it has.
      this.#full = bytes.byteLength > this.#largest
      if (this.#full) throw this.#fullError()
      const source = {
        async *parts(): AsyncGenerator<Uint8Array> {
          yield bytes
        },
      }
      const condition = this.#info === undefined ? { absent: true } : { etag: this.#info.etag }
      const expected = this.#info
      const confirm = async () => {
        // It has just been read whole, and a stat would return only its size.
        if (storage.statsByReading) return
        if (expected === undefined) return storage.requireAbsent(key)
        if (!mayBeVersion(expected, await storage.stat(key))) throw versionLostError('write', key)
      }
      await replaceObject(storage, this.#names, key, source, bytes.byteLength, condition, confirm)
      const restMs = Math.floor(bytes.byteLength / (1 << 20)) * REST_MS_PER_MIB
      this.restsUntil = Date.now() + Math.min(restMs, LONGEST_REST_MS)
    }
    this.#stored = entries
    // Whoever has written since is found out by the next reading.
    this.#info = undefined
  }
}

type Decoded =
  | { readonly entries: Entries; readonly fault: undefined }
  | { readonly entries: undefined; readonly fault: string }

function decoded(bytes: Uint8Array): Decoded {
  try {
    return { entries: decodeEntries(bytes), fault: undefined }
  } catch (error) {
    return { entries: undefined, fault: (error as Error).message }
  }
}

/** What the storage is to have; undefined if it has that already. */
function merge(stored: Entries, changes: ReadonlyMap<string, SidecarChange>): Entries | undefined {
  const merged: Entries = new Map(stored)
  let changed = false
  for (const [segment, { entry, at, over }] of changes) {
    const theirs = stored.get(segment)
    const isNews = theirs !== undefined && compareTimes(theirs.ctime, over?.ctime) !== 0
    if ((isNews && compareTimes(theirs.ctime, at) > 0) || theirs === entry) continue
    // Its name went away, elsewhere.
    if (theirs === undefined && isLink(over) && isLink(entry)) continue
    changed = true
    if (entry === undefined) merged.delete(segment)
    else merged.set(segment, entry)
  }
  return changed ? merged : undefined
}

function isLink(entry: AttributeEntry | undefined): boolean {
  return entry !== undefined && isSpecial(entry)
}
