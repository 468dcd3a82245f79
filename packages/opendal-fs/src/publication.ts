// Brings a file's unpublished changes into the storage: the whole object is replaced at once, so that readers elsewhere see the
// old file or the new one. Only what shows of the old version is read for it. One publication per file at a time.

import { FsError } from '@ovfs/fuse-proto'
import { DirtyFile } from './dirty-file.ts'
import { FOREVER, type Inode } from './inode.ts'
import { type SharedLock, Slots } from './locks.ts'
import { replaceObject } from './object-replacement.ts'
import type { StagingBudget } from './staging-store.ts'
import type { ObjectInfo } from './storage.ts'
import type { Tree } from './tree.ts'

/** Each holds up to one request's bytes. */
const CONCURRENT_PUBLICATIONS = 8

export class Publisher {
  readonly #tree: Tree
  readonly #budget: StagingBudget
  /** Moving a directory excludes publishing below it. */
  readonly #names: SharedLock
  readonly #pending = new Set<Inode>()
  readonly #slots = new Slots(CONCURRENT_PUBLICATIONS)

  constructor(tree: Tree, budget: StagingBudget, names: SharedLock) {
    this.#tree = tree
    this.#budget = budget
    this.#names = names
  }

  /** The changes of a file, begun if there are none. */
  dirty(inode: Inode): DirtyFile {
    const file = inode.file!
    if (file.dirty !== undefined) return file.dirty
    const base = file.info === undefined ? undefined : this.#tree.content(inode)
    const { mtime, mtimensec } = inode.attr
    file.dirty = new DirtyFile(this.#tree.cache, this.#budget, base, { sec: mtime, nsec: mtimensec })
    this.#pending.add(inode)
    const listed = inode.parent?.directory?.listing?.get(inode.name)
    if (listed !== undefined) listed.info = undefined
    this.showDirty(inode)
    return file.dirty
  }

  /** The guest sees the unpublished state, and nothing that the storage says overrides it. */
  showDirty(inode: Inode): void {
    const { dirty } = inode.file!
    if (dirty === undefined) return
    inode.epoch++
    inode.attrUntil = FOREVER
    if (inode.parent !== undefined) inode.entryUntil = FOREVER
    inode.setSize(dirty.size)
    inode.setTime(dirty.mtime)
  }

  /** Settles once everything that was written before the call is in the storage. */
  publish(inode: Inode): undefined | Promise<void> {
    const file = inode.file
    if (file?.dirty === undefined) return undefined
    if (inode.lost) throw new FsError('ESTALE', 'the file was removed by somebody else')
    if (inode.removed) return undefined
    return this.#names.shared(() => file.lock.run(() => this.#slots.run(() => this.#publish(inode))))
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
    file.dirty?.close()
    file.dirty = undefined
    this.#pending.delete(inode)
  }

  async #publish(inode: Inode): Promise<void> {
    const file = inode.file!
    const { dirty } = file
    if (dirty === undefined || inode.removed) return
    const { changes, size } = dirty
    const { storage, names } = this.#tree
    const mark = dirty.mark()
    let bytes: Uint8Array | undefined
    let info: ObjectInfo | undefined
    try {
      bytes = await replaceObject(storage, names, this.#tree.key(inode), dirty, size)
      file.exists = true
      info = await storage.stat(this.#tree.key(inode))
    } catch (error) {
      dirty.release(mark)
      throw error
    }
    file.info = info ?? { kind: 'file', size, mtime: undefined, etag: undefined }
    this.#tree.dropContent(inode)
    const content = this.#tree.content(inode)
    if (bytes !== undefined && file.info.size === size) this.#tree.cache.seed(content, bytes)
    // The guest wrote these bytes: its page cache is this version's.
    file.seenByGuest = content
    inode.epoch++
    if (dirty.changes !== changes || dirty.writing) {
      // Written to meanwhile: those changes now stand on what has just been published.
      dirty.rebase(content, mark)
      return
    }
    this.discard(inode)
    inode.attrUntil = 0
    this.#tree.apply(inode, file.info)
    this.#tree.table.drop(inode)
  }
}
