// What a daemon does first with the journal of the one before it: finishes the moves and deletions that were begun, then publishes
// the files that the storage does not have, and at last brings attributes to where they are kept. What somebody else has changed
// meanwhile is not overwritten: the losing bytes go to the recovery folder. A replay that is killed is done again by the next.

import { readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fromPlain, isSpecial } from '../attributes/attribute-entry.ts'
import { MovedSidecars } from '../attributes/moved-sidecars.ts'
import type { Time } from '../attributes/time.ts'
import { forEachConcurrently } from '../names/locks.ts'
import type { Settings } from '../options.ts'
import { finishDirectoryMove } from '../storage/directory-moves.ts'
import type { KeyNames } from '../storage/key-names.ts'
import { deleteCopied, isSameObject } from '../storage/object-copies.ts'
import { moveObject } from '../storage/object-moves.ts'
import { replaceObject } from '../storage/object-replacement.ts'
import type { ObjectInfo, Storage } from '../storage/storage.ts'
import { isVersionLost, versionLostError } from '../storage/storage-error.ts'
import { compareVersions, mayBeVersion } from '../storage/version.ts'
import { recoveryName } from '../writes/conflict.ts'
import { keptChange } from './attribute-notes.ts'
import { AttributeReplay } from './attribute-replay.ts'
import {
  type EntryKey,
  entryChange,
  type FileEntry,
  isUnfinished,
  type KeptChange,
  type MoveEntry,
  parseEntry,
  type RemovalEntry,
  type Version,
  versionOf,
} from './journal-entries.ts'
import type { Change } from './journal-record.ts'
import { moveNotes } from './moved-notes.ts'
import type { NamesInUse } from './names-in-use.ts'
import { SavedSource } from './saved-content.ts'
import { StateError } from './state-error.ts'
import type { StateFolder } from './state-folder.ts'
import { keepContent, removeStored } from './stored-bytes.ts'

const CONCURRENT_PUBLICATIONS = 8
const ATTEMPTS = 3

/** Something that the storage did not take, because somebody else had changed it. */
export interface Conflict {
  /** The key in the storage. */
  readonly key: string
  /** The file on the host that holds the losing bytes; undefined if they are still in the storage. */
  readonly keptAs: string | undefined
}

export interface ReplayReport {
  /** Files whose bytes the storage has now. */
  readonly published: number
  /** Moves and deletions that were finished. */
  readonly finished: number
  readonly conflicts: readonly Conflict[]
  /** Files and directories whose attributes had not been stored. */
  readonly attributes: number
  /** Bytes at the end of the journal that were no whole record. */
  readonly cut: number
  /** Why the journal does not say that it was done; undefined if it does. The next replay does it again. */
  readonly unnoted: StateError | undefined
}

export class Replay {
  readonly #inUse: NamesInUse | undefined
  readonly #state: StateFolder
  readonly #storage: Storage
  readonly #names: KeyNames
  readonly #files = new Map<string, FileEntry>()
  readonly #notes = new Map<string, KeptChange>()
  /** When what has been published was written, by key. */
  readonly #written = new Map<string, Time>()
  readonly #keepsTimes: boolean
  readonly #conflicts: Conflict[] = []
  #published = 0
  #finished = 0
  #unnoted: StateError | undefined

  constructor(
    state: StateFolder,
    storage: Storage,
    names: KeyNames,
    { attrs }: Pick<Settings, 'attrs'>,
    inUse?: NamesInUse,
  ) {
    this.#inUse = inUse
    this.#state = state
    this.#keepsTimes = attrs === 'sidecar'
    this.#storage = storage
    this.#names = names
  }

  /** If it rejects, the journal holds what is still to be done. */
  async run(): Promise<ReplayReport> {
    const { journal } = this.#state
    const moves: [string, MoveEntry][] = []
    const removals: [string, RemovalEntry][] = []
    const asides: [string, string][] = []
    for (const [key, value] of journal.entries) {
      if (!isUnfinished(key)) continue
      const entry = parseEntry(key, value)
      if (entry === undefined)
        throw new StateError(
          'FOREIGN',
          `${this.#state.path}: the journal has an entry of a newer version of ovfs`,
        )
      if (entry.kind === 'file') this.#files.set(key, entry)
      else if (entry.kind === 'move') moves.push([key, entry])
      else if (entry.kind === 'removal') removals.push([key, entry])
      else if (entry.kind === 'aside') asides.push([key, entry.key])
      else this.#notes.set(key, entry)
    }
    for (const [key, entry] of moves) await this.#move(key, entry)
    await forEachConcurrently(removals, CONCURRENT_PUBLICATIONS, ([key, entry]) => this.#remove(key, entry))
    await forEachConcurrently(asides, CONCURRENT_PUBLICATIONS, async ([key, aside]) => {
      if (this.#inUse?.isHeld(aside)) return
      await this.#storage.delete(aside)
      await this.#conclude([{ key }])
    })
    await forEachConcurrently([...this.#files], CONCURRENT_PUBLICATIONS, ([key, entry]) =>
      this.#publish(key, entry),
    )
    this.#renewNotes()
    const attributes = this.#notes.size
    const keeping = new AttributeReplay(this.#state, this.#storage, this.#names)
    const lost = new Set(this.#conflicts.map(({ key }) => key))
    await keeping.run(this.#notes, lost, this.#keepsTimes ? this.#written : undefined)
    // What the journal may still name stays where it is.
    if (!journal.behind) await this.#sweep()
    return {
      published: this.#published,
      finished: this.#finished,
      attributes,
      conflicts: [...this.#conflicts, ...keeping.lost],
      cut: journal.cut,
      unnoted: journal.behind ? (this.#unnoted ?? keeping.unnoted) : undefined,
    }
  }

  /** What is done is done, whatever the journal takes: the next replay finds it done. */
  async #conclude(changes: readonly Change[]): Promise<void> {
    const error = await this.#state.journal.conclude(changes)
    this.#unnoted ??= error
  }

  async #move(key: string, entry: MoveEntry): Promise<void> {
    if (await this.#isUntouched(entry)) return this.#conclude([{ key }])
    const moved = this.#inUse?.isAt(entry.node, entry.to) || (await this.#finishMove(entry))
    const changes: Change[] = [{ key }]
    if (moved) {
      this.#finished++
      changes.push(...(await this.#leaveAside(entry.targetNode, entry.to, entry.aside)))
      this.#inUse?.moved(entry, await this.#replaced(entry))
      for (const dropped of entry.drops) {
        this.#files.delete(dropped)
        this.#notes.delete(dropped)
        changes.push({ key: dropped })
      }
      changes.push(...moveNotes(entry, this.#notes))
      for (const [fileKey, file] of this.#files) {
        const next = await this.#follow(entry, file)
        if (next === file) continue
        this.#files.set(fileKey, next)
        changes.push(entryChange(fileKey as EntryKey, next))
      }
    } else changes.push(...this.#heldAside(entry.aside))
    await this.#conclude(changes)
  }

  /** What a session says of a name is newer than what the journal does. */
  #renewNotes(): void {
    for (const [key, { directory, segment }] of this.#notes) {
      const change = this.#inUse?.change(directory, segment)
      if (change !== undefined) this.#notes.set(key, keptChange(directory, segment, change))
    }
  }

  /** Looks up an object that an interrupted move or removal may already have removed. */
  #find(key: string): Promise<ObjectInfo | undefined> {
    return this.#storage.stat(key, true)
  }

  /** Finished now, the move would destroy what somebody has open. The guest asks for it again. */
  async #isUntouched({ targetNode, to, aside }: MoveEntry): Promise<boolean> {
    if (!this.#inUse?.isAt(targetNode, to) || !this.#inUse.needsObject(targetNode)) return false
    return aside === null || (await this.#find(aside)) === undefined
  }

  /** The last step of taking an object out of its name: what somebody has open stays until it is closed. */
  async #leaveAside(node: number, key: string, aside: string | null): Promise<Change[]> {
    if (aside === null) return []
    const isOpen = this.#inUse?.isAt(node, key) && this.#inUse.isOpen(node)
    if (isOpen && (await this.#find(aside)) !== undefined) this.#inUse?.removed(node, key, aside)
    const held = this.#heldAside(aside)
    if (held.length === 0) await this.#storage.delete(aside)
    return held
  }

  #heldAside(aside: string | null): Change[] {
    const isHeld = aside !== null && this.#inUse?.isHeld(aside)
    return isHeld ? [entryChange(`aside:${aside}`, { kind: 'aside', key: aside })] : []
  }

  /** True if what was moved is at its new place now. */
  #finishMove(entry: MoveEntry): Promise<boolean> {
    return entry.from.endsWith('/') ? this.#moveDirectory(entry) : this.#moveFile(entry)
  }

  async #moveFile(entry: MoveEntry): Promise<boolean> {
    const [carried] = entry.attributes ?? []
    if (carried !== undefined && carried.entry !== null && isSpecial(fromPlain(carried.entry)))
      return this.#moveSpecial(entry)
    if (!entry.published) return this.#moveUnpublished(entry)
    const storage = this.#storage
    const { from, to, source, target } = entry
    const [atFrom, atTo] = await Promise.all([this.#find(from), this.#find(to)])
    if (atFrom === undefined || !isVersion(atFrom, source)) {
      if (atTo !== undefined && !isStillTarget(atTo, entry)) return true
      // Another client replaced or removed the source before it was moved.
      await this.#restore(entry)
      return false
    }
    const move = { from, to, source: atFrom, target: atTo }
    if (atTo === undefined || isVersion(atTo, target)) await moveObject(storage, move)
    else if (await isSameObject(storage, from, atFrom, to, atTo))
      await deleteCopied(storage, move, atTo, await this.#find(from))
    else {
      this.#conflicts.push({ key: from, keptAs: undefined })
      return false
    }
    return true
  }

  /** What neither the journal nor a session has went with the daemon: then it has not been moved over anything either. */
  async #moveUnpublished(entry: MoveEntry): Promise<boolean> {
    const { node, from, to, source, drops } = entry
    const isSaved = [...this.#files].some(
      ([key, file]) => file.key === from || (file.key === to && !drops.includes(key)),
    )
    if (!isSaved && !this.#inUse?.isAt(node, from)) {
      await this.#restore(entry)
      return false
    }
    const atFrom = await this.#find(from)
    if (atFrom !== undefined && isVersion(atFrom, source)) await this.#storage.delete(from)
    return true
  }

  async #replaced({ published, to, target }: MoveEntry): Promise<ObjectInfo | undefined> {
    if (published || target === null) return undefined
    const there = await this.#find(to)
    return isVersion(there, target) ? there : undefined
  }

  /** A link or a device has no object; but what it replaces may have one. */
  async #moveSpecial({ from, to, target }: MoveEntry): Promise<boolean> {
    const atTo = await this.#find(to)
    if (atTo === undefined) return true
    if (isVersion(atTo, target)) await this.#storage.delete(to)
    else this.#conflicts.push({ key: from, keptAs: undefined })
    return isVersion(atTo, target)
  }

  async #restore({ to, aside }: MoveEntry): Promise<void> {
    const isFree = aside !== null && !this.#inUse?.isHeld(aside)
    const old = isFree ? await this.#find(aside) : undefined
    if (aside === null || old === undefined || (await this.#find(to)) !== undefined) return
    await moveObject(this.#storage, { from: aside, to, source: old, target: undefined })
  }

  async #moveDirectory({ from, to }: MoveEntry): Promise<boolean> {
    const sidecars = this.#keepsTimes ? new MovedSidecars(this.#storage, this.#names) : undefined
    const staying = await finishDirectoryMove(this.#storage, from, to, sidecars)
    for (const key of staying) this.#conflicts.push({ key, keptAs: undefined })
    return staying.length === 0
  }

  /** A file that was not published yet lies where its name was moved to. */
  async #follow(move: MoveEntry, file: FileEntry): Promise<FileEntry> {
    const { from, to } = move
    const isDirectory = from.endsWith('/')
    const isAt = (place: string) => (isDirectory ? file.key.startsWith(place) : file.key === place)
    let key: string
    if (isAt(from)) key = to + file.key.slice(from.length)
    else if (isAt(to)) key = file.key
    else return file
    const { replaces } = file
    if (!move.published) {
      if (key === file.key) return file
      // What the file replaces at its new place, if that is still there.
      const there = await this.#find(key)
      return { ...file, key, replaces: isVersion(there, move.target) ? move.target : null }
    }
    if (replaces === null) return { ...file, key }
    // The same bytes, which the storage may know by another version since they were moved.
    const info = await this.#find(key)
    return { ...file, key, replaces: info?.size === replaces.size ? versionOf(info) : replaces }
  }

  async #remove(key: string, entry: RemovalEntry): Promise<void> {
    if (await this.#isStill(entry)) return this.#conclude([{ key }])
    const { node, key: object, aside, drops } = entry
    const changes: Change[] = [{ key }]
    if (this.#inUse?.isRemoved(node) || (await this.#finishRemoval(entry))) {
      this.#finished++
      changes.push(...(await this.#leaveAside(node, object, aside)))
      this.#inUse?.removed(node, object, undefined)
      for (const dropped of drops) {
        this.#files.delete(dropped)
        changes.push({ key: dropped })
      }
    }
    await this.#conclude(changes)
  }

  /** Finished now, the removal would destroy what somebody has open. The guest asks for it again. */
  async #isStill({ node, key, aside }: RemovalEntry): Promise<boolean> {
    const inUse = this.#inUse
    if (!inUse?.isAt(node, key)) return false
    if (aside === null) return inUse.needsObject(node)
    return inUse.isOpen(node) && (await this.#find(aside)) === undefined
  }

  /** True if the object is gone from its name; false if somebody else has put another one there before that. */
  async #finishRemoval({ key, version, aside }: RemovalEntry): Promise<boolean> {
    const info = await this.#find(key)
    if (info !== undefined && !isVersion(info, version))
      return aside !== null && (await this.#find(aside)) !== undefined
    await this.#storage.delete(key)
    return true
  }

  async #publish(entryKey: string, entry: FileEntry): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#tryPublish(entryKey, entry)
      } catch (error) {
        // Somebody else was faster: what is there now decides.
        if (!isVersionLost(error) || attempt === ATTEMPTS) throw error
      }
    }
  }

  async #tryPublish(entryKey: string, entry: FileEntry): Promise<void> {
    const { key, content } = entry
    const info = await this.#storage.stat(key, entry.replaces === null)
    const read = (offset: number, length: number) => this.#storage.read(key, offset, length, info?.etag)
    const { savedPath } = this.#state
    const source = new SavedSource(content, savedPath, read)
    let mine = isVersion(info, entry.replaces)
    if (!mine && info !== undefined) {
      if (await source.isIn(info.size, read)) {
        this.#inUse?.published(key, content.size)
        await this.#done(entryKey, entry)
        return
      }
      for (const earlier of entry.mayBe) {
        mine ||= await new SavedSource(earlier, savedPath, read).isIn(info.size, read)
      }
    }
    if (mine) {
      const condition = { etag: info?.etag, absent: info === undefined, metadata: info?.metadata }
      const confirm = async () => {
        if (info === undefined) return this.#storage.requireAbsent(key)
        if (!mayBeVersion(info, await this.#storage.stat(key))) throw versionLostError('close', key)
      }
      await replaceObject(this.#storage, this.#names, key, source, content.size, condition, confirm)
      this.#inUse?.published(key, content.size)
      this.#published++
      this.#written.set(key, content.mtime)
    } else {
      const keptAs = join(this.#state.recoveryPath, recoveryName(key))
      await keepContent(content, savedPath, keptAs)
      this.#conflicts.push({ key, keptAs })
    }
    await this.#done(entryKey, entry)
  }

  async #done(key: string, { content, mayBe }: FileEntry): Promise<void> {
    await this.#conclude([{ key }])
    if (this.#state.journal.behind) return
    for (const stored of [content, ...mayBe])
      await removeStored(stored, this.#state.savedPath).catch(ignoreAbsence)
  }

  /** Files that were saved and never acknowledged, or not removed before the kill. */
  async #sweep(): Promise<void> {
    for (const name of await readdir(this.#state.savedPath))
      await unlink(join(this.#state.savedPath, name)).catch(ignoreAbsence)
  }
}

/** True if the object at the target of a move is certainly the one from before the move. */
function isStillTarget(atTo: ObjectInfo, { source, target }: MoveEntry): boolean {
  if (!isVersion(atTo, target)) return false
  const isKnown = compareVersions(target!, atTo) === 'same'
  return isKnown ? source === null || compareVersions(source, atTo) !== 'same' : atTo.size !== source?.size
}

function isVersion(info: ObjectInfo | undefined, version: Version): boolean {
  if (info === undefined || version === null) return info === undefined && version === null
  return mayBeVersion({ kind: 'file', size: version.size, mtime: version.mtime, etag: version.etag }, info)
}

function ignoreAbsence(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}
