// How much the file system holds and how much it may: statfs, and the limits that the user set. No service tells what it holds,
// so with limits everything is counted once, before the first change; from then on the changes made here are.

import { FsError, type KstatfsOut, NAME_MAX } from '@ovfs/fuse-proto'
import { forEachConcurrently } from './names/locks.ts'
import type { Tree } from './names/tree.ts'
import type { Settings } from './options.ts'

const BLOCK = 4096
const MANY_FILES = 2 ** 32
const CONCURRENT_LOOKS = 16

export class Usage {
  /** False if nothing has to be counted. */
  readonly limited: boolean
  readonly #settings: Pick<Settings, 'capacityBytes' | 'maxBytes' | 'maxFiles'>
  readonly #tree: Tree
  #bytes = 0
  #files = 0
  #counted = false
  #counting: Promise<void> | undefined

  constructor(tree: Tree, settings: Pick<Settings, 'capacityBytes' | 'maxBytes' | 'maxFiles'>) {
    this.#tree = tree
    this.#settings = settings
    this.limited = Number.isFinite(settings.maxBytes) || Number.isFinite(settings.maxFiles)
  }

  /** A promise if the counting has yet to be done, or is under way. */
  ready(): undefined | Promise<void> {
    if (!this.limited || this.#counted) return undefined
    this.#counting ??= this.#count().finally(() => {
      this.#counting = undefined
    })
    return this.#counting
  }

  /** @throws EDQUOT if a file must not grow by so much; to be called once it is ready */
  requireBytes(growth: number): void {
    if (growth > 0 && this.#bytes + growth > this.#settings.maxBytes)
      throw new FsError('EDQUOT', `more than the ${this.#settings.maxBytes} bytes that are allowed`)
  }

  /** @throws EDQUOT if there must not be one more file or directory */
  requireFile(): void {
    if (this.#files + 1 > this.#settings.maxFiles)
      throw new FsError('EDQUOT', `more than the ${this.#settings.maxFiles} files that are allowed`)
  }

  /** A file or directory was made, empty. */
  added(): void {
    this.#files++
  }

  removed(bytes: number): void {
    this.#files = Math.max(0, this.#files - 1)
    this.resized(-bytes)
  }

  /** What somebody else has stored or removed since the counting is not known: it is never less than nothing. */
  resized(difference: number): void {
    this.#bytes = Math.max(0, this.#bytes + difference)
  }

  /** @param known how many files the guest knows: all that can be told without counting */
  statfs(known: number): KstatfsOut {
    const { capacityBytes, maxBytes, maxFiles } = this.#settings
    const limit = Math.min(capacityBytes, maxBytes)
    const blocks = Math.floor(limit / BLOCK)
    const free = this.limited ? Math.max(0, Math.floor((limit - this.#bytes) / BLOCK)) : blocks
    const files = Math.min(maxFiles, MANY_FILES)
    return {
      blocks,
      bfree: free,
      bavail: free,
      files,
      ffree: Math.max(0, files - (this.limited ? this.#files : known)),
      bsize: BLOCK,
      namelen: NAME_MAX,
      frsize: BLOCK,
    }
  }

  /** Changes made here meanwhile wait, or their counts would be lost. */
  async #count(): Promise<void> {
    let bytes = 0
    let files = 0
    const { storage, names } = this.#tree
    const unpublished = this.#unpublished()
    for (let directories = ['']; directories.length > 0; ) {
      const below: string[] = []
      await forEachConcurrently(directories, CONCURRENT_LOOKS, async directory => {
        const listed = await storage.list(directory)
        await forEachConcurrently(listed, CONCURRENT_LOOKS, async ({ segment, kind, info }) => {
          const key = directory + segment
          // Those are counted by what they will be, whether they are published meanwhile or not.
          if (names.toName(segment) === undefined || unpublished.has(key)) return
          files++
          if (kind === 'directory') below.push(`${key}/`)
          else bytes += (info ?? (await storage.stat(key)))?.size ?? 0
        })
      })
      directories = below
    }
    this.#bytes = bytes + [...unpublished.values()].reduce((sum, size) => sum + size, 0)
    this.#files = files + unpublished.size
    this.#counted = true
  }

  /** Sizes of what an earlier process has left, by key. */
  #unpublished(): Map<string, number> {
    const sizes = new Map<string, number>()
    for (const inode of this.#tree.table.values())
      if (inode.file?.dirty !== undefined && !inode.removed)
        sizes.set(this.#tree.key(inode), inode.file.dirty.size)
    return sizes
  }
}
