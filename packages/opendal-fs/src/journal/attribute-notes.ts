// What the journal has of one directory's attributes: changes that its sidecar in the storage lacks. A change is noted in the
// turn in which it is made, under the key that the directory has then, and crossed out once the sidecar has it. A name has
// at most one note.

import type { AttributeEntry } from '../attributes/attribute-entry.ts'
import { toPlain } from '../attributes/attribute-entry.ts'
import type { Time } from '../attributes/time.ts'
import type { Journal } from './journal.ts'
import { type EntryKey, entryChange, type KeptChange } from './journal-entries.ts'

/** A change of what is kept of one name. */
export interface EntryChange {
  /** Undefined if nothing is to be kept any more. */
  readonly entry: AttributeEntry | undefined
  readonly at: Time
  /** What the storage had when the change was made. */
  readonly over: AttributeEntry | undefined
}

export class AttributeNotes {
  readonly #journal: Journal
  readonly #directoryKey: () => string
  readonly #onError: (error: Error) => void
  readonly #keys = new Map<string, EntryKey>()
  /** The latest of what is on its way to the disk. */
  #last: Promise<void> | undefined
  /** A change that the disk did not take. */
  #failure: { readonly error: unknown } | undefined

  constructor(journal: Journal, directoryKey: () => string, onError: (error: Error) => void) {
    this.#journal = journal
    this.#directoryKey = directoryKey
    this.#onError = onError
  }

  has(segment: string): boolean {
    return this.#keys.has(segment)
  }

  put(segment: string, change: EntryChange): void {
    const key = this.#keys.get(segment) ?? newNoteKey()
    this.#keys.set(segment, key)
    const kept = keptChange(this.#directoryKey(), segment, change)
    this.#follow(
      this.#journal.commit([entryChange(key, { kind: 'attributes', ...kept })]).catch(error => {
        this.#failure = { error }
      }),
    )
  }

  /** The storage has these, or nobody wants them any more. */
  crossOut(segments: Iterable<string>): void {
    const changes: { key: EntryKey }[] = []
    for (const segment of segments) {
      const key = this.#keys.get(segment)
      if (key === undefined) continue
      this.#keys.delete(segment)
      changes.push({ key })
    }
    if (this.#keys.size === 0) this.#failure = undefined
    if (changes.length === 0) return
    this.#follow(
      this.#journal.conclude(changes).then(error => {
        if (error !== undefined) this.#onError(error)
      }),
    )
  }

  crossOutAll(): void {
    this.crossOut([...this.#keys.keys()])
  }

  /** The note's key, which is the caller's from now on: a move crosses it out, or gives it back. */
  take(segment: string): EntryKey | undefined {
    const key = this.#keys.get(segment)
    this.#keys.delete(segment)
    return key
  }

  giveBack(segment: string, key: EntryKey): void {
    const later = this.#keys.get(segment)
    this.#keys.set(segment, key)
    if (later === undefined) return
    this.crossOut([segment])
    this.#keys.set(segment, later)
  }

  /**
   * Settles once the disk has what was changed before the call; undefined if it does.
   * @throws StateError
   */
  settled(): undefined | Promise<void> {
    if (this.#last === undefined && this.#failure === undefined) return undefined
    return this.#settled()
  }

  async #settled(): Promise<void> {
    await this.#last
    if (this.#failure !== undefined) throw this.#failure.error
  }

  #follow(commit: Promise<void>): void {
    const last = commit.then(() => {
      if (this.#last === last) this.#last = undefined
    })
    this.#last = last
  }
}

export function newNoteKey(): EntryKey {
  return `attributes:${crypto.randomUUID()}`
}

export function keptChange(directory: string, segment: string, { entry, at, over }: EntryChange): KeptChange {
  return {
    directory,
    segment,
    entry: entry === undefined ? null : toPlain(entry),
    at,
    over: over === undefined ? null : toPlain({ ctime: over.ctime, mode: over.mode }),
  }
}
