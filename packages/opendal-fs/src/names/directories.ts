// Reading directories. A reader walks through a listing that stays as it was when the reader started, save for names that are
// added or removed here. Cookies: 1 follows `.`, 2 follows `..`, n + 3 follows the listing's nth entry.

import {
  type Awaitable,
  type DirentPlusSink,
  type DirentSink,
  type FileHandle,
  FsError,
  type OpenReply,
} from '@ovfs/fuse-proto'
import type { Handles, OpenDirectory } from '../files/handles.ts'
import type { Settings } from '../options.ts'
import type { SessionRecord } from '../session/session-record.ts'
import type { ObjectInfo } from '../storage/storage.ts'
import { FOREVER, type Inode } from './inode.ts'
import { Listing, type ListingEntry } from './listing.ts'
import { forEachConcurrently } from './locks.ts'
import type { Tree } from './tree.ts'

const DT_UNKNOWN = 0
const DT_DIR = 4
const DT_REG = 8
const COOKIES_BEFORE_ENTRIES = 2
/** Names whose attributes are asked for together, where a listing does not bring them. */
const STAT_BATCH = 32
/** Entries in the listings of all open directories; more are refused. */
const MOST_ENTRIES = 8_000_000

export class Directories {
  readonly #tree: Tree
  readonly #handles: Handles
  readonly #settings: Settings
  readonly #held = new Map<Listing, number>()
  /** Told how far readers are, if they are to go on in another process. */
  readonly #record: SessionRecord | undefined

  constructor(tree: Tree, handles: Handles, settings: Settings, record: SessionRecord | undefined) {
    this.#tree = tree
    this.#handles = handles
    this.#settings = settings
    this.#record = record
  }

  open(inode: Inode, request?: number): OpenReply {
    return { fh: this.#handles.addDirectory({ inode, listing: undefined, request }), openFlags: 0 }
  }

  close(fh: FileHandle): void {
    if (this.#handles.wasClosed(fh)) return
    const directory = this.#handles.closeDirectory(fh)
    this.#let(directory)
    this.#tree.table.drop(directory.inode)
  }

  closeAll(): void {
    for (const listing of this.#held.keys()) this.#record?.letGo(listing)
    this.#held.clear()
  }

  read(fh: FileHandle, cookie: number, out: DirentSink): Awaitable<void> {
    const handle = this.#handles.directory(fh)
    const listing = this.#listing(handle, cookie)
    if (listing instanceof Promise) return listing.then(ready => this.#emit(handle, ready, cookie, out))
    this.#emit(handle, listing, cookie, out)
  }

  async readPlus(fh: FileHandle, cookie: number, out: DirentPlusSink): Promise<void> {
    const handle = this.#handles.directory(fh)
    const { inode } = handle
    const listing = await this.#listing(handle, cookie)
    let at = this.#emitDots(inode, cookie, out)
    if (at === undefined) return
    const isPart = at < listing.entries.length && cookie > 0
    while (at < listing.entries.length) {
      const { changes } = inode.directory!
      const infos = await this.#learn(inode, listing, at)
      // What was learned before a change of names is not news any more.
      if (inode.directory!.changes !== changes) infos.clear()
      const end = Math.min(at + STAT_BATCH, listing.entries.length)
      for (; at < end; at++) {
        const entry = listing.entries[at]!
        const next = at + COOKIES_BEFORE_ENTRIES + 1
        if (!entry.removed && !this.#emitPlus(inode, entry, infos.get(entry), next, out)) {
          this.#record?.reads(handle, false)
          return
        }
      }
    }
    this.#record?.reads(handle, !isPart)
  }

  #listing(handle: OpenDirectory, cookie: number): Awaitable<Listing> {
    if (cookie !== 0 && handle.listing !== undefined) return handle.listing
    if (cookie !== 0 && handle.begun !== undefined) return this.#goOn(handle, handle.begun)
    const { inode } = handle
    const directory = inode.directory!
    let { listing } = directory
    if (listing === undefined || listing.until <= this.#tree.clock.now()) listing = this.#load(inode)
    const shown = listing
    if (shown.loading === undefined) {
      this.#hold(handle, shown)
      return shown
    }
    return shown.loading.then(() => {
      this.#hold(handle, shown)
      return shown
    })
  }

  /** What an earlier process has begun to give out keeps its places; what has come since follows. */
  async #goOn(handle: OpenDirectory, begun: readonly string[]): Promise<Listing> {
    const { directory } = handle.inode
    const fresh = this.#load(handle.inode)
    await fresh.loading
    if (handle.listing !== undefined) return handle.listing
    const listing = Listing.continued(begun, fresh)
    if (directory!.listing === fresh) directory!.listing = listing
    this.#hold(handle, listing)
    handle.begun = undefined
    return listing
  }

  #load(inode: Inode): Listing {
    const { storage, names, clock, attributes } = this.#tree
    const directory = inode.directory!
    if (directory.listing?.loading !== undefined) return directory.listing
    const listing = new Listing()
    const load = async (): Promise<void> => {
      if (!inode.removed) {
        const objects = await storage.list(this.#tree.key(inode))
        await attributes.freshFrom(inode, objects)
        // Where there is an object too, that is what is found.
        objects.push(...attributes.specials(inode))
        listing.load(objects, names)
      }
      for (const child of directory.children.values()) {
        // Not published yet: only we know of it.
        if (child.attrUntil === FOREVER && listing.get(child.name) === undefined)
          listing.add(child.name, 'file')
      }
      // If it was dropped meanwhile, it is from before a change.
      listing.until = directory.listing === listing ? clock.now() + this.#settings.entryTtlMs : 0
    }
    directory.listing = listing
    listing.loading = load().then(
      () => {
        listing.loading = undefined
      },
      error => {
        if (directory.listing === listing) directory.listing = undefined
        throw error
      },
    )
    return listing
  }

  #hold(handle: OpenDirectory, listing: Listing): void {
    if (handle.listing === listing) return
    this.#let(handle)
    let entries = 0
    for (const held of this.#held.keys()) entries += held.entries.length
    if (!this.#held.has(listing) && entries > 0 && entries + listing.entries.length > MOST_ENTRIES) {
      throw new FsError('ENOMEM', 'the listings of the open directories are too long together')
    }
    handle.listing = listing
    handle.begun = undefined
    this.#held.set(listing, (this.#held.get(listing) ?? 0) + 1)
  }

  #let(handle: OpenDirectory): void {
    const { listing } = handle
    if (listing === undefined) return
    handle.listing = undefined
    const readers = (this.#held.get(listing) ?? 1) - 1
    if (readers === 0) {
      this.#held.delete(listing)
      this.#record?.letGo(listing)
    } else this.#held.set(listing, readers)
  }

  #emit(handle: OpenDirectory, listing: Listing, cookie: number, out: DirentSink): void {
    const { inode } = handle
    let at = this.#emitDots(inode, cookie, out)
    if (at === undefined) return
    // Who is shown the rest may ask for that again, if the answer is lost with this process; for all he would start over.
    const isPart = at < listing.entries.length && cookie > 0
    for (; at < listing.entries.length; at++) {
      const entry = listing.entries[at]!
      if (!entry.removed && !this.#emitName(inode, entry, at + COOKIES_BEFORE_ENTRIES + 1, out)) {
        this.#record?.reads(handle, false)
        return
      }
    }
    this.#record?.reads(handle, !isPart)
  }

  /** Returns the place of the listing to go on with; undefined if there is no room even for the dots. */
  #emitDots(inode: Inode, cookie: number, out: DirentSink): number | undefined {
    if (cookie < 1 && !out.add('.', inode.nodeid, DT_DIR, 1)) return undefined
    if (cookie < 2 && !out.add('..', (inode.parent ?? inode).nodeid, DT_DIR, 2)) return undefined
    return Math.max(0, cookie - COOKIES_BEFORE_ENTRIES)
  }

  #emitName(inode: Inode, entry: ListingEntry, next: number, out: DirentSink): boolean {
    const child = inode.directory!.children.get(entry.name)
    if (child !== undefined) return out.add(entry.name, child.nodeid, child.attr.mode >> 12, next)
    // The number that the inode will have once the guest looks the name up.
    if (entry.ino === 0) entry.ino = this.#tree.table.idFor(inode, entry.name)
    // User metadata may make a link of a file.
    const isOpen = this.#settings.userMetadata && entry.kind === 'file' && entry.info === undefined
    const type = isOpen ? DT_UNKNOWN : typeOf(entry)
    return out.add(entry.name, entry.ino, type, next)
  }

  #emitPlus(
    inode: Inode,
    entry: ListingEntry,
    info: ObjectInfo | undefined,
    next: number,
    out: DirentPlusSink,
  ): boolean {
    const { clock, table } = this.#tree
    const now = clock.now()
    let child = inode.directory!.children.get(entry.name)
    // With no room for another inode, the guest gets the bare name.
    if (!isFresh(child, now) && info !== undefined && (child !== undefined || !table.isFull))
      child = this.#tree.bind(inode, entry.name, info, entry.ino)
    if (child === undefined || !isFresh(child, now)) return this.#emitName(inode, entry, next, out)
    if (out.addEntry(entry.name, this.#tree.stamp(child, now), next)) {
      table.tell(child)
      return true
    }
    table.drop(child)
    return false
  }

  /** The attributes of the next entries that memory lacks: from the listing if it has them, else from the storage. */
  async #learn(inode: Inode, listing: Listing, from: number): Promise<Map<ListingEntry, ObjectInfo>> {
    const now = this.#tree.clock.now()
    const { children } = inode.directory!
    const infos = new Map<ListingEntry, ObjectInfo>()
    const unknown: ListingEntry[] = []
    for (const entry of listing.entries.slice(from, from + STAT_BATCH)) {
      if (entry.removed || isFresh(children.get(entry.name), now)) continue
      if (entry.info !== undefined && listing.until > now) infos.set(entry, entry.info)
      else unknown.push(entry)
    }
    await forEachConcurrently(unknown, STAT_BATCH, async entry => {
      // An entry without attributes is better than no listing: the guest asks again by name and gets the error there.
      const info = await this.#tree.ask(inode, entry.name).catch(() => undefined)
      if (info === undefined) return
      infos.set(entry, info)
      // The guest's buffer may be full before this entry: the next call needs it.
      entry.info = info
    })
    return infos
  }
}

/** DT_*; unknown if only a lookup can tell. */
function typeOf({ kind, info }: ListingEntry): number {
  if (kind === 'directory') return DT_DIR
  return kind === 'file' && info?.kind !== 'special' ? DT_REG : (info?.mode ?? 0) >> 12
}

function isFresh(inode: Inode | undefined, now: number): boolean {
  return inode !== undefined && inode.attrUntil > now && inode.entryUntil > now
}
