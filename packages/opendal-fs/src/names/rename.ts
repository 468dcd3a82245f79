// Moving files and directories. The service's own rename where there is one; else copy and delete; else read, write and delete.
// A file that is not published yet moves without a storage call. Ids, handles and cached bytes go along.

import { FsError, RENAME_NOREPLACE } from '@ovfs/fuse-proto'
import { now } from '../attributes/time.ts'
import { type MoveEntry, versionOf } from '../journal/journal-entries.ts'
import type { Change } from '../journal/journal-record.ts'
import type { NameJournal } from '../journal/name-journal.ts'
import { DirectoryMove, type MovedDirectory } from '../storage/directory-moves.ts'
import { groupedByDirectory, type MovedVersion, type MovedVersions } from '../storage/moved-versions.ts'
import { type Moved, moveObject } from '../storage/object-moves.ts'
import type { ObjectInfo } from '../storage/storage.ts'
import { compareVersions } from '../storage/version.ts'
import type { Inode } from './inode.ts'
import type { SharedLock } from './locks.ts'
import type { Namespace } from './namespace.ts'
import type { Tree } from './tree.ts'

/** What a guest asks for. */
export interface Renaming {
  readonly parent: Inode
  readonly name: string
  readonly newParent: Inode
  readonly newName: string
  /** RENAME_* */
  readonly flags: number
}

export class Renamer {
  readonly #tree: Tree
  readonly #namespace: Namespace
  readonly #names: SharedLock
  readonly #journal: NameJournal

  constructor(tree: Tree, namespace: Namespace, names: SharedLock, journal: NameJournal) {
    this.#tree = tree
    this.#namespace = namespace
    this.#names = names
    this.#journal = journal
  }

  async rename(renaming: Renaming): Promise<void> {
    const { parent, name, newParent, flags } = renaming
    // EXCHANGE and WHITEOUT: what cannot be done at once is refused, not approximated.
    if ((flags & ~RENAME_NOREPLACE) !== 0) throw new FsError('EINVAL')
    if (newParent.removed) throw new FsError('ENOENT')
    const source = await this.#existing(parent, name)
    const isDirectory = source.directory !== undefined
    await this.#tree.table.holding([source], () =>
      isDirectory
        ? this.#names.exclusive(() => this.#renameDirectory(renaming))
        : this.#names.shared(() => this.#lockAndRename(source, renaming)),
    )
  }

  async #lockAndRename(source: Inode, renaming: Renaming): Promise<void> {
    const target = await this.#tree.child(renaming.newParent, renaming.newName)
    // In one order always, or two renames in opposite directions would wait for each other.
    const files = [source, target].filter(inode => inode?.file !== undefined) as Inode[]
    const [first, second] = files.sort((a, b) => a.nodeid - b.nodeid)
    const move = () => this.#renameFile(source, renaming)
    await this.#tree.table.holding(files, () =>
      second === undefined || second === first
        ? first!.file!.lock.run(move)
        : first!.file!.lock.run(() => second.file!.lock.run(move)),
    )
  }

  /** True if the inode that a rename began with is where it was to go. */
  async isDone(source: number, { parent, name, newParent, newName }: Renaming): Promise<boolean> {
    if (newParent.directory!.children.get(newName)?.nodeid === source) return true
    if ((await this.#tree.child(parent, name)) !== undefined) return false
    return (await this.#tree.child(newParent, newName)) !== undefined
  }

  async #existing(parent: Inode, name: string): Promise<Inode> {
    const inode = await this.#tree.child(parent, name)
    if (inode === undefined) throw new FsError('ENOENT')
    return inode
  }

  async #renameFile(source: Inode, renaming: Renaming): Promise<void> {
    const { parent, name, newParent, newName, flags } = renaming
    if (source.parent !== parent || source.name !== name) throw new FsError('ENOENT')
    const target = await this.#tree.child(newParent, newName)
    if (target !== undefined && (flags & RENAME_NOREPLACE) !== 0) throw new FsError('EEXIST')
    if (target === source) return
    if (target?.directory !== undefined) throw new FsError('EISDIR')

    const file = source.file!
    const { storage, attributes } = this.#tree
    const from = this.#tree.key(source)
    // Use the spelling of the target. In another spelling, both objects would exist.
    const replaces = target === undefined ? undefined : this.#tree.entrySegment(target)
    const segment = replaces ?? this.#tree.names.toSegment(newName)
    const to = this.#tree.key(newParent) + segment
    const { info } = file
    const aside = target === undefined ? undefined : this.#namespace.asideFor(target)
    const targetStays = target?.file?.exists === true && aside === undefined
    const below = target?.file?.info ?? target?.file?.replaced
    let moved: Moved | undefined
    const inStorage = async () => {
      if (info !== undefined) {
        await this.#namespace.keepParent(parent)
        moved = await moveObject(storage, { from, to, source: info, target: targetStays ? below : undefined })
        return
      }
      // What lies under the old key is only what this file has replaced.
      if (file.exists) await storage.delete(from)
      // What exists without an object would be hidden by one.
      const isSpecial = source.kind === 'special'
      if (targetStays && isSpecial) await storage.delete(to)
      file.exists = targetStays && !isSpecial
      file.replaced = file.exists ? below : undefined
    }
    const work = async () => {
      if (target !== undefined) await this.#namespace.preserve(target, aside)
      try {
        await attributes.moving(source, newParent, segment, inStorage)
      } catch (error) {
        if (target !== undefined) await this.#namespace.restore(target)
        this.#forgetTarget(newParent, newName, target)
        throw error
      }
      this.#tree.table.together(() => {
        if (target !== undefined) this.#namespace.forgetName(target)
        this.#move(source, newParent, newName, segment)
        this.#journal.rebased(source)
        this.#tree.table.record?.dirty(source)
      })
      if (file.info !== undefined) this.#takeNewVersion(source, moved?.info)
      if (moved?.sourceStays === true) await this.#keepOldName(parent, name)
    }
    const drops = this.#journal.entriesOf(target)
    const entry: MoveEntry = {
      kind: 'move',
      node: source.nodeid,
      from,
      to,
      published: info !== undefined,
      source: file.exists ? versionOf(info ?? file.replaced) : null,
      targetNode: target?.nodeid ?? 0,
      target: target?.file?.exists === true ? versionOf(below) : null,
      aside: aside ?? null,
      drops,
    }
    const saved = [...this.#journal.entriesOf(source), ...drops]
    const isSpecial = source.kind === 'special'
    if (entry.source === null && entry.target === null && saved.length === 0 && !isSpecial) await work()
    else await this.#during(entry, source, newParent, segment, target, work)
    if (target?.file !== undefined) await this.#namespace.closedAside(target)
    // What exists in the sidecar alone is gone from its old name, or from under the new one, as soon as that says so.
    if (isSpecial || target?.kind === 'special') await attributes.settleSpecials(newParent)
    if (isSpecial && parent !== newParent) await attributes.settleSpecials(parent)
  }

  async #during(
    entry: MoveEntry,
    source: Inode,
    newParent: Inode,
    segment: string,
    target: Inode | undefined,
    work: () => Promise<void>,
  ): Promise<void> {
    const carried = this.#tree.attributes.beforeMove(source, newParent, segment, target)
    const drops = [...entry.drops, ...carried.notes]
    try {
      await this.#journal.during({ ...entry, drops, attributes: carried.changes }, work, () =>
        this.#moved(source, target),
      )
    } catch (error) {
      carried.giveBack()
      throw error
    }
  }

  /** What the journal says from now on. */
  #moved(source: Inode, target?: Inode): Change[] {
    for (const inode of filesWithin(source)) this.#journal.rebased(inode)
    this.#tree.attributes.moved(source)
    return [...this.#journal.renamed(source), ...this.#journal.aside(target)]
  }

  /** A rename has failed, but a copy may already be at the target. */
  #forgetTarget(newParent: Inode, newName: string, target: Inode | undefined): void {
    this.#tree.forgetAbsence(newParent, newName)
    if (target?.file !== undefined && target.file.dirty === undefined) target.attrUntil = 0
  }

  /** Another client has stored an object under the old name during the move. */
  async #keepOldName(parent: Inode, name: string): Promise<void> {
    this.#tree.forgetAbsence(parent, name)
    await this.#tree.attributes.announceName(parent, this.#tree.names.toSegment(name))
  }

  /**
   * To be called after a move: the bytes are unchanged, but their version may be another one.
   * @param info undefined if the object could not be looked up: then the next look shows the version
   */
  #takeNewVersion(inode: Inode, info: ObjectInfo | undefined): void {
    const file = inode.file!
    if (info === undefined) this.#forgetVersion(inode)
    if (info === undefined || file.info === undefined) return
    if (info.size !== file.info.size) {
      inode.attrUntil = file.dirty === undefined ? 0 : inode.attrUntil
      return
    }
    file.info = info
    this.#tree.table.record?.dirty(inode)
    this.#tree.table.record?.shown(inode)
    this.#tree.attributes.record(inode, false)
    if (file.content !== undefined) file.content.etag = info.etag
    if (inode.kind === 'special') inode.attrUntil = 0
    else if (file.dirty === undefined) this.#tree.apply(inode, info)
  }

  async #renameDirectory({ parent, name, newParent, newName, flags }: Renaming): Promise<void> {
    const source = await this.#existing(parent, name)
    if (source.directory === undefined) throw new FsError('ENOTDIR')
    // rename(2): a directory cannot become a part of itself.
    if (newParent.isWithin(source)) throw new FsError('EINVAL')
    const target = await this.#tree.child(newParent, newName)
    if (target !== undefined && (flags & RENAME_NOREPLACE) !== 0) throw new FsError('EEXIST')
    if (target === source) return
    const { storage, attributes } = this.#tree
    const from = this.#tree.key(source)
    const segment = this.#tree.names.toSegment(newName)
    const to = `${this.#tree.key(newParent)}${segment}/`
    await this.#namespace.takeIn(source)
    const prepared = await DirectoryMove.prepare(storage, from, to, attributes.mover)
    if (target !== undefined) {
      if (target.directory === undefined) throw new FsError('ENOTDIR')
      await this.#tree.table.holding([target], () => this.#replaceDirectory(target))
    }
    const entry: MoveEntry = {
      kind: 'move',
      node: source.nodeid,
      from,
      to,
      published: true,
      source: null,
      // It was empty, and went before.
      targetNode: 0,
      target: null,
      aside: null,
      drops: [],
    }
    const work = async () => {
      let moved: MovedDirectory | undefined
      this.#tree.moving = source
      try {
        await attributes.moving(source, newParent, segment, async () => {
          await this.#namespace.keepParent(parent)
          moved = await prepared.run(target !== undefined)
        })
      } catch (error) {
        this.#forgetTarget(newParent, newName, undefined)
        throw error
      } finally {
        this.#tree.moving = undefined
      }
      this.#tree.table.together(() => this.#move(source, newParent, newName, segment))
      this.#takeNewVersions(source, '', groupedByDirectory(moved!.versions))
      for (const inode of filesWithin(source)) {
        if (inode.file!.dirty === undefined) continue
        const info = await storage.stat(this.#tree.key(inode)).catch(() => undefined)
        this.#takeNewVersion(inode, info)
      }
      if (moved!.somethingStays) await this.#keepOldName(parent, name)
    }
    await this.#during(entry, source, newParent, segment, target, work)
  }

  async #replaceDirectory(target: Inode): Promise<void> {
    await this.#namespace.requireEmpty(target)
    await this.#namespace.deleteDirectory(target)
    this.#namespace.forgetName(target)
  }

  #move(inode: Inode, newParent: Inode, newName: string, segment: string): void {
    const { parent, name } = inode
    const isUrgent = this.#tree.attributes.isUrgent(inode)
    const former = this.#tree.entrySegment(inode)
    this.#tree.table.move(inode, newParent, newName, this.#tree.ownSegment(newName, segment))
    if (parent !== undefined) this.#tree.nameRemoved(parent, name, former)
    this.#tree.nameAdded(inode)
    inode.setChanged(now())
    this.#tree.attributes.record(inode, isUrgent, true)
  }

  /** Only the size is sure. */
  #forgetVersion(inode: Inode): void {
    const file = inode.file!
    if (file.info !== undefined) file.info = { ...file.info, mtime: undefined, etag: undefined }
    this.#tree.table.record?.shown(inode)
  }

  /**
   * To be called after a directory move: the bytes of all files below are unchanged. New versions of them come from the move, not
   * from another client.
   * @param path of the directory, below the one that was moved
   * @param versions the known ones, by directory
   */
  #takeNewVersions(inode: Inode, path: string, versions: ReadonlyMap<string, MovedVersions>): void {
    const directory = inode.directory!
    const own: MovedVersions = versions.get(path) ?? new Map()
    this.#tree.attributes.copied(inode, own)
    // Listings and lookups at the old place report the versions from before the move.
    directory.changes++
    directory.absent.clear()
    if (directory.listing !== undefined) directory.listing.until = 0
    directory.listing = undefined
    for (const child of directory.children.values()) {
      const segment = this.#tree.segment(child)
      if (child.directory !== undefined) this.#takeNewVersions(child, `${path}${segment}/`, versions)
      else this.#takeCopied(child, own.get(segment))
      child.epoch++
    }
  }

  #takeCopied(inode: Inode, moved: MovedVersion | undefined): void {
    const file = inode.file!
    const isFile = inode.kind === 'file'
    file.info = file.info && versionOfCopy(file.info, isFile ? moved : undefined)
    file.replaced = file.replaced && versionOfCopy(file.replaced, moved)
    this.#tree.table.record?.shown(inode)
    if (file.content !== undefined) file.content.etag = file.info?.etag
    if (file.dirty === undefined) inode.attrUntil = 0
  }
}

/** The version of an object after its move: only its size, unless the move has seen both the source version and the copy. */
function versionOfCopy(info: ObjectInfo, moved: MovedVersion | undefined): ObjectInfo {
  const isSeen = moved?.after.etag !== undefined && compareVersions(info, moved.before) === 'same'
  return isSeen ? moved.after : { ...info, mtime: undefined, etag: undefined }
}

function* filesWithin(inode: Inode): Generator<Inode> {
  if (inode.file !== undefined) yield inode
  for (const child of inode.directory?.children.values() ?? []) yield* filesWithin(child)
}
