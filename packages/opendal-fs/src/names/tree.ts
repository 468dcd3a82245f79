// Names, attributes and keys: what the guest may be told from memory, and what the storage has to be asked for first. Everything
// here is a cache of the storage, apart from inodes with unpublished changes, where we know better.

import { type EntryOut, FsError } from '@ovfs/fuse-proto'
import { Attributes } from '../attributes/attributes.ts'
import { LONGEST_TARGET, toTarget } from '../attributes/user-metadata.ts'
import type { CoarseClock } from '../coarse-clock.ts'
import { type BlockCache, Content } from '../files/block-cache.ts'
import type { Settings } from '../options.ts'
import type { KeyNames } from '../storage/key-names.ts'
import type { ObjectInfo, Storage } from '../storage/storage.ts'
import { versionLostError } from '../storage/storage-error.ts'
import { compareVersions, isSameVersion, isVersionBlind, strongEtag } from '../storage/version.ts'
import { statDirectory } from './directory-index.ts'
import { FOREVER, type Inode, S_IFLNK, S_IFMT } from './inode.ts'
import type { InodeTable } from './inode-table.ts'
import { type SharedLock, SharedTask } from './locks.ts'
import { statWeb } from './web-directories.ts'

/** Absences remembered per directory. */
const MOST_ABSENT = 4096
/**
 * How long after a direct write the guest may not cache attributes, in milliseconds. Linux keeps pages in its cache that were read
 * during an asynchronous direct write (only local file systems drop them), and drops them when the modification time has changed.
 */
const DIRECT_WRITE_MS = 10_000
/** An answer that a change made here has overtaken is asked for again, so often. */
const ATTEMPTS = 4

export class Tree {
  readonly table: InodeTable
  readonly storage: Storage
  readonly names: KeyNames
  readonly clock: CoarseClock
  readonly cache: BlockCache
  readonly attributes: Attributes
  /** The directory whose objects are being moved; one at a time. Inodes below it have their old keys until the move ends. */
  moving: Inode | undefined
  readonly #settings: Settings
  readonly #absent: EntryOut & { entryValid: number; entryValidNsec: number }

  constructor(
    table: InodeTable,
    storage: Storage,
    names: KeyNames,
    clock: CoarseClock,
    cache: BlockCache,
    settings: Settings,
    lock: SharedLock,
  ) {
    this.table = table
    this.storage = storage
    this.names = names
    this.clock = clock
    this.cache = cache
    this.attributes = new Attributes(this, settings, lock)
    this.#settings = settings
    const { attr } = table.root
    const nothing = Object.fromEntries(Object.keys(attr).map(key => [key, 0])) as unknown as EntryOut['attr']
    this.#absent = {
      nodeid: 0,
      generation: 0,
      entryValid: 0,
      attrValid: 0,
      entryValidNsec: 0,
      attrValidNsec: 0,
      attr: nothing,
    }
  }

  /** True if the service has no directories: only keys with slashes in them, and at most a marker. */
  get hasVirtualDirectories(): boolean {
    return !this.storage.traits.realDirectories
  }

  // Keys

  /** The storage key of a file, or of a directory with its slash; empty for the root. */
  key(inode: Inode): string {
    if (inode.file?.detachedKey !== undefined) return inode.file.detachedKey
    if (inode.parent === undefined) {
      if (inode === this.table.root) return ''
      throw new FsError('ESTALE', `inode ${inode.nodeid} has been removed`)
    }
    const segment = this.segment(inode)
    return inode.directory === undefined
      ? this.key(inode.parent) + segment
      : `${this.key(inode.parent)}${segment}/`
  }

  /** What stands for the inode's name in keys. */
  segment(inode: Inode): string {
    return inode.segment ?? this.names.toSegment(inode.name)
  }

  /** The segment under which the sidecar has the inode's entry. */
  entrySegment(inode: Inode): string {
    return this.isSpelling(inode) ? inode.segment! : this.names.toSegment(inode.name)
  }

  /** The segment to store in an inode: undefined if a new object of that name would have the same segment. */
  ownSegment(name: string, segment: string): string | undefined {
    return segment === this.names.toSegment(name) ? undefined : segment
  }

  /** True if the inode's object is stored in another spelling than a new object of that name would be. */
  isSpelling({ segment, name }: Inode): boolean {
    return segment !== undefined && this.names.toName(segment) === name
  }

  // Answers from memory

  /** The child if its name may be trusted to lead to it. */
  knownChild(parent: Inode, name: string): Inode | undefined {
    const child = parent.directory!.children.get(name)
    return child !== undefined && child.entryUntil > this.clock.now() ? child : undefined
  }

  /** The answer to LOOKUP if memory has it; raises no count. */
  lookupNow(parent: Inode, name: string): Inode | EntryOut | undefined {
    const { children, absent } = parent.directory!
    const child = children.get(name)
    const now = this.clock.now()
    if (child !== undefined) {
      if (child.entryUntil <= now || child.attrUntil <= now) return undefined
      return this.stamp(child, now)
    }
    const until = absent.get(name)
    if (until === undefined || until <= now) return undefined
    return this.absence(until - now)
  }

  /** The reply that tells the guest of an inode; it counts. */
  entry(inode: Inode): Inode {
    this.table.tell(inode)
    return this.stamp(inode, this.clock.now())
  }

  /** Sets for how long the guest may trust the inode: as long as we do ourselves. */
  stamp(inode: Inode, now: number): Inode {
    const attrLeft = inode.attrUntil - now
    let attrTtl = attrLeft < this.#settings.attrTtlMs ? Math.max(0, attrLeft) : this.#settings.attrTtlMs
    const directWrite = inode.file?.directWrite
    if (directWrite !== undefined && now - directWrite < DIRECT_WRITE_MS) attrTtl = 0
    inode.attrValid = Math.floor(attrTtl / 1000)
    inode.attrValidNsec = (attrTtl % 1000) * 1_000_000
    const entryLeft = inode.entryUntil - now
    const entryTtl =
      entryLeft < this.#settings.entryTtlMs ? Math.max(0, entryLeft) : this.#settings.entryTtlMs
    inode.entryValid = Math.floor(entryTtl / 1000)
    inode.entryValidNsec = (entryTtl % 1000) * 1_000_000
    return inode
  }

  /** The reply that a name does not exist. Valid until the next one is made. */
  absence(milliseconds: number): EntryOut {
    const ttl = Math.min(milliseconds, this.#settings.negativeTtlMs)
    // Without a time to live the guest must not cache it, which only the error says.
    if (ttl <= 0) throw new FsError('ENOENT')
    this.#absent.entryValid = Math.floor(ttl / 1000)
    this.#absent.entryValidNsec = (ttl % 1000) * 1_000_000
    return this.#absent
  }

  // Questions to the storage

  /** The child of that name, from memory if that may be trusted, else as the storage has it now. */
  async child(parent: Inode, name: string): Promise<Inode | undefined> {
    for (let attempt = 1; ; attempt++) {
      const known = this.knownChild(parent, name)
      if (known !== undefined) return known
      const directory = parent.directory!
      if (parent.removed || (directory.absent.get(name) ?? 0) > this.clock.now()) return undefined
      const { changes } = directory
      const listed = this.#listed(parent, name)
      const info = listed === undefined ? await this.ask(parent, name) : listed.info
      if (directory.changes === changes || attempt === ATTEMPTS) return this.bind(parent, name, info)
    }
  }

  /** Asks for the attributes again, unless they may be trusted. */
  async refresh(inode: Inode): Promise<void> {
    if (inode.attrUntil > this.clock.now()) return
    await this.revalidate(inode)
  }

  /** Asks the storage for the attributes, whatever is known; does nothing for an inode with unpublished changes. */
  revalidate(inode: Inode): Promise<void> {
    inode.refreshing ??= this.#revalidate(inode).finally(() => {
      inode.refreshing = undefined
    })
    return inode.refreshing
  }

  async #revalidate(inode: Inode): Promise<void> {
    if (inode.attrUntil === FOREVER) return
    for (let attempt = 1; ; attempt++) {
      const { parent, name, epoch } = inode
      if (inode === this.table.root) return this.#revalidateRoot()
      if (parent === undefined) throw new FsError('ESTALE')
      const info = await this.ask(parent, name)
      if (inode.attrUntil === FOREVER) return
      if (inode.epoch !== epoch || inode.parent !== parent || inode.name !== name) {
        if (attempt === ATTEMPTS) return
        continue
      }
      if (this.bind(parent, name, info) !== inode)
        throw new FsError('ESTALE', 'another object has taken its place')
      return
    }
  }

  async #revalidateRoot(): Promise<void> {
    const { root } = this.table
    await this.attributes.fresh(root)
    this.apply(root, { kind: 'directory', size: 0, mtime: undefined, etag: undefined })
  }

  /** Puts what the storage said about a name into the tree. */
  bind(parent: Inode, name: string, info: ObjectInfo | undefined, id?: number): Inode | undefined {
    const directory = parent.directory!
    let child = directory.children.get(name)
    // Not in the storage yet, or changed here: we know better.
    if (child !== undefined && child.attrUntil === FOREVER) return child
    const vanished = info === undefined || (child !== undefined && !isSameType(child, info))
    if (child !== undefined && vanished) {
      // A publication below will create the directory again. An object that is being moved is at its new key already.
      if (child.unpublished || (info === undefined && this.#isMoving(child))) return this.#trust(child)
      this.detach(child)
      child = undefined
    }
    if (info === undefined) {
      this.rememberAbsent(parent, name)
      return undefined
    }
    directory.absent.delete(name)
    if (child === undefined) {
      this.table.requireRoom()
      const reserved = id ?? directory.listing?.get(name)?.ino
      const isDirectory = info.kind === 'directory'
      child = this.table.add(parent, name, isDirectory, reserved || this.table.idFor(parent, name))
      child.segment = info.segment
    }
    // Another client has stored the object again, in another spelling.
    else if (child.segment !== info.segment && (child.segment === undefined || this.isSpelling(child)))
      child.segment = info.segment
    this.apply(child, info)
    return child
  }

  #isMoving(inode: Inode): boolean {
    return this.moving !== undefined && inode.isWithin(this.moving)
  }

  #trust(inode: Inode): Inode {
    const now = this.clock.now()
    inode.attrUntil = now + this.#settings.attrTtlMs
    inode.entryUntil = now + this.#settings.entryTtlMs
    return inode
  }

  /** The storage has this now. */
  apply(inode: Inode, info: ObjectInfo): void {
    this.#trust(inode)
    this.attributes.show(inode, info)
    const { file } = inode
    if (file === undefined) return
    // What has no object has no version either.
    if (info.kind === 'special' && info.target === undefined) return
    if (file.info !== undefined && !isSameVersion(file.info, info)) {
      if (compareVersions(file.info, info) === 'different') this.replacedByOther(inode)
      this.dropContent(inode)
    }
    file.info = info.kind === 'special' ? { ...info, kind: 'file' } : info
    file.exists = true
    if (info.kind === 'file') inode.setSize(info.size)
  }

  /** Another client has replaced the file's version. */
  replacedByOther(inode: Inode): void {
    inode.file!.shown.replaced()
    this.table.record?.replaced(inode)
  }

  /** To be called when the guest gets bytes of the file. */
  shows(inode: Inode): void {
    const { shown } = inode.file!
    if (shown.isShown) return
    shown.isShown = true
    this.table.record?.shown(inode)
  }

  /** A name was made to lead to `inode`, here. */
  nameAdded(inode: Inode): void {
    const directory = inode.parent!.directory!
    directory.changes++
    directory.absent.delete(inode.name)
    directory.listing?.add(inode.name, inode.kind)
    inode.epoch++
    this.#changed(inode.parent!)
  }

  /** A name was taken away, here. */
  nameRemoved(parent: Inode, name: string, segment: string): void {
    const directory = parent.directory!
    this.attributes.removed(parent, segment)
    directory.changes++
    directory.listing?.remove(name)
    this.rememberAbsent(parent, name)
    this.#changed(parent)
  }

  #changed(parent: Inode): void {
    parent.epoch++
    this.attributes.namesChanged(parent)
  }

  rememberAbsent(parent: Inode, name: string): void {
    const { absent } = parent.directory!
    if (this.#settings.negativeTtlMs <= 0) return
    if (absent.size >= MOST_ABSENT) absent.clear()
    absent.set(name, this.clock.now() + this.#settings.negativeTtlMs)
  }

  /** Another client may have created the name: the next lookup asks the storage again. */
  forgetAbsence({ directory }: Inode, name: string): void {
    directory!.absent.delete(name)
    directory!.listing = undefined
  }

  /** The inode has lost its name to somebody else's change. */
  detach(inode: Inode): void {
    for (const child of [...(inode.directory?.children.values() ?? [])]) this.detach(child)
    inode.lost = true
    this.table.remove(inode)
  }

  // Contents

  /** The bytes of the version that the storage has. */
  content(inode: Inode): Content {
    const file = inode.file!
    if (file.content !== undefined) return file.content
    const info = file.info
    if (info === undefined) throw new FsError('ESTALE')
    const look = new SharedTask(() => this.#requireCurrent(inode, content))
    const content = new Content(info.size, info.etag, async ({ etag }, offset, length) => {
      // One request for the whole file returns one version. If the guest has no bytes of it yet, any version is right.
      const isAlone = length === info.size && !file.shown.isShown
      // The key is taken at the time of the fetch: a rename moves the bytes along.
      const bytes = await this.storage.read(this.key(inode), offset, length, etag)
      if (
        isAlone ||
        (strongEtag(etag) !== undefined && (await this.storage.readsOnCondition(this.key(inode))))
      )
        return bytes
      await look.run()
      return bytes
    })
    file.content = content
    return content
  }

  /**
   * Looks whether the object is still the version that bytes were just read of, where the read could carry no condition.
   * @throws StorageError as a read with a condition does
   */
  async #requireCurrent(inode: Inode, content: Content): Promise<void> {
    const { info } = inode.file!
    // No other client knows the hidden object of a removed file, and some services report nothing to compare.
    if (!content.discarded && (inode.removed || info === undefined || isVersionBlind(info))) return
    const key = this.key(inode)
    const found = content.discarded ? undefined : await this.storage.stat(key)
    // If this guest has published a new version meanwhile, the content is discarded.
    const expected = content.discarded ? undefined : inode.file!.info
    if (found === undefined || expected === undefined || compareVersions(expected, found) === 'different')
      throw versionLostError('read', key)
  }

  dropContent(inode: Inode): void {
    const file = inode.file!
    if (file.content === undefined) return
    this.cache.discard(file.content)
    file.content = undefined
  }

  /** What a listing that is still fresh says about a name; undefined if it cannot tell. */
  #listed(parent: Inode, name: string): { info: ObjectInfo | undefined } | undefined {
    const { listing } = parent.directory!
    if (listing === undefined || listing.until <= this.clock.now()) return undefined
    const entry = listing.get(name)
    // An index lacks what others have put there.
    if (entry === undefined) return this.storage.canList ? { info: undefined } : undefined
    return entry.info === undefined ? undefined : { info: entry.info }
  }

  /** What the storage says about a name now. */
  async ask(parent: Inode, name: string): Promise<ObjectInfo | undefined> {
    const shown = await this.#askShown(parent, name)
    if (shown !== undefined) return shown
    const known = parent.directory!.children.get(name)
    const [segment, ...others] = this.names.spellings(name)
    const [found, ...more] = await Promise.all([
      this.#askSpelling(parent, segment!, known),
      ...(this.storage.traits.asksForSpellings ? others : []).map(other =>
        this.#askSpelling(parent, other, known),
      ),
    ])
    if (found !== undefined) return found
    const place = more.findIndex(info => info !== undefined)
    if (place >= 0) return { ...more[place]!, segment: others[place]! }
    return this.storage.traits.asksForSpellings ? undefined : this.#listSpelling(parent, others)
  }

  async #askSpelling(
    parent: Inode,
    segment: string,
    known: Inode | undefined,
  ): Promise<ObjectInfo | undefined> {
    const seen = known !== undefined && this.segment(known) === segment ? known : undefined
    const [info] = await Promise.all([
      this.#stat(this.key(parent) + segment, seen),
      this.attributes.fresh(parent),
    ])
    if (info?.guessed === true && this.#isMistaken(parent, segment))
      return this.attributes.special(parent, segment)
    // A pipe or a device on a local folder: reading one could wait for ever.
    if (info !== undefined) return info.kind === 'other' ? undefined : info
    return this.attributes.special(parent, segment)
  }

  /** Looks for spellings in a listing, because the service may refuse a stat of them. */
  async #listSpelling(parent: Inode, spellings: readonly string[]): Promise<ObjectInfo | undefined> {
    if (spellings.length === 0) return undefined
    const listed = await this.storage.list(this.key(parent))
    for (const spelling of spellings) {
      const special = this.attributes.special(parent, spelling)
      const found = listed.find(({ segment }) => segment === spelling)
      if (found === undefined && special === undefined) continue
      const info = special ?? found!.info ?? { kind: found!.kind, size: 0, mtime: undefined, etag: undefined }
      return { ...info, segment: spelling }
    }
    return undefined
  }

  /**
   * True if the service has reported a directory only because another one has a similar name: the directory is in no index, but one
   * that the service cannot tell from it is, beside it or beside a parent. Otherwise the service has found rows of other programs.
   */
  #isMistaken(parent: Inode, segment: string): boolean {
    const { attributes } = this
    if (!attributes.indexed || attributes.isIndexed(parent, segment)) return false
    let [above, below]: [Inode | undefined, string] = [parent, segment]
    for (; above !== undefined; [above, below] = [above.parent, this.segment(above)])
      if (attributes.hasLookAlike(above, below)) return true
    return false
  }

  /** The same for a name that stands for a segment without a name; undefined if it does not. */
  async #askShown(parent: Inode, name: string): Promise<ObjectInfo | undefined> {
    const { names, storage } = this
    const shown = names.fromShownName(name) ?? parent.directory!.listing?.get(name)?.shown
    if (shown === undefined) return undefined
    const { segment, isTwin } = shown
    const key = this.key(parent) + segment
    if (!names.isReachable(segment)) throw new FsError('EIO', `OpenDAL cannot reach ${JSON.stringify(key)}`)
    await this.attributes.fresh(parent)
    // The object is found under its own name, unless another spelling of that name exists.
    const own = isTwin ? undefined : names.toName(segment)
    if (own !== undefined && (await this.ask(parent, own))?.segment === segment) return undefined
    if (!isTwin) {
      const info = await this.#stat(key)
      return info === undefined || info.kind === 'other' ? undefined : { ...info, segment }
    }
    const [file, directory] = await Promise.all([storage.stat(key), statDirectory(storage, `${key}/`)])
    return file?.kind === 'file' && directory !== undefined ? { ...directory, segment } : undefined
  }

  /** @param known the inode of that name, if this daemon has seen it */
  async #stat(key: string, known?: Inode): Promise<ObjectInfo | undefined> {
    const info = await this.#statObject(key, known)
    if (info?.given?.isLink !== true || info.kind !== 'file') return info
    const target = info.given.target ?? (await this.#readTarget(key, info))
    return target === undefined ? info : { ...info, kind: 'special', mode: S_IFLNK | 0o777, target }
  }

  async #readTarget(key: string, { size, etag }: ObjectInfo): Promise<string | undefined> {
    if (size > LONGEST_TARGET) return undefined
    return toTarget(await this.storage.read(key, 0, size, etag))
  }

  async #statObject(key: string, known: Inode | undefined): Promise<ObjectInfo | undefined> {
    const { storage } = this
    // A special inode has an object only if it is a link whose target is stored in an object.
    const unseen = known?.file?.exists !== true
    if (!this.hasVirtualDirectories) return storage.stat(key, unseen && known === undefined)
    if (storage.traits.assumesDirectories) return statWeb(storage, key)
    // A name may be an object, or only a part of longer keys. Both are asked at once; the object goes first.
    const asDirectory = statDirectory(storage, `${key}/`, known?.directory !== undefined)
    asDirectory.catch(() => undefined)
    const info = await storage.stat(key, unseen)
    return info ?? (await asDirectory)
  }
}

function isSameType(inode: Inode, info: ObjectInfo): boolean {
  if (inode.kind !== info.kind) return false
  return info.kind !== 'special' || ((info.mode! ^ inode.attr.mode) & S_IFMT) === 0
}
