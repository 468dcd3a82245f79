// Making and removing names. An unlinked file that somebody has open stays readable and writable until the last close: what the
// storage is about to lose is moved aside there, or copied to the staging store.

import { FsError } from '@ovfs/fuse-proto'
import type { Creator } from '../attributes/ownership.ts'
import { now } from '../attributes/time.ts'
import { type RemovalEntry, versionOf } from '../journal/journal-entries.ts'
import type { NameJournal } from '../journal/name-journal.ts'
import { DIRECTORY_MARKER } from '../storage/key-names.ts'
import { renameObject } from '../storage/object-moves.ts'
import { StorageError } from '../storage/storage-error.ts'
import type { Publisher } from '../writes/publication.ts'
import { FOREVER, type Inode, S_IFMT, S_IFREG } from './inode.ts'
import type { SharedLock } from './locks.ts'
import type { Tree } from './tree.ts'

export class Namespace {
  readonly #tree: Tree
  readonly #publisher: Publisher
  readonly #names: SharedLock
  readonly #journal: NameJournal

  constructor(tree: Tree, publisher: Publisher, names: SharedLock, journal: NameJournal) {
    this.#tree = tree
    this.#publisher = publisher
    this.#names = names
    this.#journal = journal
  }

  /** A new, empty file that the storage hears of when it is published. The name must be free, and the usage be counted. */
  addFile(parent: Inode, name: string, creator: Creator, mode: number): Inode {
    this.#publisher.usage.requireFile()
    this.#tree.table.requireRoom()
    const inode = this.#tree.table.add(parent, name, false)
    inode.setTime(now())
    // Who asks for it again and finds it made could not say whose it is.
    this.#tree.table.together(() => {
      this.#tree.attributes.create(inode, creator, mode)
      this.#publisher.dirty(inode).touch()
      this.#publisher.showDirty(inode)
      this.#tree.nameAdded(inode)
    })
    this.#publisher.usage.added()
    return inode
  }

  /** A symbolic link, pipe, socket or device: it exists in the sidecar only. */
  async addSpecial(
    parent: Inode,
    name: string,
    creator: Creator,
    node: { readonly mode: number; readonly rdev: number; readonly target?: string },
  ): Promise<Inode> {
    return this.#names.shared(async () => {
      await this.requireFree(parent, name)
      const { attributes } = this.#tree
      await attributes.fresh(parent)
      if (parent.directory!.children.has(name)) throw new FsError('EEXIST')
      this.#publisher.usage.requireFile()
      const inode = this.#tree.table.add(parent, name, false)
      inode.attr.mode = node.mode
      inode.attr.rdev = node.rdev
      inode.target = node.target
      inode.setTime(now())
      this.#tree.nameAdded(inode)
      attributes.create(inode, creator, node.mode)
      this.#publisher.usage.added()
      this.#tree.apply(inode, {
        kind: 'special',
        size: 0,
        mtime: undefined,
        etag: undefined,
        mode: node.mode,
      })
      try {
        await this.keepParent(parent)
        await attributes.settleSpecials(parent)
      } catch (error) {
        this.forgetName(inode)
        throw error
      }
      return inode
    })
  }

  /** A new directory, which exists in the storage from now on. */
  async mkdir(parent: Inode, name: string, creator: Creator, mode: number): Promise<Inode> {
    return this.#names.shared(async () => {
      await this.requireFree(parent, name)
      this.#publisher.usage.requireFile()
      const { storage, names, attributes } = this.#tree
      const segment = names.toSegment(name)
      const key = `${this.#tree.key(parent)}${segment}/`
      await attributes.announceName(parent, segment)
      await storage.createDirectory(key)
      // A lookup may have seen it meanwhile.
      const inode = parent.directory!.children.get(name) ?? this.#tree.table.add(parent, name, true)
      this.made(inode, creator, mode)
      this.#publisher.usage.added()
      this.#tree.apply(inode, { kind: 'directory', size: 0, mtime: undefined, etag: undefined })
      return inode
    })
  }

  /** A directory that was made and not yet taken note of. */
  made(inode: Inode, creator: Creator, mode: number): Inode {
    if (inode.directory === undefined) throw new FsError('EEXIST')
    inode.directory.marked = true
    inode.directory.changedHere = true
    inode.directory.hasTime = true
    inode.setTime(now())
    this.#tree.nameAdded(inode)
    this.#tree.attributes.create(inode, creator, mode)
    return inode
  }

  /** @throws EEXIST */
  async requireFree(parent: Inode, name: string): Promise<void> {
    if (parent.removed) throw new FsError('ENOENT')
    this.#tree.table.requireRoom()
    const existing = await this.#tree.child(parent, name)
    if (existing !== undefined) throw new FsError('EEXIST')
  }

  async unlink(parent: Inode, name: string): Promise<void> {
    await this.#names.shared(async () => {
      const inode = await this.#tree.child(parent, name)
      if (inode === undefined) throw new FsError('ENOENT')
      const { file } = inode
      if (file === undefined) throw new FsError('EISDIR')
      await this.#tree.table.holding([inode], () => file.lock.run(() => this.#unlink(inode, parent, name)))
    })
  }

  async #unlink(inode: Inode, parent: Inode, name: string): Promise<void> {
    if (inode.parent !== parent || inode.name !== name) throw new FsError('ENOENT')
    await this.keepParent(parent)
    await this.#removeFile(inode)
    if (inode.kind === 'special') await this.#tree.attributes.settleSpecials(parent)
  }

  async #removeFile(inode: Inode): Promise<void> {
    const file = inode.file!
    const key = this.#tree.key(inode)
    const aside = this.asideFor(inode)
    const drops = this.#journal.entriesOf(inode)
    const work = async () => {
      await this.preserve(inode, aside)
      if (aside === undefined && file.exists) await this.#tree.storage.delete(key)
      this.forgetName(inode)
    }
    // One step of the storage happens or not, without a word of ours.
    if (drops.length === 0 && aside === undefined) return work()
    const version = file.exists ? versionOf(file.info ?? file.replaced) : null
    const entry: RemovalEntry = {
      kind: 'removal',
      node: inode.nodeid,
      key,
      version,
      aside: aside ?? null,
      drops,
    }
    await this.#journal.during(entry, work, () => this.#journal.aside(inode))
    await this.closedAside(inode)
  }

  /** The last handle of what was just put aside was closed meanwhile, when it still had its name. */
  async closedAside(inode: Inode): Promise<void> {
    const file = inode.file!
    const { detachedKey } = file
    if (inode.opens > 0 || !inode.removed || detachedKey === undefined) return
    file.detachedKey = undefined
    await this.#journal.deleteAside(this.#tree.storage, detachedKey)
  }

  /** An inode's name is gone for good. */
  forgetName(inode: Inode): void {
    this.#tree.table.together(() => this.#forgetName(inode))
  }

  #forgetName(inode: Inode): void {
    const { parent, name } = inode
    if (parent !== undefined) {
      this.#tree.nameRemoved(parent, name, this.#tree.entrySegment(inode))
      this.#publisher.usage.removed((inode.attr.mode & S_IFMT) === S_IFREG ? inode.attr.size : 0)
    }
    // unlink(2) and rename(2) mark what loses a link, for those who have it open.
    inode.setChanged(now())
    const { file } = inode
    if (file !== undefined && inode.opens === 0) {
      this.#publisher.discard(inode)
      this.#tree.dropContent(inode)
    }
    this.#tree.table.remove(inode)
  }

  /** The key for the object of an open file that is about to lose its name; undefined if its bytes have to be copied here. */
  asideFor(inode: Inode): string | undefined {
    const { storage, names } = this.#tree
    if (!isNeeded(inode) || !storage.capability.rename) return undefined
    const key = this.#tree.key(inode)
    return key.slice(0, key.lastIndexOf('/') + 1) + names.temporary()
  }

  /**
   * Keeps the bytes of an open file that is about to lose its object. To be called with the file's lock held.
   * @param aside where the object goes, as `asideFor` said
   */
  async preserve(inode: Inode, aside: string | undefined): Promise<void> {
    if (aside !== undefined) {
      await renameObject(this.#tree.storage, this.#tree.key(inode), aside)
      inode.file!.detachedKey = aside
    } else if (isNeeded(inode)) {
      await this.#publisher.dirty(inode).detach()
    }
  }

  /** The file keeps its name after all. */
  async restore(inode: Inode): Promise<void> {
    const file = inode.file!
    const { detachedKey } = file
    if (detachedKey === undefined || inode.removed) return
    file.detachedKey = undefined
    await renameObject(this.#tree.storage, detachedKey, this.#tree.key(inode))
  }

  /** A directory is about to lose its key, and with it what was put aside there: that is copied here. */
  async takeIn(directory: Inode): Promise<void> {
    const { storage, table } = this.#tree
    const key = this.#tree.key(directory)
    for (const inode of [...table.aside]) {
      const file = inode.file!
      await file.lock.run(async () => {
        const { detachedKey } = file
        if (inode.lost || inode.opens === 0 || !detachedKey?.startsWith(key)) return
        try {
          await this.#publisher.dirty(inode).detach()
        } catch (error) {
          if (inode.opens > 0) throw error
        }
        // Closed meanwhile, it is deleted already.
        if (file.detachedKey === undefined) return
        file.detachedKey = undefined
        table.record?.named(inode)
        await this.#journal.deleteAside(storage, detachedKey)
      })
    }
  }

  /** On services where a directory is no more than a part of keys, it must not vanish with its last child. */
  async keepParent(parent: Inode): Promise<void> {
    const directory = parent.directory!
    if (directory.marked || !this.#tree.hasVirtualDirectories) return
    const { storage } = this.#tree
    if (storage.capability.createDir) await storage.createDirectory(this.#tree.key(parent))
    directory.marked = true
  }

  async rmdir(parent: Inode, name: string): Promise<void> {
    await this.#names.exclusive(async () => {
      const inode = await this.#tree.child(parent, name)
      if (inode === undefined) throw new FsError('ENOENT')
      if (inode.directory === undefined) throw new FsError('ENOTDIR')
      await this.#tree.table.holding([inode], async () => {
        await this.requireEmpty(inode)
        await this.keepParent(parent)
        await this.deleteDirectory(inode)
        this.forgetName(inode)
      })
    })
  }

  /** @throws ENOTEMPTY, also if somebody else has put something there a moment ago */
  async requireEmpty(inode: Inode): Promise<void> {
    for (const child of inode.directory!.children.values()) {
      if (child.attrUntil === FOREVER) throw new FsError('ENOTEMPTY')
    }
    const { storage, names, attributes } = this.#tree
    const isOurs = (segment: string): boolean => names.isOurs(segment)
    await attributes.fresh(inode)
    if (!attributes.specials(inode).next().done) throw new FsError('ENOTEMPTY')
    if (!storage.lists) throw new FsError('EOPNOTSUPP', 'the service cannot tell whether it is empty')
    if (await storage.hasChildren(this.#tree.key(inode), isOurs)) throw new FsError('ENOTEMPTY')
  }

  /** Deletes an empty directory's object. */
  async deleteDirectory(inode: Inode): Promise<void> {
    this.#tree.storage.requireDeletable(this.#tree.key(inode))
    await this.takeIn(inode)
    const { storage, names, attributes } = this.#tree
    const key = this.#tree.key(inode)
    if (attributes.kept) await storage.delete(key + names.sidecar)
    attributes.cleared(inode)
    if (storage.marksDirectory(key)) await storage.delete(key + DIRECTORY_MARKER)
    try {
      await storage.delete(key)
    } catch (error) {
      if (!(error instanceof StorageError && error.code === 'ENOTEMPTY')) throw error
      // Leftovers of an interrupted publication, which no listing shows, must not make it undeletable.
      for (const { segment } of await storage.list(key)) {
        if (names.isTemporary(segment)) await storage.delete(key + segment)
      }
      await storage.delete(key)
    }
  }
}

/** True if somebody may read bytes that only the storage has. */
function isNeeded(inode: Inode): boolean {
  const { exists, info } = inode.file!
  return inode.opens > 0 && exists && info !== undefined
}
