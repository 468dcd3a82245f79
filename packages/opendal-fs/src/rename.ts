// Moving files and directories. The service's own rename where there is one; else copy and delete; else read, write and delete.
// A file that is not published yet moves without a storage call. Ids, handles and cached bytes go along.

import { FsError, RENAME_NOREPLACE } from '@ovfs/fuse-proto'
import type { Inode } from './inode.ts'
import { forEachConcurrently, type SharedLock } from './locks.ts'
import type { Namespace } from './namespace.ts'
import type { ListedObject, Storage } from './storage.ts'
import { now } from './time.ts'
import type { Tree } from './tree.ts'

const CONCURRENT_MOVES = 16
/** Services that move a directory, with everything in it, in one step. */
const MOVES_DIRECTORIES: ReadonlySet<string> = new Set(['fs'])

export class Renamer {
  readonly #tree: Tree
  readonly #namespace: Namespace
  readonly #names: SharedLock

  constructor(tree: Tree, namespace: Namespace, names: SharedLock) {
    this.#tree = tree
    this.#namespace = namespace
    this.#names = names
  }

  async rename(parent: Inode, name: string, newParent: Inode, newName: string, flags: number): Promise<void> {
    // EXCHANGE and WHITEOUT: what cannot be done at once is refused, not approximated.
    if ((flags & ~RENAME_NOREPLACE) !== 0) throw new FsError('EINVAL')
    if (newParent.removed) throw new FsError('ENOENT')
    const source = await this.#existing(parent, name)
    if (source.directory !== undefined) {
      return this.#names.exclusive(() => this.#renameDirectory(parent, name, newParent, newName, flags))
    }
    await this.#names.shared(async () => {
      const target = await this.#tree.child(newParent, newName)
      // In one order always, or two renames in opposite directions would wait for each other.
      const files = [source, target].filter(
        inode => inode?.file !== undefined && inode !== undefined,
      ) as Inode[]
      const [first, second] = files.sort((a, b) => a.nodeid - b.nodeid)
      const move = () => this.#renameFile(source, parent, name, newParent, newName, flags)
      if (second === undefined || second === first) await first!.file!.lock.run(move)
      else await first!.file!.lock.run(() => second.file!.lock.run(move))
    })
  }

  async #existing(parent: Inode, name: string): Promise<Inode> {
    const inode = await this.#tree.child(parent, name)
    if (inode === undefined) throw new FsError('ENOENT')
    return inode
  }

  async #renameFile(
    source: Inode,
    parent: Inode,
    name: string,
    newParent: Inode,
    newName: string,
    flags: number,
  ): Promise<void> {
    if (source.parent !== parent || source.name !== name) throw new FsError('ENOENT')
    const target = await this.#tree.child(newParent, newName)
    if (target !== undefined && (flags & RENAME_NOREPLACE) !== 0) throw new FsError('EEXIST')
    if (target === source) return
    if (target?.directory !== undefined) throw new FsError('EISDIR')

    const file = source.file!
    const { storage, attributes } = this.#tree
    const from = this.#tree.key(source)
    const segment = this.#tree.names.toSegment(newName)
    const to = this.#tree.key(newParent) + segment
    const targetStays = target?.file?.exists === true && !(await this.#namespace.preserve(target))
    const { info } = file
    await attributes.moving(source, newParent, segment, async () => {
      if (info !== undefined) {
        await this.#namespace.keepParent(parent)
        await moveObject(storage, from, to, info.size)
        return
      }
      // What lies under the old key is only what this file has replaced.
      if (file.exists) await storage.delete(from)
      // What exists without an object would be hidden by one.
      const replaces = source.kind === 'special'
      if (targetStays && replaces) await storage.delete(to)
      file.exists = targetStays && !replaces
      file.replaced = file.exists ? (target?.file?.info ?? target?.file?.replaced) : undefined
    })
    if (target !== undefined) this.#namespace.forgetName(target)
    this.#move(source, newParent, newName)
    if (file.info !== undefined) await this.#takeNewVersion(source, to)
    this.#tree.table.drop(source)
  }

  /** The bytes are the same; the storage may know them by another version now. */
  async #takeNewVersion(inode: Inode, key: string): Promise<void> {
    const file = inode.file!
    const info = await this.#tree.storage.stat(key)
    if (info === undefined || file.info === undefined) return
    if (info.size !== file.info.size) {
      inode.attrUntil = file.dirty === undefined ? 0 : inode.attrUntil
      return
    }
    file.info = info
    this.#tree.attributes.record(inode, false)
    if (file.content !== undefined) file.content.etag = info.etag
    if (file.dirty === undefined) this.#tree.apply(inode, info)
  }

  async #renameDirectory(
    parent: Inode,
    name: string,
    newParent: Inode,
    newName: string,
    flags: number,
  ): Promise<void> {
    const source = await this.#existing(parent, name)
    if (source.directory === undefined) throw new FsError('ENOTDIR')
    // rename(2): a directory cannot become a part of itself.
    if (newParent.isWithin(source)) throw new FsError('EINVAL')
    const target = await this.#tree.child(newParent, newName)
    if (target !== undefined && (flags & RENAME_NOREPLACE) !== 0) throw new FsError('EEXIST')
    if (target === source) return
    if (target !== undefined) {
      if (target.directory === undefined) throw new FsError('ENOTDIR')
      await this.#namespace.requireEmpty(target)
      await this.#namespace.deleteDirectory(target)
      this.#namespace.forgetName(target)
    }
    const { storage, attributes } = this.#tree
    const from = this.#tree.key(source)
    const segment = this.#tree.names.toSegment(newName)
    const to = `${this.#tree.key(newParent)}${segment}/`
    await attributes.moving(source, newParent, segment, async () => {
      if (MOVES_DIRECTORIES.has(storage.scheme)) {
        await storage.rename(from.slice(0, -1), to.slice(0, -1))
      } else {
        await this.#namespace.keepParent(parent)
        await moveTree(storage, from, to)
      }
    })
    this.#move(source, newParent, newName)
    this.#unpin(source)
    this.#tree.table.drop(source)
  }

  #move(inode: Inode, newParent: Inode, newName: string): void {
    const { parent, name } = inode
    this.#tree.table.move(inode, newParent, newName)
    if (parent !== undefined) this.#tree.nameRemoved(parent, name)
    this.#tree.nameAdded(inode)
    inode.setChanged(now())
    this.#tree.attributes.record(inode, false)
  }

  /** Only the size is sure. */
  #forgetVersion(inode: Inode): void {
    const file = inode.file!
    if (file.info !== undefined) file.info = { ...file.info, mtime: undefined, etag: undefined }
  }

  /** The versions of everything below may have other names now; the bytes are the same. */
  #unpin(directory: Inode): void {
    for (const inode of directory.directory!.children.values()) {
      if (inode.directory !== undefined) this.#unpin(inode)
      else if (inode.file!.dirty === undefined) inode.attrUntil = 0
      else this.#forgetVersion(inode)
      if (inode.file?.content !== undefined) inode.file.content.etag = undefined
      inode.epoch++
    }
  }
}

/** Replaces what is at `to`. */
async function moveObject(storage: Storage, from: string, to: string, size: number): Promise<void> {
  if (storage.capability.rename) {
    await storage.rename(from, to)
    return
  }
  await copyObject(storage, from, to, size)
  await storage.delete(from)
}

async function copyObject(storage: Storage, from: string, to: string, size: number): Promise<void> {
  if (storage.capability.copy) {
    await storage.copy(from, to)
  } else if (storage.capability.writeCanMulti) {
    await storage.writeStream(to, size, readParts(storage, from, size))
  } else {
    await storage.write(to, size === 0 ? new Uint8Array(0) : await storage.read(from, 0, size))
  }
}

async function* readParts(storage: Storage, key: string, size: number): AsyncGenerator<Uint8Array> {
  const partBytes = storage.partBytes(size)
  for (let at = 0; at < size; at += partBytes)
    yield await storage.read(key, at, Math.min(partBytes, size - at))
}

/** Copies everything, and only then deletes what was copied: a failure in between leaves the source whole. */
async function moveTree(storage: Storage, from: string, to: string): Promise<void> {
  const directories = ['']
  const files: { path: string; object: ListedObject }[] = []
  for (const directory of directories) {
    for (const object of await storage.list(from + directory)) {
      const path = directory + object.segment
      if (object.kind === 'directory') directories.push(`${path}/`)
      else files.push({ path, object })
    }
  }
  if (storage.capability.createDir) {
    for (const directory of directories) await storage.createDirectory(to + directory)
  }
  const copied: string[] = []
  try {
    await forEachConcurrently(files, CONCURRENT_MOVES, async ({ path, object }) => {
      const size = object.info?.size ?? (await storage.stat(from + path))?.size
      if (size === undefined) return
      await copyObject(storage, from + path, to + path, size)
      copied.push(path)
    })
  } catch (error) {
    // The error to report is the one that was there first; what cannot be cleaned up is a copy too many, not one too few.
    await forEachConcurrently(copied, CONCURRENT_MOVES, path => storage.delete(to + path)).catch(
      () => undefined,
    )
    throw error
  }
  await forEachConcurrently(copied, CONCURRENT_MOVES, path => storage.delete(from + path))
  for (const directory of directories.reverse()) await storage.delete(from + directory)
}
