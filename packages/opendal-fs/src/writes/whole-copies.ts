// copy_file_range of a whole file by the service itself: the bytes do not pass through the host.

import type { Inode } from '../names/inode.ts'
import type { SharedLock } from '../names/locks.ts'
import type { Tree } from '../names/tree.ts'
import { replaceByCopy } from '../storage/object-replacement.ts'
import { StorageError } from '../storage/storage-error.ts'
import { mayBeVersion } from '../storage/version.ts'
import type { Publisher } from './publication.ts'

export class WholeCopies {
  readonly #tree: Tree
  readonly #publisher: Publisher
  /** Moving a directory excludes copying below it. */
  readonly #names: SharedLock

  constructor(tree: Tree, publisher: Publisher, names: SharedLock) {
    this.#tree = tree
    this.#publisher = publisher
    this.#names = names
  }

  /**
   * Makes `to`, which must be empty, the service's own copy of a published file. False, and nothing is lost by trying, if
   * that cannot be: then the bytes have to be copied.
   */
  async copy(from: Inode, to: Inode): Promise<boolean> {
    const isCopyable = (): boolean =>
      from !== to &&
      from.file!.dirty === undefined &&
      from.file!.info !== undefined &&
      // It would go along.
      from.file!.info.metadata === undefined &&
      !to.removed &&
      !to.lost &&
      to.attr.size === 0
    const size = from.file!.info?.size ?? 0
    if (!this.#tree.storage.canCopy(size) || !isCopyable()) return false
    // In one order always, as renames do.
    const [first, second] = [from, to].sort((a, b) => a.nodeid - b.nodeid)
    return this.#names.shared(() =>
      first!.file!.lock.run(() =>
        second!.file!.lock.run(async () => isCopyable() && (await this.#copy(from, to))),
      ),
    )
  }

  async #copy(from: Inode, to: Inode): Promise<boolean> {
    const { storage, names } = this.#tree
    const file = to.file!
    const { size } = from.file!.info!
    const key = this.#tree.key(to)
    const expected = file.info ?? file.replaced
    const there = await storage.stat(key, expected === undefined)
    // A copy carries no condition, so it would replace an object that the service conceals.
    if (!mayBeVersion(expected, there) || (there === undefined && storage.isListingRefused(key))) return false
    await this.#publisher.usage.ready()
    this.#publisher.usage.requireBytes(size)
    const changes = file.dirty?.changes
    try {
      await replaceByCopy(storage, names, this.#tree.key(from), key, size)
    } catch (error) {
      if (error instanceof StorageError) return false
      throw error
    }
    const found = await storage.stat(key)
    if (found === undefined) return false
    file.info = found
    file.exists = true
    file.replaced = undefined
    this.#tree.dropContent(to)
    to.epoch++
    this.#tree.table.record?.dirty(to)
    this.#tree.table.record?.shown(to)
    // Another version than the one that was seen here, or written to meanwhile: what is unpublished replaces the copy.
    if (file.dirty?.changes !== changes || file.dirty?.writing === true || found.size !== size) return false
    this.#publisher.discard(to)
    this.#publisher.usage.resized(size - to.attr.size)
    to.attrUntil = 0
    this.#tree.apply(to, found)
    return true
  }
}
