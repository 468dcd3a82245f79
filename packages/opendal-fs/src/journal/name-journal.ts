// Changes of names that take the storage more than one step: written down before the first and crossed out after the last, so
// that after a kill each file is in exactly one place. Without a journal they are just done.

import type { Inode } from '../names/inode.ts'
import type { Storage } from '../storage/storage.ts'
import type { Journal } from './journal.ts'
import { type EntryKey, entryChange, type MoveEntry, type RemovalEntry } from './journal-entries.ts'
import type { Change } from './journal-record.ts'
import type { SavedFiles } from './saved-files.ts'

export class NameJournal {
  readonly #journal: Journal | undefined
  readonly #saved: SavedFiles | undefined
  readonly #onError: (error: Error) => void

  /** @param onError told of what the disk did not take when it was too late to refuse */
  constructor(journal: Journal | undefined, saved: SavedFiles | undefined, onError: (error: Error) => void) {
    this.#journal = journal
    this.#saved = saved
    this.#onError = onError
  }

  /** False if nothing is written down: then nothing needs to be found out for it. */
  get isKept(): boolean {
    return this.#journal !== undefined
  }

  /**
   * Does `work`, which changes the storage and then the tree.
   * @param after what else is true of names once it is done
   * @throws StateError if it cannot be written down, and then nothing has been done
   */
  async during(
    entry: MoveEntry | RemovalEntry,
    work: () => Promise<void>,
    after: () => Change[] = () => [],
  ): Promise<void> {
    const journal = this.#journal
    if (journal === undefined) return work()
    const key: EntryKey = `${entry.kind}:${crypto.randomUUID()}`
    await journal.commit([entryChange(key, entry)])
    try {
      await work()
    } catch (error) {
      // The guest is told that it failed: nobody is to do it later.
      await this.conclude([{ key }])
      throw error
    }
    await this.conclude([{ key }, ...entry.drops.map(dropped => ({ key: dropped })), ...after()])
  }

  /** Writes down what is already true, and so no reason to refuse anything. */
  async conclude(changes: readonly Change[]): Promise<void> {
    const error = await this.#journal?.conclude(changes)
    if (error !== undefined) this.#onError(error)
  }

  /** What is saved of an inode, by its entry: it goes with a name that is removed. */
  entriesOf(inode: Inode | undefined): string[] {
    const saved = inode?.file?.saved
    return saved === undefined ? [] : [saved.key]
  }

  /** What is saved of an inode and of what lies below it, by the present names. */
  renamed(inode: Inode): Change[] {
    return this.#saved?.renamed(inode) ?? []
  }

  /** Another version lies under the file's key now. */
  rebased(inode: Inode): void {
    this.#saved?.rebased(inode)
  }

  /** A removed file that is still open, if its object has another name now: that goes with the last close. */
  aside(inode: Inode | undefined): Change[] {
    const key = inode?.file?.detachedKey
    return key === undefined ? [] : [asideChange(key, true)]
  }

  /** The last close of a removed file. */
  async deleteAside(storage: Storage, key: string): Promise<void> {
    await storage.delete(key)
    await this.conclude([asideChange(key, false)])
  }
}

function asideChange(key: string, isThere: boolean): Change {
  return entryChange(`aside:${key}`, isThere ? { kind: 'aside', key } : undefined)
}
