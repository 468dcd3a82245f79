// The object beside the files of one directory that keeps what the service cannot: a cache of it, and the changes that it does
// not have yet. Several hosts may write it: before a write it is read again, and each name's newer entry counts.

import { FsError } from '@ovfs/fuse-proto'
import { type KeyNames, SIDECAR } from '../storage/key-names.ts'
import { replaceObject } from '../storage/object-replacement.ts'
import type { ObjectInfo, Storage } from '../storage/storage.ts'
import { isVersionLost } from '../storage/storage-error.ts'
import {
  type AttributeEntry,
  decodeEntries,
  type Entries,
  encodeEntries,
  LARGEST_SIDECAR,
  versionOf,
} from './attribute-entry.ts'
import { compareTimes, type Time, timeOf } from './time.ts'

/** Another host may write between our reading and writing, so often in a row. */
const ATTEMPTS = 8

interface Change {
  readonly entry: AttributeEntry | undefined
  readonly at: Time
  /** What the storage had when the change was made. */
  readonly over: AttributeEntry | undefined
}

export class Sidecar {
  readonly #storage: Storage
  readonly #names: KeyNames
  /** The directory's key now: it may move. */
  readonly #directoryKey: () => string
  #stored: Entries = new Map()
  readonly #changes = new Map<string, Change>()
  /** The object that `#stored` came from; undefined if there was none, or if it must be read again. */
  #info: ObjectInfo | undefined
  #damage: FsError | undefined
  #reading: Promise<void> | undefined
  #writing: Promise<void> | undefined
  /** Until when it may be trusted, in milliseconds since the epoch. */
  until = 0
  /** A change is waiting that a program asked for, and not only the time at which it wrote. */
  urgent = false

  constructor(storage: Storage, names: KeyNames, directoryKey: () => string) {
    this.#storage = storage
    this.#names = names
    this.#directoryKey = directoryKey
  }

  /** The storage lacks something. */
  get dirty(): boolean {
    return this.#changes.size > 0
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

  set(segment: string, entry: AttributeEntry | undefined, urgent: boolean): void {
    const earlier = this.#changes.get(segment)
    const over = earlier === undefined ? this.#stored.get(segment) : earlier.over
    if (entry === undefined && over === undefined && this.#writing === undefined) {
      this.#changes.delete(segment)
      return
    }
    this.#changes.set(segment, { entry, at: entry?.ctime ?? timeOf(Date.now()), over })
    this.urgent ||= urgent
  }

  /** @throws EIO if the object is not ours to change */
  requireWritable(): void {
    if (this.#damage !== undefined) throw this.#damage
  }

  /** The directory is gone: nothing of it is wanted any more. */
  clear(): void {
    this.#changes.clear()
    this.#stored = new Map()
    this.#info = undefined
    this.urgent = false
  }

  /** Reads what the storage has now, unless it is what we know. */
  read(known?: { readonly info: ObjectInfo | undefined }): Promise<void> {
    this.#reading ??= this.#read(known).finally(() => {
      this.#reading = undefined
    })
    return this.#reading
  }

  async #read(known: { readonly info: ObjectInfo | undefined } | undefined): Promise<void> {
    const key = this.#directoryKey() + SIDECAR
    for (let attempt = 1; ; attempt++) {
      const info = attempt === 1 && known !== undefined ? known.info : await this.#storage.stat(key)
      if (info === undefined || info.size === 0) {
        this.#take(undefined, new Map())
        return
      }
      if (this.#info !== undefined && isTellable(info) && versionOf(this.#info) === versionOf(info)) return
      if (info.size > LARGEST_SIDECAR) return this.#refuse(info, `${info.size} bytes are too many`)
      try {
        const bytes = await this.#storage.read(key, 0, info.size, info.etag)
        return this.#decode(info, bytes)
      } catch (error) {
        // Replaced or removed between the two questions.
        if (!isVersionLost(error) || attempt === ATTEMPTS) throw error
      }
    }
  }

  #decode(info: ObjectInfo, bytes: Uint8Array): void {
    try {
      this.#take(info, decodeEntries(bytes))
    } catch (error) {
      this.#refuse(info, (error as Error).message)
    }
  }

  #take(info: ObjectInfo | undefined, entries: Entries, damage?: FsError): void {
    this.#info = info
    this.#stored = entries
    this.#damage = damage
  }

  /** What somebody else has put there, or what is left of ours, is reported and left alone. */
  #refuse(info: ObjectInfo, reason: string): void {
    const key = JSON.stringify(this.#directoryKey() + SIDECAR)
    const damage = new FsError('EIO', `${key} cannot be used to keep attributes: ${reason}`)
    // Once, though it is read again and again where the service cannot tell versions apart.
    if (this.#damage?.message !== damage.message) this.#storage.report(damage)
    this.#take(info, new Map(), damage)
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
        this.requireWritable()
        const merged = merge(this.#stored, writing)
        if (merged === undefined) break
        try {
          await this.#replace(merged)
          break
        } catch (error) {
          if (!isVersionLost(error) || attempt === ATTEMPTS) throw error
        }
      }
    } catch (error) {
      this.urgent = true
      throw error
    }
    for (const [segment, change] of writing) {
      if (this.#changes.get(segment) === change) this.#changes.delete(segment)
    }
  }

  async #replace(entries: Entries): Promise<void> {
    const storage = this.#storage
    const directory = this.#directoryKey()
    const key = directory + SIDECAR
    if (entries.size === 0) await storage.delete(key)
    else {
      const bytes = encodeEntries(entries)
      const source = {
        async *parts(): AsyncGenerator<Uint8Array> {
          yield bytes
        },
      }
      const condition = this.#info === undefined ? { absent: true } : { etag: this.#info.etag }
      await replaceObject(storage, this.#names, key, source, bytes.byteLength, condition)
    }
    this.#stored = entries
    // Whoever has written since is found out by the next reading.
    this.#info = undefined
  }
}

/** What the storage is to have; undefined if it has that already. */
function merge(stored: Entries, changes: ReadonlyMap<string, Change>): Entries | undefined {
  const merged: Entries = new Map(stored)
  let changed = false
  for (const [segment, { entry, at, over }] of changes) {
    const theirs = stored.get(segment)
    const isNews = theirs !== undefined && compareTimes(theirs.ctime, over?.ctime) !== 0
    if ((isNews && compareTimes(theirs.ctime, at) > 0) || theirs === entry) continue
    changed = true
    if (entry === undefined) merged.delete(segment)
    else merged.set(segment, entry)
  }
  return changed ? merged : undefined
}

function isTellable(info: ObjectInfo): boolean {
  return info.etag !== undefined || info.mtime !== undefined
}
