// Files whose bytes the host's disk keeps until the storage has them: saved before a close is acknowledged, published from
// what was saved, and followed when their names change. An inode has at most one entry in the journal. The key in it is taken
// in the same turn in which the commit is queued, so that commits and changes of names cannot overtake each other.

import type { Inode } from '../names/inode.ts'
import { Mutex, SharedTask } from '../names/locks.ts'
import type { Tree } from '../names/tree.ts'
import type { ObjectInfo } from '../storage/storage.ts'
import type { DirtyFile } from '../writes/dirty-file.ts'
import type { Mark } from '../writes/file-map.ts'
import { syncFolder } from './journal.ts'
import { type EntryKey, entryChange, type SavedContent, type Version, versionOf } from './journal-entries.ts'
import type { Change } from './journal-record.ts'
import { SavedSource, saveContent } from './saved-content.ts'
import type { StateFolder } from './state-folder.ts'
import { removeStored } from './stored-bytes.ts'

/** While somebody writes to a file, its saver waits for a moment in which nobody does, so often. */
const ATTEMPTS = 3
/** Contents that a publication may have left in the storage without learning it, per file. */
const MOST_DOUBTFUL = 4

/** The journal is in memory too: larger and later contents get files of their own, in bytes. */
const MOST_IN_JOURNAL = 16 << 20

/** A content on the disk, and what of the dirty file it holds. */
interface Moment {
  readonly content: SavedContent
  /** The dirty file's count of changes. */
  readonly changes: number
  readonly mark: Mark
}

/** The journal's word on an inode. */
export interface SavedFile {
  readonly key: EntryKey
  readonly dirty: DirtyFile
  latest: Moment
  /** False if the journal may still name an older content. */
  journaled: boolean
  /** What lies under the file's key. */
  replaces: Version
  /** What publications have put there, or may have, without the end being known. */
  doubtful: Moment[]
}

export interface SavedPublication extends Moment {
  readonly size: number
  readonly source: SavedSource
}

export class SavedFiles {
  readonly #state: StateFolder
  readonly #tree: Tree
  readonly #onError: (error: Error) => void
  readonly #saving = new WeakMap<DirtyFile, Mutex>()
  readonly #folderSync: SharedTask
  /** Bytes of contents that the journal has itself. */
  #inJournal = 0
  /** What goes on after the operation that began it has been answered. */
  readonly #settling = new Set<Promise<void>>()

  constructor(state: StateFolder, tree: Tree, onError: (error: Error) => void) {
    this.#state = state
    this.#tree = tree
    this.#onError = onError
    this.#folderSync = new SharedTask(() => syncFolder(state.savedPath))
  }

  /**
   * Settles when the host's disk has what was written to the file before the call.
   * @throws StateError
   */
  async save(inode: Inode): Promise<void> {
    const { dirty } = inode.file!
    if (dirty === undefined) return
    const mutex = this.#saving.get(dirty) ?? new Mutex()
    this.#saving.set(dirty, mutex)
    await mutex.run(() => this.#save(inode, dirty))
  }

  async #save(inode: Inode, dirty: DirtyFile): Promise<void> {
    const file = inode.file!
    if (isSaved(inode)) return
    const moment = await this.#quietMoment(dirty)
    // Removed or published while it was being copied.
    if (file.dirty !== dirty || inode.removed) return this.#remove(dirty, [moment])
    const saved: SavedFile = file.saved ?? {
      key: `file:${crypto.randomUUID()}`,
      dirty,
      latest: moment,
      journaled: false,
      replaces: versionUnder(inode),
      doubtful: [],
    }
    file.saved = saved
    const { latest } = saved
    saved.latest = moment
    saved.journaled = false
    await this.#state.journal.commit(this.renamed(inode))
    saved.journaled = true
    if (latest !== moment && !saved.doubtful.includes(latest)) await this.#remove(dirty, [latest])
  }

  async #quietMoment(dirty: DirtyFile): Promise<Moment> {
    for (let attempt = 1; ; attempt++) {
      const { changes } = dirty
      const mark = dirty.mark()
      try {
        const content = await saveContent(dirty, this.#state.savedPath, MOST_IN_JOURNAL - this.#inJournal)
        if (content.name === null) this.#inJournal += bytesInJournal(content)
        else await this.#folderSync.run()
        const moment = { content, changes, mark }
        if ((dirty.changes === changes && !dirty.writing) || attempt === ATTEMPTS) return moment
        await this.#remove(dirty, [moment])
      } catch (error) {
        dirty.release(mark)
        throw error
      }
    }
  }

  /**
   * What to publish; it stays on the disk until `published`. Undefined if nothing is saved.
   * @param found the version that it replaces, whose bytes may show in it
   */
  publication(inode: Inode, found: ObjectInfo | undefined): SavedPublication | undefined {
    const { saved } = inode.file!
    if (saved === undefined) return undefined
    const { latest } = saved
    if (!saved.doubtful.includes(latest)) saved.doubtful.push(latest)
    const source = new SavedSource(latest.content, this.#state.savedPath, (offset, length) =>
      this.#tree.storage.read(this.#tree.key(inode), offset, length, found?.etag),
    )
    return { ...latest, size: latest.content.size, source }
  }

  /** True if the object is what an earlier publication put there without learning of its success. */
  async isOurs(inode: Inode, found: ObjectInfo | undefined): Promise<boolean> {
    const { saved } = inode.file!
    if (saved === undefined || found === undefined) return false
    const key = this.#tree.key(inode)
    const read = (offset: number, length: number) => this.#tree.storage.read(key, offset, length, found.etag)
    for (const { content } of saved.doubtful) {
      if (await new SavedSource(content, this.#state.savedPath, read).isIn(found.size, read)) return true
    }
    return false
  }

  /** A publication has ended. After a failure the storage may have its content all the same. */
  async attempted(inode: Inode): Promise<void> {
    const { saved } = inode.file!
    if (saved === undefined || saved.doubtful.length <= MOST_DOUBTFUL) return
    const given = saved.doubtful.splice(0, saved.doubtful.length - MOST_DOUBTFUL)
    await this.#remove(
      saved.dirty,
      given.filter(moment => moment !== saved.latest),
    )
  }

  /** The storage has it. Settles when the journal says so too. */
  async published(inode: Inode, { content }: SavedPublication): Promise<void> {
    const file = inode.file!
    const { saved } = file
    if (saved === undefined) return
    const done = saved.doubtful
    saved.doubtful = []
    saved.replaces = versionOf(file.info)
    if (saved.latest.content === content) {
      file.saved = undefined
      return this.#conclude([{ key: saved.key }], saved.dirty, [...done, saved.latest])
    }
    await this.#conclude(this.renamed(inode), saved.dirty, done)
  }

  /** The entries of an inode, or of all below it, by the names that they have now. */
  renamed(inode: Inode): Change[] {
    if (inode.directory !== undefined) {
      return [...inode.directory.children.values()].flatMap(child => this.renamed(child))
    }
    const { saved } = inode.file!
    if (saved === undefined) return []
    const { key, latest, replaces, doubtful } = saved
    return [
      entryChange(key, {
        kind: 'file',
        key: this.#tree.key(inode),
        content: latest.content,
        replaces,
        mayBe: doubtful.filter(moment => moment !== latest).map(({ content }) => content),
      }),
    ]
  }

  /** Something else lies under the file's key now: itself after a move, or what it has been moved over. */
  rebased(inode: Inode): void {
    const { saved } = inode.file!
    if (saved !== undefined) saved.replaces = versionUnder(inode)
  }

  /** The inode's entry is not to be replayed. The caller commits the changes, or has nothing to lose by their coming later. */
  forget(inode: Inode): Change[] {
    const file = inode.file!
    const { saved } = file
    if (saved === undefined) return []
    file.saved = undefined
    const changes = [{ key: saved.key }]
    this.#settle(() => this.#conclude(changes, saved.dirty, [...saved.doubtful, saved.latest]))
    return changes
  }

  /** Waits for what goes on in the background. */
  async settled(): Promise<void> {
    await Promise.all(this.#settling)
  }

  #settle(task: () => Promise<void>): void {
    const settling = task().catch(this.#onError)
    this.#settling.add(settling)
    void settling.finally(() => this.#settling.delete(settling))
  }

  /** The storage has it, whatever the journal takes: contents that it may still name stay where they are. */
  async #conclude(changes: readonly Change[], dirty: DirtyFile, moments: readonly Moment[]): Promise<void> {
    const error = await this.#state.journal.conclude(changes)
    if (error === undefined) return this.#remove(dirty, moments)
    this.#onError(error)
    for (const { mark } of new Set(moments)) dirty.release(mark)
  }

  async #remove(dirty: DirtyFile, moments: Iterable<Moment>): Promise<void> {
    for (const { mark, content } of new Set(moments)) {
      dirty.release(mark)
      this.#inJournal -= bytesInJournal(content)
      // What cannot be removed now is swept away at the next start.
      await removeStored(content, this.#state.savedPath).catch(() => undefined)
    }
  }
}

/** True if the journal has all that was written to the file. */
export function isSaved(inode: Inode): boolean {
  const { dirty, saved } = inode.file!
  if (dirty === undefined || inode.removed) return true
  return saved?.journaled === true && saved.latest.changes === dirty.changes && !dirty.writing
}

/** What lies under the inode's key. */
function versionUnder(inode: Inode): Version {
  const { exists, info, replaced } = inode.file!
  return exists ? versionOf(info ?? replaced) : null
}

function bytesInJournal({ bytes }: SavedContent): number {
  return bytes?.length ?? 0
}
