// Moves a directory: in one step where the service can, else object by object, which copies everything, makes sure of the copies,
// and only then deletes. A move that was interrupted is finished from what lies at both places.

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
  /** Something stays in the old directory, because another client has stored it there meanwhile. */
  readonly somethingStays: boolean
  /** Of the files that were copied, by path; none where the service moved the directory itself. */
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
    // A local folder does that itself. What has just been emptied needs no other look where nothing in it would be replaced.
    const isSafe = storage.scheme === 'fs' || (hadTarget && !storage.traits.renameReplacesDirectories)
    if (!isSafe) await requireNothing(storage, to)
    if (this.#tree !== undefined) return this.#tree.run(hadTarget)
    try {
      await renameObject(storage, from.slice(0, -1), to.slice(0, -1))
      return { somethingStays: false, versions: new Map() }
    } catch (error) {
      if (storage.scheme === 'fs' || !(error instanceof StorageError) || !isUnsupported(error)) throw error
      // What is not listed would neither be copied nor stay.
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
 * Goes on with a move that was interrupted.
 * @returns the keys below `from` that stay there because something else lies at their place
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
  // On a local folder a rename is one step, which has not happened: what lies at `to` is another client's.
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
   * @param unmovableStay keys that cannot be moved stay, as if another client had stored them after the move had begun
   * @throws EIO if there are such keys and they are not to stay
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
      // The error to report is the one that was there first; what cannot be cleaned up is a copy too many, not one too few.
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

  /** Before the first source is deleted: then the versions of all sources are known, also to a replay. */
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
    // The new directory has a marker already, and what is in it has no attributes that would be lost.
    return OWN_SEGMENTS.has(object.segment) ? copy() : reservingTarget(storage, copying, copy)
  }

  /**
   * Makes sure of every copy: by listings of the target, which need far fewer requests than a look at each.
   * @throws EIO if one is not there
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
      // Another client may have replaced the copy by something of the same size.
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
        // Stored at the old place after the copy was made: the move itself is done.
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
      // It is kept for the files that stay beside it.
      const directory = from.slice(0, from.lastIndexOf('/') + 1)
      const isNeeded = this.#isSidecar(path) && [...staying].some(key => key.startsWith(directory))
      if (!isNeeded && mayBeVersion(source, await storage.stat(from, true))) await storage.delete(from)
      else staying.add(from)
    })
    await this.#deleteDirectories(staying)
    return [...conflicts, ...this.#unmovable]
  }

  async #createDirectories(): Promise<void> {
    // Where there are only markers, each is moved as the object that it is.
    if (!this.#storage.capability.createDir) return
    for (const directory of this.#directories) await this.#storage.createDirectory(this.#to + directory)
  }

  /** A marker goes only with all that it marks, or what stays would lose its directory. */
  async #deleteDirectories(staying: ReadonlySet<string>): Promise<void> {
    const keys = this.#directories.map(directory => this.#from + directory)
    for (const key of keys.toReversed())
      if (![...staying].some(stays => stays.startsWith(key))) await this.#deleteIfEmpty(key)
  }

  /** Where directories exist by themselves, deleting one may delete what another client has just stored in it. */
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
