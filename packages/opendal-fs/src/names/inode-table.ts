// Finds inodes by id, makes them, and drops those that nobody needs: forgotten by the guest, not open, nothing unpublished in
// them and nothing below them. Ids count up; one is used again only for the same name that the guest has forgotten meanwhile,
// because programs tell files apart by it.

import { FsError, type NodeId, ROOT_NODE } from '@ovfs/fuse-proto'
import { type Time, timeOf } from '../attributes/time.ts'
import type { Content } from '../files/block-cache.ts'
import type { Settings } from '../options.ts'
import type { SessionRecord } from '../session/session-record.ts'
import { FOREVER, Inode, type InodeAttr, S_IFDIR, S_IFREG } from './inode.ts'

const BLKSIZE = 4096
/** Forgotten inodes whose id is kept for their return. */
const MOST_REMEMBERED = 1 << 16

export class InodeTable {
  readonly root: Inode
  /** Removed files that are open and whose objects have been put aside, and some that were. */
  readonly aside = new Set<Inode>()
  readonly #settings: Settings
  readonly #unreachable: (content: Content) => void
  readonly #inodes = new Map<number, Inode>()
  /** The time of what has no time of its own: it must not change from one look to the next. */
  readonly #started: Time = timeOf(Date.now())
  /** What inodes had that the guest has forgotten, by `placeOf`, the latest last. */
  readonly #remembered = new Map<string, InodeAttr>()
  #lastId: number = ROOT_NODE
  /** Told of what the guest knows, if that is to survive. */
  record: SessionRecord | undefined

  /** @param unreachable told of bytes that nobody can ask for any more */
  constructor(settings: Settings, unreachable: (content: Content) => void) {
    this.#settings = settings
    this.#unreachable = unreachable
    this.root = this.#make(ROOT_NODE, undefined, '', true)
    // Without a sidecar, nobody knows better.
    this.root.attrUntil = settings.attrs === 'none' ? FOREVER : 0
    this.root.entryUntil = FOREVER
    this.root.directory!.marked = true
  }

  get count(): number {
    return this.#inodes.size
  }

  get isFull(): boolean {
    return this.#inodes.size >= this.#settings.maxInodes
  }

  /** @throws ENFILE if the guest knows too many already: it decides by itself what to forget */
  requireRoom(): void {
    if (this.isFull) throw new FsError('ENFILE', `${this.#inodes.size} inodes are known to the guest`)
  }

  /** @throws ESTALE if the guest cannot know the id */
  get(nodeid: NodeId): Inode {
    const inode = this.#inodes.get(nodeid)
    if (inode === undefined) throw new FsError('ESTALE', `no inode ${nodeid}`)
    return inode
  }

  /** @throws ENOTDIR */
  directory(nodeid: NodeId): Inode {
    const inode = this.get(nodeid)
    if (inode.directory === undefined) throw new FsError('ENOTDIR')
    return inode
  }

  reserveId(): number {
    return ++this.#lastId
  }

  /** The id of what is there already: the one that the guest knew it by, if that is remembered. */
  idFor(parent: Inode, name: string): number {
    return this.#remembered.get(placeOf(parent, name))?.ino ?? this.reserveId()
  }

  get lastId(): number {
    return this.#lastId
  }

  /** Ids up to `id` belong to a session that began elsewhere. */
  continueAfter(id: number): void {
    this.#lastId = Math.max(this.#lastId, id)
  }

  /** An inode that the guest holds and whose name is gone: it has nothing but its id. */
  addLost(id: NodeId, name: string, isDirectory: boolean): Inode {
    const inode = this.#make(id, undefined, name, isDirectory)
    inode.attr.nlink = 0
    inode.attrUntil = FOREVER
    inode.lost = true
    return inode
  }

  /** A new inode under `name`, which must be free. */
  add(parent: Inode, name: string, isDirectory: boolean, id = this.reserveId()): Inode {
    const inode = this.#make(id as NodeId, parent, name, isDirectory)
    parent.directory!.children.set(name, inode)
    const place = placeOf(parent, name)
    const earlier = this.#remembered.get(place)
    this.#remembered.delete(place)
    // Not every service has times of directories.
    if (isDirectory && earlier?.ino === id) {
      inode.setTimesOf(earlier)
      inode.directory!.changedHere = true
      inode.directory!.hasTime = true
    }
    return inode
  }

  /**
   * Hangs an inode elsewhere. The place must be free.
   * @param segment the name's segment in keys, if a new object of that name would have another one
   */
  move(inode: Inode, parent: Inode, name: string, segment?: string): void {
    this.#unlink(inode)
    inode.parent = parent
    inode.name = name
    inode.segment = segment
    parent.directory!.children.set(name, inode)
    this.record?.named(inode)
  }

  /** Takes an inode out of the tree: its name is gone. It can still be used by its id. */
  remove(inode: Inode): void {
    this.#unlink(inode)
    inode.attr.nlink = 0
    inode.attrUntil = FOREVER
    if (inode.file?.detachedKey !== undefined) this.aside.add(inode)
    this.record?.named(inode)
    this.drop(inode)
  }

  /** The guest is told of the inode. */
  tell(inode: Inode): void {
    inode.lookups++
    this.record?.counted(inode)
  }

  forget(nodeid: NodeId, nlookup: number): void {
    const inode = this.#inodes.get(nodeid)
    if (inode === undefined) return
    inode.lookups = Math.max(0, inode.lookups - nlookup)
    this.record?.counted(inode)
    this.drop(inode)
  }

  /** What `task` changes without waiting is there for another process all together, or not at all. */
  together<T>(task: () => T): T {
    return this.record === undefined ? task() : this.record.together(task)
  }

  /** Does `task`, which needs inodes to stay in their places, also if the guest forgets them meanwhile. */
  async holding<T>(inodes: readonly Inode[], task: () => Promise<T>): Promise<T> {
    for (const inode of inodes) inode.changing++
    try {
      return await task()
    } finally {
      for (const inode of inodes) {
        inode.changing--
        this.drop(inode)
      }
    }
  }

  /** Lets go of an inode, and then of its ancestors, if nothing needs them. */
  drop(inode: Inode): void {
    for (let next: Inode | undefined = inode; next !== undefined && isNeedless(next); ) {
      const { parent }: Inode = next
      if (parent !== undefined) this.#remember(next, parent)
      this.#unlink(next)
      this.#inodes.delete(next.nodeid)
      this.aside.delete(next)
      if (next.file?.content !== undefined) this.#unreachable(next.file.content)
      next = parent
    }
  }

  /** A new session: the guest knows nothing any more. What is unpublished stays. */
  forgetAll(): void {
    for (const inode of [...this.#inodes.values()]) {
      inode.lookups = 0
      inode.opens = 0
    }
    for (const inode of [...this.#inodes.values()]) this.drop(inode)
  }

  values(): IterableIterator<Inode> {
    return this.#inodes.values()
  }

  #make(id: NodeId, parent: Inode | undefined, name: string, isDirectory: boolean): Inode {
    const { uid, gid, dirMode, fileMode } = this.#settings
    const inode = new Inode(id, parent, name, {
      ino: id,
      size: 0,
      blocks: 0,
      atime: 0,
      mtime: 0,
      ctime: 0,
      atimensec: 0,
      mtimensec: 0,
      ctimensec: 0,
      mode: isDirectory ? S_IFDIR | dirMode : S_IFREG | fileMode,
      // One, for directories too: programs read it as "not counted".
      nlink: 1,
      uid,
      gid,
      rdev: 0,
      blksize: BLKSIZE,
      flags: 0,
    })
    inode.setTime(this.#started)
    this.#inodes.set(id, inode)
    return inode
  }

  #remember({ attr, name }: Inode, parent: Inode): void {
    this.#remembered.set(placeOf(parent, name), attr)
    if (this.#remembered.size <= MOST_REMEMBERED) return
    for (const oldest of this.#remembered.keys()) {
      this.#remembered.delete(oldest)
      return
    }
  }

  #unlink(inode: Inode): void {
    const { parent, name } = inode
    if (parent === undefined) return
    const { children } = parent.directory!
    if (children.get(name) === inode) children.delete(name)
    inode.parent = undefined
  }
}

function placeOf(parent: Inode, name: string): string {
  return `${parent.nodeid}/${name}`
}

function isNeedless(inode: Inode): boolean {
  return (
    inode.lookups === 0 &&
    inode.opens === 0 &&
    inode.changing === 0 &&
    inode.nodeid !== ROOT_NODE &&
    inode.file?.dirty === undefined &&
    (inode.directory === undefined ||
      (inode.directory.children.size === 0 && inode.directory.sidecar?.dirty !== true))
  )
}
