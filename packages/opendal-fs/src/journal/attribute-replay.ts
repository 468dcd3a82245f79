// Brings into the sidecars what the journal has of attributes: one write for each directory. What another host has changed since
// stays if it is newer, and names that are gone do not come back. To be done when all objects are in their places.

import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type AttributeEntry, encodeEntries, fromPlain, isSpecial } from '../attributes/attribute-entry.ts'
import { Sidecar } from '../attributes/sidecar.ts'
import { compareTimes, type Time } from '../attributes/time.ts'
import { statDirectory } from '../names/directory-index.ts'
import { forEachConcurrently } from '../names/locks.ts'
import type { KeyNames } from '../storage/key-names.ts'
import type { ObjectInfo, Storage } from '../storage/storage.ts'
import { versionName } from '../storage/version.ts'
import { recoveryName } from '../writes/conflict.ts'
import type { KeptChange } from './journal-entries.ts'
import { type StateError, toStateError } from './state-error.ts'
import type { StateFolder } from './state-folder.ts'

const CONCURRENT_SIDECARS = 8
const CONCURRENT_QUESTIONS = 32

/** By the keys that the journal has them under. */
export type Notes = ReadonlyMap<string, KeptChange>

export interface LostAttributes {
  readonly key: string
  readonly keptAs: string
}

/** What is to be done in one directory. */
interface Group {
  readonly notes: (readonly [string, KeptChange])[]
  readonly written: (readonly [segment: string, mtime: Time])[]
}

export class AttributeReplay {
  readonly #state: StateFolder
  readonly #storage: Storage
  readonly #names: KeyNames
  /** Sidecars that are not ours to change; what they were to hold lies in the recovery folder. */
  readonly lost: LostAttributes[] = []
  /** Why the journal does not say of something that it was done. */
  unnoted: StateError | undefined

  constructor(state: StateFolder, storage: Storage, names: KeyNames) {
    this.#state = state
    this.#storage = storage
    this.#names = names
  }

  /**
   * @param lost keys under which somebody else's bytes lie: they have their own attributes
   * @param written when the files that have just been published were written last, by key
   */
  async run(
    notes: Notes,
    lost: ReadonlySet<string>,
    written: ReadonlyMap<string, Time> = new Map(),
  ): Promise<void> {
    const groups = new Map<string, Group>()
    const groupOf = (directory: string): Group => {
      const group = groups.get(directory) ?? { notes: [], written: [] }
      groups.set(directory, group)
      return group
    }
    for (const note of notes) groupOf(note[1].directory).notes.push(note)
    for (const [key, mtime] of written) {
      const end = key.lastIndexOf('/') + 1
      groupOf(key.slice(0, end)).written.push([key.slice(end), mtime])
    }
    await forEachConcurrently(groups, CONCURRENT_SIDECARS, ([directory, group]) =>
      this.#restore(directory, group, lost),
    )
  }

  async #restore(directory: string, { notes, written }: Group, lost: ReadonlySet<string>): Promise<void> {
    const sidecar = new Sidecar(this.#storage, this.#names, () => directory)
    await sidecar.read()
    // The journal keeps the attributes until the service lets the sidecar be read again.
    if (sidecar.denial !== undefined) throw sidecar.denial
    const wanted = new Map<string, AttributeEntry>()
    await forEachConcurrently(notes, CONCURRENT_QUESTIONS, async ([, { segment, entry, at, over }]) => {
      if (lost.has(directory + segment)) return
      const present = entry === null ? undefined : await this.#present(directory, segment, fromPlain(entry))
      if (entry !== null && present === undefined) return
      if (present !== undefined) wanted.set(segment, present)
      sidecar.restore(segment, { entry: present, at, over: over === null ? undefined : fromPlain(over) })
    })
    await forEachConcurrently(written, CONCURRENT_QUESTIONS, async ([segment, mtime]) => {
      // A time that a program has set.
      if (wanted.get(segment)?.mtime !== undefined) return
      const info = await this.#storage.stat(directory + segment, true)
      if (info === undefined) return
      const base = sidecar.get(segment)
      const ctime = base !== undefined && compareTimes(base.ctime, mtime) > 0 ? base.ctime : mtime
      const entry = { ...base, ctime, mtime, atime: undefined, version: versionName(info) }
      sidecar.restore(segment, { entry, at: ctime, over: sidecar.origin(segment) })
    })
    if (sidecar.isDamaged) await this.#keep(directory, wanted)
    else await sidecar.flush()
    const error = await this.#state.journal.conclude(notes.map(([key]) => ({ key })))
    this.unnoted ??= error
  }

  /** The entry, if there is what it belongs to. */
  async #present(
    directory: string,
    segment: string,
    entry: AttributeEntry,
  ): Promise<AttributeEntry | undefined> {
    const info = await this.#find(directory, isSpecial(entry) ? '' : segment)
    if (info === undefined) return undefined
    // The bytes are the same since it was written down; a move may have given them another version.
    return entry.version === undefined || info.kind !== 'file'
      ? entry
      : { ...entry, version: versionName(info) }
  }

  /** A link or a device has no object, and lies in a directory that is there. */
  async #find(directory: string, segment: string): Promise<ObjectInfo | undefined> {
    const key = directory + segment
    if (key === '') return this.#storage.stat('')
    if (key.endsWith('/')) return statDirectory(this.#storage, key)
    return (await this.#storage.stat(key, true)) ?? (await statDirectory(this.#storage, `${key}/`))
  }

  async #keep(directory: string, entries: ReadonlyMap<string, AttributeEntry>): Promise<void> {
    if (entries.size === 0) return
    const keptAs = join(this.#state.recoveryPath, recoveryName(`${directory}attributes`))
    try {
      await writeFile(keptAs, encodeEntries(entries), { flag: 'wx', mode: 0o600, flush: true })
    } catch (error) {
      throw toStateError(error, keptAs)
    }
    this.lost.push({ key: directory, keptAs })
  }
}
