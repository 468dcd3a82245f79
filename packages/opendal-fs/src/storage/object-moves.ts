// Moving objects and whole directories in the storage: the service's own rename where there is one, else copy and delete, else
// read, write and delete. What a kill has interrupted can be done again: copies that are already there are recognized, and
// what somebody else has put there meanwhile is left alone, with the source.

import { forEachConcurrently } from '../names/locks.ts'
import { uploadParts } from './part-upload.ts'
import type { ListedObject, ObjectInfo, Storage } from './storage.ts'

const CONCURRENT_MOVES = 16
const STEP = 1 << 20

/** Replaces what is at `to`. */
export async function moveObject(storage: Storage, from: string, to: string, size: number): Promise<void> {
  if (storage.capability.rename) {
    await storage.rename(from, to)
    return
  }
  await copyObject(storage, from, to, size)
  await storage.delete(from)
}

/** There must be nothing at `to`, or an empty directory. Both keys end with a slash. */
export async function moveDirectory(storage: Storage, from: string, to: string): Promise<void> {
  if (storage.traits.movesDirectories) await storage.rename(from.slice(0, -1), to.slice(0, -1))
  else await moveTree(storage, from, to)
}

/**
 * Goes on with a move that was interrupted.
 * @returns the keys below `from` that stay there because something else lies at their place
 */
export async function finishDirectoryMove(storage: Storage, from: string, to: string): Promise<string[]> {
  if (storage.traits.movesDirectories) {
    if ((await storage.stat(from)) === undefined) return []
    // One step: it has not happened. What lies at `to` now is an empty directory or somebody else's.
    if ((await storage.stat(to)) !== undefined && (await storage.list(to)).length > 0) return [from]
    await storage.rename(from.slice(0, -1), to.slice(0, -1))
    return []
  }
  return new TreeMove(storage, from, to).finish()
}

async function moveTree(storage: Storage, from: string, to: string): Promise<void> {
  await new TreeMove(storage, from, to).run()
}

interface TreeFile {
  readonly path: string
  readonly object: ListedObject
}

class TreeMove {
  readonly #storage: Storage
  readonly #from: string
  readonly #to: string
  readonly #directories = ['']
  readonly #files: TreeFile[] = []

  constructor(storage: Storage, from: string, to: string) {
    this.#storage = storage
    this.#from = from
    this.#to = to
  }

  /** Copies everything, and only then deletes what was copied: a failure in between leaves the source whole. */
  async run(): Promise<void> {
    const storage = this.#storage
    await this.#list()
    await this.#createDirectories()
    const copied: string[] = []
    try {
      await forEachConcurrently(this.#files, CONCURRENT_MOVES, async file => {
        const size = await this.#sizeOf(file)
        if (size === undefined) return
        await copyObject(storage, this.#from + file.path, this.#to + file.path, size)
        copied.push(file.path)
      })
    } catch (error) {
      // The error to report is the one that was there first; what cannot be cleaned up is a copy too many, not one too few.
      const remove = (path: string) => storage.delete(this.#to + path)
      await forEachConcurrently(copied, CONCURRENT_MOVES, remove).catch(() => undefined)
      throw error
    }
    await this.#deleteSources(copied)
  }

  async finish(): Promise<string[]> {
    const storage = this.#storage
    await this.#list()
    await this.#createDirectories()
    const copied: string[] = []
    const staying: string[] = []
    await forEachConcurrently(this.#files, CONCURRENT_MOVES, async file => {
      const [from, to] = [this.#from + file.path, this.#to + file.path]
      const [source, target] = await Promise.all([storage.stat(from), storage.stat(to)])
      if (source === undefined) return
      if (target === undefined) await copyObject(storage, from, to, source.size)
      else if (!(await isSameObject(storage, from, source, to, target))) {
        staying.push(from)
        return
      }
      copied.push(file.path)
    })
    await this.#deleteSources(copied)
    return staying
  }

  async #list(): Promise<void> {
    for (const directory of this.#directories) {
      for (const object of await this.#storage.list(this.#from + directory)) {
        const path = directory + object.segment
        if (object.kind === 'directory') this.#directories.push(`${path}/`)
        else this.#files.push({ path, object })
      }
    }
  }

  async #createDirectories(): Promise<void> {
    // Where there are only markers, each is moved as the object that it is.
    if (!this.#storage.capability.createDir) return
    for (const directory of this.#directories) await this.#storage.createDirectory(this.#to + directory)
  }

  async #sizeOf({ path, object }: TreeFile): Promise<number | undefined> {
    return object.info?.size ?? (await this.#storage.stat(this.#from + path))?.size
  }

  async #deleteSources(copied: readonly string[]): Promise<void> {
    const storage = this.#storage
    await forEachConcurrently(copied, CONCURRENT_MOVES, path => storage.delete(this.#from + path))
    // A marker goes only with all that it marks, or what stays would lose its directory.
    const keep = copied.length < this.#files.length
    for (const directory of keep ? [] : this.#directories.toReversed())
      await storage.delete(this.#from + directory)
  }
}

/** True if two objects hold the same bytes. */
export async function isSameObject(
  storage: Storage,
  a: string,
  aInfo: ObjectInfo,
  b: string,
  bInfo: ObjectInfo,
): Promise<boolean> {
  if (aInfo.kind !== 'file' || bInfo.kind !== 'file' || aInfo.size !== bInfo.size) return false
  for (let at = 0; at < aInfo.size; at += STEP) {
    const length = Math.min(STEP, aInfo.size - at)
    const [left, right] = await Promise.all([storage.read(a, at, length), storage.read(b, at, length)])
    if (Buffer.compare(left, right) !== 0) return false
  }
  return true
}

async function copyObject(storage: Storage, from: string, to: string, size: number): Promise<void> {
  if (storage.capability.copy) {
    await storage.copy(from, to, size)
  } else if (storage.capability.writeCanMulti) {
    await uploadParts(storage, to, size, () => readParts(storage, from, size))
  } else {
    await storage.write(to, size === 0 ? new Uint8Array(0) : await storage.read(from, 0, size))
  }
}

async function* readParts(storage: Storage, key: string, size: number): AsyncGenerator<Uint8Array> {
  const partBytes = storage.partBytes(size)
  for (let at = 0; at < size; at += partBytes)
    yield await storage.read(key, at, Math.min(partBytes, size - at))
}
