// Brings a file's unpublished changes into the storage: the whole object is replaced at once, so that readers elsewhere see the
// old file or the new one. Only what shows of the old version is read for it. One publication per file at a time.

import { unlink } from 'node:fs/promises'
import { FsError } from '@ovfs/fuse-proto'
import { compareTimes } from '../attributes/time.ts'
import type { SavedFiles, SavedPublication } from '../journal/saved-files.ts'
import { StateError } from '../journal/state-error.ts'
import { FOREVER, type Inode } from '../names/inode.ts'
import { type SharedLock, Slots } from '../names/locks.ts'
import type { Tree } from '../names/tree.ts'
import type { Settings } from '../options.ts'
import type { SessionRecord } from '../session/session-record.ts'
import { type DoubtfulAttempt, doubtOf, hasLanded } from '../storage/doubtful-attempt.ts'
import { type PartSource, replaceObject } from '../storage/object-replacement.ts'
import type { ObjectInfo } from '../storage/storage.ts'
import { isVersionLost, StorageError, versionLostError } from '../storage/storage-error.ts'
import { mayBeVersion } from '../storage/version.ts'
import { Usage } from '../usage.ts'
import { type ConflictError, isSameContent, keepLoser } from './conflict.ts'
import { DirtyFile } from './dirty-file.ts'
import type { DirtyState } from './dirty-record.ts'
import { type EarlyUpload, EarlyUploads } from './early-upload.ts'
import type { Mark } from './file-map.ts'
import type { StagingBudget } from './staging-budget.ts'
import type { StagingPage } from './staging-pages.ts'
import { WriteBack } from './write-back.ts'

/** Each holds up to one request's bytes. */
const CONCURRENT_PUBLICATIONS = 8

/** A file as it was when its publication began. */
interface Snapshot {
  readonly mark: Mark
  readonly changes: number
  readonly size: number
}

export class Publisher {
  readonly usage: Usage
  readonly #tree: Tree
  readonly #budget: StagingBudget
  /** Moving a directory excludes publishing below it. */
  readonly #names: SharedLock
  readonly #settings: Pick<Settings, 'recoveryDir' | 'onError'>
  /** What the host's disk has of files, if there is a folder for it. */
  readonly #saved: SavedFiles | undefined
  /** Set if closes do not wait for the storage. */
  readonly #writeBack: WriteBack | undefined
  readonly #pending = new Set<Inode>()
  /** Of files whose last attempt may have succeeded. */
  readonly #doubtful = new WeakMap<DirtyFile, DoubtfulAttempt>()
  readonly #slots = new Slots(CONCURRENT_PUBLICATIONS)
  readonly #early: EarlyUploads
  /** Told of what the storage does not have, if it is to survive a kill. */
  readonly #record: SessionRecord | undefined

  constructor(
    tree: Tree,
    budget: StagingBudget,
    names: SharedLock,
    settings: Settings,
    saved: SavedFiles | undefined,
    record: SessionRecord | undefined,
  ) {
    this.#saved = saved
    this.#record = record
    if (settings.writeBack && saved !== undefined) {
      this.#writeBack = new WriteBack(saved, inode => this.#publishSaved(inode))
    }
    // With write-back, what the journal has is published, and not what was written last.
    this.#early = new EarlyUploads(tree, this.#writeBack === undefined)
    this.#tree = tree
    this.#budget = budget
    this.#names = names
    this.#settings = settings
    this.usage = new Usage(tree, settings)
  }

  /** The changes of a file, begun if there are none. */
  dirty(inode: Inode): DirtyFile {
    const file = inode.file!
    if (file.dirty !== undefined) return file.dirty
    // What is written to it would have no place to go.
    if (inode.lost) throw new FsError('ESTALE', 'the file was removed by somebody else')
    const base = file.info === undefined ? undefined : this.#tree.content(inode)
    const { mtime, mtimensec } = inode.attr
    const kept = this.#record?.file(inode)
    file.dirty = new DirtyFile(this.#tree.cache, this.#budget, base, { sec: mtime, nsec: mtimensec }, kept)
    this.#record?.dirty(inode)
    this.#pending.add(inode)
    const listed = inode.parent?.directory?.listing?.get(inode.name)
    if (listed !== undefined) listed.info = undefined
    this.showDirty(inode)
    return file.dirty
  }

  /**
   * The changes that an earlier process has left. What it knew of the file's version, size and attributes is in the inode already.
   */
  async resume(inode: Inode, state: DirtyState, pages: ReadonlyMap<number, StagingPage>): Promise<void> {
    const file = inode.file!
    const base = state.base === undefined || file.info === undefined ? undefined : this.#tree.content(inode)
    const dirty = new DirtyFile(this.#tree.cache, this.#budget, base, state.mtime, this.#record?.file(inode))
    await dirty.resume(state, pages)
    file.dirty = dirty
    this.#pending.add(inode)
    this.showDirty(inode)
  }

  /** The guest sees the unpublished state, and nothing that the storage says overrides it. */
  showDirty(inode: Inode): void {
    const { dirty } = inode.file!
    if (dirty === undefined) return
    inode.epoch++
    inode.attrUntil = FOREVER
    if (inode.parent !== undefined) inode.entryUntil = FOREVER
    if (!inode.removed) this.usage.resized(dirty.size - inode.attr.size)
    inode.setSize(dirty.size)
    if (dirty.size >= this.#early.least) this.#early.advance(inode)
    if (compareTimes(dirty.mtime, { sec: inode.attr.mtime, nsec: inode.attr.mtimensec }) !== 0)
      inode.setModified(dirty.mtime)
  }

  /** Settles once everything that was written before the call is in the storage. */
  publish(inode: Inode): undefined | Promise<void> {
    const file = inode.file
    if (file?.dirty === undefined) return undefined
    if (inode.removed) return undefined
    return this.#inTurn(inode, async () => {
      await this.#publish(inode, await this.#trySave(inode))
    })
  }

  /** With write-back, what goes out is what the journal knows, or a replay would take it for somebody else's. */
  async #trySave(inode: Inode): Promise<boolean> {
    if (this.#writeBack === undefined || this.#saved === undefined) return false
    try {
      await this.#saved.save(inode)
      return true
    } catch (error) {
      // The storage may have room where the host's disk has none.
      if (!(error instanceof StateError)) throw error
      this.#settings.onError(error)
      return false
    }
  }

  /** Resolves once a close may be acknowledged: as `publish`, or, with write-back, once the host's disk has it. */
  settle(inode: Inode): undefined | Promise<void> {
    if (this.#writeBack === undefined) return this.publish(inode)
    return this.#orPublish(inode, this.#writeBack.settle(inode))
  }

  /** The same for the release of the last handle. Keeps an error of an earlier publication, because RELEASE cannot return it. */
  released(inode: Inode): undefined | Promise<void> {
    if (this.#writeBack === undefined) return this.publish(inode)
    return this.#orPublish(inode, this.#writeBack.released(inode))
  }

  #orPublish(inode: Inode, saving: undefined | Promise<void>): undefined | Promise<void> {
    return saving?.catch(error => {
      // The host's disk is full: publish the file now.
      if (error instanceof StateError) return this.publish(inode)
      throw error
    })
  }

  async #publishSaved(inode: Inode): Promise<void> {
    if (inode.file!.saved === undefined) return
    await this.#inTurn(inode, async () => {
      if (inode.file!.saved !== undefined) await this.#publish(inode, true)
    })
  }

  /** Saves what could not be published, where there is a folder for it: the next daemon publishes it. */
  async saveAll(): Promise<void> {
    this.#writeBack?.stop()
    const unsaved = [...this.#pending].filter(inode => !inode.removed)
    await Promise.all(unsaved.map(async inode => this.#saved?.save(inode)))
    await this.#saved?.settled()
  }

  #inTurn(inode: Inode, task: () => Promise<void>): Promise<void> {
    return this.#names.shared(() => inode.file!.lock.run(() => this.#slots.run(task)))
  }

  /** Paths of the files that hold data which the storage does not have, as the guest names them. */
  unpublished(): string[] {
    return Array.from(this.#pending)
      .filter(inode => !inode.removed)
      .map(inode => inode.path)
      .sort()
  }

  /** Publishes everything; fails with the first error once all have been tried. */
  publishAll(): Promise<void> {
    return this.#publishEach([...this.#pending])
  }

  /** Publishes the files that lie directly in a directory. */
  publishBelow(directory: Inode): Promise<void> {
    return this.#publishEach([...this.#pending].filter(inode => inode.parent === directory))
  }

  async #publishEach(inodes: Inode[]): Promise<void> {
    const outcomes = await Promise.allSettled(inodes.map(async inode => this.publish(inode)))
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  }

  /** The changes are not wanted any more: the file has been removed and nobody has it open. */
  discard(inode: Inode): void {
    const file = inode.file!
    this.#record?.clean(inode)
    file.dirty?.close()
    file.dirty = undefined
    this.#pending.delete(inode)
    this.#saved?.forget(inode)
    this.#writeBack?.forget(inode)
  }

  /** @param asSaved publishes what the host's disk has, if it has something, and not what was written since */
  async #publish(inode: Inode, asSaved: boolean): Promise<void> {
    const file = inode.file!
    const { dirty } = file
    if (dirty === undefined || inode.removed) return
    const key = this.#tree.key(inode)
    const { storage } = this.#tree
    const expected = file.info ?? file.replaced
    const look = async () => {
      await storage.settled(key)
      return storage.stat(key, expected === undefined)
    }
    const [found] = await Promise.all([look(), this.#tree.attributes.announce(inode)])
    const isOurs =
      mayBeVersion(expected, found) ||
      storage.isReserved(key, found) ||
      (await this.#saved?.isOurs(inode, found)) ||
      (await this.#takeLanded(inode, dirty, found))
    if (!isOurs) return this.#settleConflict(inode, dirty, found)
    const saved = asSaved ? this.#saved?.publication(inode, found) : undefined
    const snapshot = saved ?? { mark: dirty.mark(), changes: dirty.changes, size: dirty.size }
    const early = saved === undefined ? this.#early.take(dirty, key, found?.metadata) : undefined
    this.#record?.publishing(inode, snapshot.size, saved === undefined)
    try {
      const bytes = await this.#replace(key, found, saved?.source ?? dirty, snapshot.size, early)
      if (bytes === 'lost') return await this.#settleConflict(inode, dirty, await storage.stat(key))
      const info = await this.#stored(key, snapshot.size)
      await this.#published(inode, dirty, snapshot, info, bytes, saved)
    } catch (error) {
      if (saved === undefined) await this.#doubt(error, dirty, snapshot)
      throw error
    } finally {
      if (saved === undefined && this.#doubtful.get(dirty)?.mark !== snapshot.mark)
        dirty.release(snapshot.mark)
      else await this.#saved?.attempted(inode)
    }
  }

  /**
   * The version that has been stored; undefined if it cannot be learned now: the next look will tell it.
   * @throws StorageError if the service has something else, though it took the bytes: they are kept here
   */
  async #stored(key: string, size: number): Promise<ObjectInfo | undefined> {
    // A stat would fetch the whole value only to report its size.
    if (this.#tree.storage.statsByReading) return { kind: 'file', size, mtime: undefined, etag: undefined }
    let info: ObjectInfo | undefined
    try {
      info = await this.#tree.storage.stat(key)
    } catch (error) {
      if (error instanceof StorageError) return undefined
      throw error
    }
    if (info?.kind === 'file' && info.size === size) return info
    const there = info === undefined ? 'nothing is' : `${info.size} bytes are`
    const text = `${there} there after ${size} bytes were stored`
    const error = new StorageError('Unexpected', 'EIO', false, 'write', key, text)
    this.#settings.onError(error)
    throw error
  }

  async #doubt(error: unknown, dirty: DirtyFile, snapshot: Snapshot): Promise<void> {
    const attempt = await doubtOf(error, dirty, snapshot)
    if (attempt === undefined) return
    const earlier = this.#doubtful.get(dirty)
    if (earlier !== undefined) dirty.release(earlier.mark)
    this.#doubtful.set(dirty, attempt)
  }

  /** True if what was found is an own attempt: then the changes made since stand on it. */
  async #takeLanded(inode: Inode, dirty: DirtyFile, found: ObjectInfo | undefined): Promise<boolean> {
    const attempt = this.#doubtful.get(dirty)
    if (attempt === undefined || found === undefined) return false
    if (!(await hasLanded(this.#tree.storage, this.#tree.key(inode), found, attempt))) return false
    const file = inode.file!
    file.info = found
    file.exists = true
    file.replaced = undefined
    this.#tree.dropContent(inode)
    dirty.rebase(this.#tree.content(inode), attempt.mark)
    this.#doubtful.delete(dirty)
    return true
  }

  /** The bytes if they were few enough to be held at once; `lost` if the service has another version than the expected. */
  async #replace(
    key: string,
    found: ObjectInfo | undefined,
    source: PartSource,
    size: number,
    early: EarlyUpload | undefined,
  ): Promise<Uint8Array | undefined | 'lost'> {
    const { storage, names } = this.#tree
    const confirm = async () => {
      if (found === undefined) return storage.requireAbsent(key)
      if (!mayBeVersion(found, await storage.stat(key))) throw versionLostError('close', key)
    }
    try {
      if (await early?.finish(size, confirm)) return undefined
      const condition = { etag: found?.etag, absent: found === undefined, metadata: found?.metadata }
      return await replaceObject(storage, names, key, source, size, condition, confirm)
    } catch (error) {
      // Somebody else was faster, or an earlier attempt of our own, whose answer we did not get.
      if (isVersionLost(error)) return 'lost'
      throw error
    }
  }

  async #published(
    inode: Inode,
    dirty: DirtyFile,
    { mark, changes, size }: Snapshot,
    info: ObjectInfo | undefined,
    bytes?: Uint8Array,
    saved?: SavedPublication,
  ): Promise<void> {
    const file = inode.file!
    file.exists = true
    file.replaced = undefined
    file.info = info ?? { kind: 'file', size, mtime: undefined, etag: undefined }
    this.#tree.dropContent(inode)
    const content = this.#tree.content(inode)
    if (bytes !== undefined && file.info.size === size) this.#tree.cache.seed(content, bytes)
    this.#record?.shown(inode)
    // The guest wrote these bytes: its page cache is this version's.
    file.seenByGuest = content
    inode.epoch++
    const crossedOut = saved === undefined ? undefined : this.#saved?.published(inode, saved)
    if (dirty.changes !== changes || dirty.writing) {
      // Written to meanwhile: those changes now stand on what has just been published.
      dirty.rebase(content, mark)
      if (saved === undefined) this.#saved?.forget(inode)
      return crossedOut
    }
    this.discard(inode)
    // The times that the guest has seen, not those at which the service got the bytes.
    this.#tree.attributes.record(inode, false)
    inode.attrUntil = 0
    this.#tree.apply(inode, file.info)
    if (info === undefined) inode.attrUntil = 0
    this.#tree.table.drop(inode)
    return crossedOut
  }

  /**
   * The storage has another version than the one that was changed here. Theirs stays and is what the guest sees from now on;
   * ours is kept on the host, and every handle that may have written it is told.
   * @throws ConflictError
   */
  async #settleConflict(inode: Inode, dirty: DirtyFile, found: ObjectInfo | undefined): Promise<void> {
    const snapshot = { mark: dirty.mark(), changes: dirty.changes, size: dirty.size }
    try {
      const { storage } = this.#tree
      const key = this.#tree.key(inode)
      if (found !== undefined && (await isSameContent(storage, key, found, dirty, snapshot.size))) {
        return await this.#published(inode, dirty, snapshot, found)
      }
    } finally {
      dirty.release(snapshot.mark)
    }
    const error = await this.#keep(inode, dirty)
    const file = inode.file!
    for (const writer of file.writers) {
      writer.failure = error
      this.#record?.failed(writer)
    }
    this.discard(inode)
    this.#tree.dropContent(inode)
    inode.epoch++
    inode.attrUntil = 0
    inode.entryUntil = 0
    this.#tree.replacedByOther(inode)
    file.info = undefined
    if (found?.kind === 'file') {
      this.usage.resized(found.size - inode.attr.size)
      file.replaced = undefined
      this.#tree.apply(inode, found)
      this.#tree.table.drop(inode)
    } else {
      const { parent, name } = inode
      const segment = this.#tree.entrySegment(inode)
      this.#tree.detach(inode)
      if (parent !== undefined) this.#tree.nameRemoved(parent, name, segment)
    }
    throw error
  }

  /** Once more if it was written to meanwhile: the kept file must have everything. */
  async #keep(inode: Inode, dirty: DirtyFile): Promise<ConflictError> {
    const { recoveryDir, onError } = this.#settings
    for (;;) {
      const { changes } = dirty
      const error = await keepLoser(dirty, inode.path, recoveryDir)
      if (dirty.changes === changes) {
        onError(error)
        return error
      }
      // It is not all that there is: the next one is.
      await unlink(error.kept)
    }
  }
}
