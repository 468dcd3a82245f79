// Moves a directory. If the service cannot do it in one step, copies every object, verifies the copies, and only then deletes the
// sources. A move that was interrupted is finished by comparing the objects at both places.

import { FsError } from '@ovfs/fuse-proto'
import { compareTimes } from '../attributes/time.ts'
import { forEachConcurrently } from '../names/locks.ts'
import { DIRECTORY_MARKER, isAddressable, SIDECAR } from './key-names.ts'
import {
  groupedByDirectory,
  hasOtherVersion,
  type MovedVersion,
  type MovedVersions,
  type SidecarMover,
} from './moved-versions.ts'
import {
  type Copying,
  copyObject,
  copyThroughHost,
  deleteCopied,
  holdsSameBytes,
  isCopy,
  isSameObject,
  NewerSource,
  notCopiedError,
  reported,
  reservingTarget,
  tryServiceCopy,
} from './object-copies.ts'
import { renameObject } from './object-moves.ts'
import type { ListedObject, ObjectInfo, Storage } from './storage.ts'
import { isUnsupported, StorageError } from './storage-error.ts'
import { mayBeVersion } from './version.ts'

const CONCURRENT_MOVES = 16
const OWN_SEGMENTS: ReadonlySet<string> = new Set([DIRECTORY_MARKER, SIDECAR])

export interface MovedDirectory {
  /** An object stays in the old directory, because another client has stored it there during the move. */
  readonly somethingStays: boolean
  /** Versions of the copied files, by path; empty if the service has moved the directory itself. */
  readonly versions: MovedVersions
}

/** A directory that is about to be moved. Both keys end with a slash. */
export class DirectoryMove {
  readonly #storage: Storage
  readonly #sidecars: SidecarMover | undefined
  readonly #from: string
  readonly #to: string
  #tree: TreeMove | undefined

  private constructor(storage: Storage, from: string, to: string, sidecars: SidecarMover | undefined) {
    this.#storage = storage
    this.#from = from
    this.#to = to
    this.#sidecars = sidecars
  }

  /**
   * @param sidecars undefined if nothing is kept beside files
   * @throws EIO if it holds a key that cannot be moved
   */
  static async prepare(
    storage: Storage,
    from: string,
    to: string,
    sidecars?: SidecarMover,
  ): Promise<DirectoryMove> {
    const move = new DirectoryMove(storage, from, to, sidecars)
    if (!storage.traits.movesDirectories) move.#tree = await TreeMove.list(storage, from, to, sidecars)
    return move
  }

  /**
   * There must be nothing at the target, or an empty directory.
   * @param hadTarget a directory was removed there to make room; a failure leaves one there
   */
  async run(hadTarget = false): Promise<MovedDirectory> {
    const [storage, from, to] = [this.#storage, this.#from, this.#to]
    // A local folder checks the target itself. A target that has just been removed needs no second look, unless the service's
    // rename would replace what another client has put there since.
    const isSafe = storage.scheme === 'fs' || (hadTarget && !storage.traits.renameReplacesDirectories)
    if (!isSafe) await requireNothing(storage, to)
    if (this.#tree !== undefined) return this.#tree.run(hadTarget)
    try {
      await renameObject(storage, from.slice(0, -1), to.slice(0, -1))
      return { somethingStays: false, versions: new Map() }
    } catch (error) {
      if (storage.scheme === 'fs' || !(error instanceof StorageError) || !isUnsupported(error)) throw error
      // Files that the server does not list would not be copied, and would be deleted with the source.
      storage.requireDeletable(from)
      // The service does not move directories, or has moved a part of this one.
      const tree = await TreeMove.list(storage, from, to, this.#sidecars)
      if ((await storage.stat(to, true)) === undefined) return tree.run(hadTarget)
      const staying = await tree.finish()
      if (staying.length > 0) throw error
      return { somethingStays: false, versions: new Map() }
    }
  }
}

/**
 * Finishes a move that was interrupted.
 * @returns the keys below `from` that stay there because another object lies at their new place
 */
export async function finishDirectoryMove(
  storage: Storage,
  from: string,
  to: string,
  sidecars?: SidecarMover,
): Promise<string[]> {
  const list = () => TreeMove.list(storage, from, to, sidecars, true)
  if (!storage.traits.movesDirectories) return (await list()).finish()
  if ((await storage.stat(from, true)) === undefined) return []
  const isFree = (await storage.stat(to, true)) === undefined || (await storage.list(to)).length === 0
  if (isFree) {
    await (await DirectoryMove.prepare(storage, from, to, sidecars)).run()
    return []
  }
  // On a local folder a rename is one step. It has not happened, so another client has made the directory at `to`.
  if (storage.scheme === 'fs') return [from]
  return (await list()).finish()
}

/** @throws ENOTEMPTY, ENOTDIR */
async function requireNothing(storage: Storage, directory: string): Promise<void> {
  if (storage.traits.realDirectories) {
    const there = await storage.stat(directory.slice(0, -1))
    if (there === undefined) return
    if (there.kind !== 'directory') throw new FsError('ENOTDIR', `${JSON.stringify(directory)} is a file`)
  }
  if (await storage.hasChildren(directory, () => false))
    throw new FsError('ENOTEMPTY', `${JSON.stringify(directory)} has been filled by another client`)
}

interface TreeFile {
  readonly path: string
  readonly object: ListedObject
}

interface CopiedFile {
  readonly path: string
  readonly copying: Copying
  /** Undefined until the target has been looked at. */
  copy: ObjectInfo | undefined
}

class TreeMove {
  readonly #storage: Storage
  readonly #sidecars: SidecarMover | undefined
  readonly #from: string
  readonly #to: string
  readonly #directories = ['']
  readonly #files: TreeFile[] = []
  /** Keys that cannot be moved. */
  readonly #unmovable: string[] = []

  private constructor(storage: Storage, from: string, to: string, sidecars: SidecarMover | undefined) {
    this.#storage = storage
    this.#from = from
    this.#to = to
    this.#sidecars = sidecars
  }

  /**
   * @param unmovableStay true to leave keys that cannot be moved at the old place, as objects that another client stored during the move
   * @throws EIO if there are such keys, unless `unmovableStay`
   */
  static async list(
    storage: Storage,
    from: string,
    to: string,
    sidecars: SidecarMover | undefined,
    unmovableStay = false,
  ): Promise<TreeMove> {
    const tree = new TreeMove(storage, from, to, sidecars)
    await tree.#list()
    const [first] = tree.#unmovable
    if (first === undefined || unmovableStay) return tree
    const text = `cannot move ${JSON.stringify(from)}: OpenDAL would take its key ${JSON.stringify(first)} for another one`
    throw reported(storage, new FsError('EIO', text))
  }

  async #list(): Promise<void> {
    for (const directory of this.#directories) {
      for (const object of await this.#storage.list(this.#from + directory)) {
        const path = directory + object.segment
        const suffix = object.kind === 'directory' ? '/' : ''
        if (!isAddressable(this.#from + path + suffix)) this.#unmovable.push(this.#from + path + suffix)
        else if (object.kind === 'directory') this.#directories.push(`${path}/`)
        else this.#files.push({ path, object })
      }
    }
  }

  /** Copies everything, and only then deletes what was copied: a failure in between leaves the source whole. */
  async run(hadTarget: boolean): Promise<MovedDirectory> {
    const storage = this.#storage
    const copies: CopiedFile[] = []
    let versions: MovedVersions
    try {
      await this.#createDirectories()
      await forEachConcurrently(this.#files, CONCURRENT_MOVES, async file => {
        const copy = await this.#copy(file)
        if (copy !== undefined) copies.push(copy)
      })
      await this.#lookAt(copies)
      versions = versionsOf(copies)
      await this.#carrySidecars(copies, versions, false)
    } catch (error) {
      // Report the first error. If the cleanup fails, a copy remains, but no object is lost.
      await this.#removeCopies(copies, hadTarget).catch(() => undefined)
      throw error
    }
    const staying = new Set<string>()
    await forEachConcurrently(copies, CONCURRENT_MOVES, async ({ copying, copy }) => {
      const left = await storage.stat(copying.from, true)
      if (!(await deleteCopied(storage, copying, copy!, left))) staying.add(copying.from)
    })
    await this.#deleteDirectories(staying)
    return { somethingStays: staying.size > 0, versions }
  }

  #isSidecar(path: string): boolean {
    return path.slice(path.lastIndexOf('/') + 1) === this.#sidecars?.segment
  }

  /** To be called before the first source is deleted: then a replay can still look up the versions of all sources. */
  async #carrySidecars(
    copies: readonly CopiedFile[],
    versions: MovedVersions,
    merges: boolean,
  ): Promise<void> {
    const sidecars = this.#sidecars
    if (sidecars === undefined) return
    const groups = groupedByDirectory(versions)
    const kept = copies.filter(({ path }) => this.#isSidecar(path))
    await forEachConcurrently(kept, CONCURRENT_MOVES, async ({ path, copy }) => {
      const directory = path.slice(0, path.lastIndexOf('/') + 1)
      const own = groups.get(directory)!
      const isChanged = ([segment, moved]: readonly [string, MovedVersion]) =>
        segment !== sidecars.segment && hasOtherVersion(moved)
      if (!merges && ![...own].some(isChanged)) return
      const [from, to] = [this.#from + directory, this.#to + directory]
      await sidecars.carry({ from, to, copy: copy!, versions: own, merges })
    })
  }

  /** Undefined if the file is gone. */
  async #copy({ path, object }: TreeFile): Promise<CopiedFile | undefined> {
    const storage = this.#storage
    const from = this.#from + path
    const source = object.info ?? (await storage.stat(from, true))
    if (source === undefined) return undefined
    const copying: Copying = { from, to: this.#to + path, source, target: undefined }
    const copy = async (): Promise<CopiedFile> => {
      if (await tryServiceCopy(storage, copying)) return { path, copying, copy: undefined }
      const read = await copyThroughHost(storage, copying)
      return { path, copying: { ...copying, source: read }, copy: undefined }
    }
    // The marker of the new directory exists already, and its sidecar has no entries that could be lost.
    return OWN_SEGMENTS.has(object.segment) ? copy() : reservingTarget(storage, copying, copy)
  }

  /**
   * Verifies every copy, by listings of the target, which take far fewer requests than a stat of each copy.
   * @throws EIO if a copy is missing
   */
  async #lookAt(copies: CopiedFile[]): Promise<void> {
    const storage = this.#storage
    const listed = new Map<string, ObjectInfo>()
    if (storage.canList) {
      await forEachConcurrently(this.#directories, CONCURRENT_MOVES, async directory => {
        for (const { segment, kind, info } of await storage.list(this.#to + directory))
          if (kind === 'file' && info !== undefined) listed.set(this.#to + directory + segment, info)
      })
    }
    await forEachConcurrently(copies, CONCURRENT_MOVES, async file => {
      const { copying } = file
      const inListing = listed.get(copying.to)
      if (inListing !== undefined && (await isCopy(storage, copying, inListing, undefined))) {
        file.copy = inListing
        return
      }
      const [found, left] = await Promise.all([
        storage.stat(copying.to, true),
        storage.stat(copying.from, true),
      ])
      if (found !== undefined && (await isCopy(storage, copying, found, left))) file.copy = found
      else if (left !== undefined) file.copy = (await copyObject(storage, { ...copying, target: found })).info
      else throw reported(storage, notCopiedError(copying.from, copying.to, 'nothing was deleted'))
    })
  }

  async #removeCopies(copies: readonly CopiedFile[], hadTarget: boolean): Promise<void> {
    const storage = this.#storage
    await forEachConcurrently(copies, CONCURRENT_MOVES, async ({ path, copying }) => {
      const { from, to, source } = copying
      const found = await storage.stat(to, true)
      if (found?.kind !== 'file') return
      // Another client may have replaced the copy with an object of the same size.
      const isOurs = this.#isSidecar(path) || (await holdsSameBytes(storage, from, source, to, found))
      if (isOurs) await storage.delete(to)
    })
    const made = hadTarget ? this.#directories.slice(1) : this.#directories
    for (const directory of made.toReversed()) await this.#deleteIfEmpty(this.#to + directory)
  }

  async finish(): Promise<string[]> {
    const storage = this.#storage
    await this.#createDirectories()
    const conflicts: string[] = []
    const staying = new Set<string>(this.#unmovable)
    const made: CopiedFile[] = []
    const found: CopiedFile[] = []
    await forEachConcurrently(this.#files, CONCURRENT_MOVES, async ({ path }) => {
      const [from, to] = [this.#from + path, this.#to + path]
      const [source, target] = await Promise.all([storage.stat(from, true), storage.stat(to, true)])
      if (source === undefined) return
      const copying: Copying = { from, to, source, target }
      if (target === undefined) {
        made.push({ path, copying, copy: (await copyObject(storage, copying)).info })
      } else if (this.#isSidecar(path) || (await isSameObject(storage, from, source, to, target))) {
        found.push({ path, copying, copy: target })
      } else {
        staying.add(from)
        // Another client stored the source after the copy was made, so this object has been moved.
        if (source.mtime !== undefined && compareTimes(source.mtime, target.mtime) > 0)
          storage.report(new NewerSource(from, to))
        else conflicts.push(from)
      }
    })
    const versions = versionsOf([...made, ...found])
    await this.#carrySidecars(made, versions, false)
    await this.#carrySidecars(found, versions, true)
    await forEachConcurrently(made, CONCURRENT_MOVES, async ({ copying, copy }) => {
      const left = await storage.stat(copying.from, true)
      if (!(await deleteCopied(storage, copying, copy!, left))) staying.add(copying.from)
    })
    await forEachConcurrently(found, CONCURRENT_MOVES, async ({ path, copying: { from, source } }) => {
      // The sidecar stays if files stay in its directory.
      const directory = from.slice(0, from.lastIndexOf('/') + 1)
      const isNeeded = this.#isSidecar(path) && [...staying].some(key => key.startsWith(directory))
      if (!isNeeded && mayBeVersion(source, await storage.stat(from, true))) await storage.delete(from)
      else staying.add(from)
    })
    await this.#deleteDirectories(staying)
    return [...conflicts, ...this.#unmovable]
  }

  async #createDirectories(): Promise<void> {
    // On services without real directories, markers are moved as objects.
    if (!this.#storage.capability.createDir) return
    for (const directory of this.#directories) await this.#storage.createDirectory(this.#to + directory)
  }

  /** Deletes a marker only if its directory is empty; otherwise the files that stay would lose their directory. */
  async #deleteDirectories(staying: ReadonlySet<string>): Promise<void> {
    const keys = this.#directories.map(directory => this.#from + directory)
    for (const key of keys.toReversed())
      if (![...staying].some(stays => stays.startsWith(key))) await this.#deleteIfEmpty(key)
  }

  /** Looks first: on services with real directories, deleting a directory deletes files that another client has stored in it. */
  async #deleteIfEmpty(key: string): Promise<void> {
    const storage = this.#storage
    if (storage.traits.mayHideDots) return
    if (storage.traits.realDirectories && (await storage.hasChildren(key, () => false))) return
    await storage.delete(key)
  }
}

function versionsOf(copies: readonly CopiedFile[]): MovedVersions {
  return new Map(copies.map(({ path, copying, copy }) => [path, { before: copying.source, after: copy! }]))
}
