// A killed process's session goes on here. First the tree, the handles and the unpublished changes are put in place from the log
// alone; then the journal is replayed, and may find that names have moved; then the storage is asked about what is open or
// unpublished. Everything else is as if its time to live were over, and is asked for when it is needed.

import { type ErrnoName, type FileHandle, FsError, type NodeId, ROOT_NODE } from '@ovfs/fuse-proto'
import { fromPlain } from '../attributes/attribute-entry.ts'
import type { Sidecar, SidecarChange } from '../attributes/sidecar.ts'
import { compareTimes, type Time } from '../attributes/time.ts'
import { Gathered } from '../files/gathered.ts'
import type { Handles, OpenFile } from '../files/handles.ts'
import { ReadAhead } from '../files/read-ahead.ts'
import { STALE } from '../files/shown-version.ts'
import type { EntryChange } from '../journal/attribute-notes.ts'
import type { MoveEntry } from '../journal/journal-entries.ts'
import { type KeptPlace, keptPlacesOf } from '../journal/moved-notes.ts'
import { FOREVER, type Inode, S_IFDIR, S_IFMT } from '../names/inode.ts'
import { Listing } from '../names/listing.ts'
import { forEachConcurrently } from '../names/locks.ts'
import type { Tree } from '../names/tree.ts'
import type { ObjectInfo } from '../storage/storage.ts'
import { mayBeVersion } from '../storage/version.ts'
import type { Publisher } from '../writes/publication.ts'
import type { KeptPages } from '../writes/staging-pages.ts'
import type { CountedNode, DirtyLog, LoggedSession } from './logged-session.ts'

/** Questions to the storage at once. */
const QUESTIONS = 32
const STEP = 1 << 20
/** Ids that were only shown in listings are in no log: new ones begin well above. */
const SHOWN_IDS = 2 ** 20

/** Where the tree has what is kept of a name. */
interface Place {
  readonly directory: Inode
  /** Undefined if nothing was asked of it yet. */
  readonly sidecar: Sidecar | undefined
  readonly segment: string
}

export class SessionResume {
  readonly #session: LoggedSession
  readonly #tree: Tree
  readonly #handles: Handles
  readonly #publisher: Publisher
  readonly #save: () => void
  readonly #inodes = new Map<number, Inode>()
  /** Keys under which the journal has published something of ours. */
  readonly #replayed = new Set<string>()

  /** @param save writes down what is in place by now */
  constructor(session: LoggedSession, tree: Tree, handles: Handles, publisher: Publisher, save: () => void) {
    this.#save = save
    this.#session = session
    this.#tree = tree
    this.#handles = handles
    this.#publisher = publisher
  }

  // From the log

  async build(pages: KeptPages): Promise<void> {
    const { nodes, attributes, lastId, lastHandle } = this.#session
    const { table } = this.#tree
    this.#inodes.set(ROOT_NODE, table.root)
    table.continueAfter(lastId + SHOWN_IDS)
    for (const id of this.#needed()) if (id !== ROOT_NODE) this.#node(nodes.get(id)!)
    this.#openHandles()
    this.#shown()
    this.#handles.continueAfter(lastHandle)
    for (const [id, changes] of attributes) {
      const directory = this.#inodes.get(id)
      if (directory === undefined || directory.removed) continue
      for (const { segment, entry, at, over, urgent } of changes.values()) {
        const change = {
          entry: entry ? fromPlain(entry) : undefined,
          at,
          over: over ? fromPlain(over) : undefined,
        }
        this.#tree.attributes.resume(directory, segment, change, urgent)
      }
    }
    await this.#unpublished(pages)
  }

  /** What the guest knows, what is open or unpublished, and the way to it. */
  #needed(): Set<number> {
    const { nodes, files, directories, dirty, attributes } = this.#session
    const needed = new Set<number>()
    const need = (id: number) => {
      const node = nodes.get(id)
      if (node === undefined || needed.has(id)) return
      if (node.parent !== 0) need(node.parent)
      needed.add(id)
    }
    for (const { id, lookups } of nodes.values()) if (lookups > 0) need(id)
    for (const { node } of [...files.values(), ...directories.values()]) need(node)
    for (const id of [...dirty.keys(), ...attributes.keys()]) need(id)
    return needed
  }

  #node({ id, parent, name, mode, segment, target, lost, aside, marked, lookups }: CountedNode): void {
    const { table } = this.#tree
    const isDirectory = (mode & S_IFMT) === S_IFDIR
    const above = this.#inodes.get(parent)
    const hasPlace = above?.directory !== undefined && !above.directory.children.has(name)
    const inode = hasPlace
      ? table.add(above, name, isDirectory, id)
      : table.addLost(id as NodeId, name, isDirectory)
    // Without a name it is removed, and only without an object lost.
    inode.lost = lost === true || (!hasPlace && parent !== 0)
    inode.attr.mode = mode
    inode.segment = segment
    inode.target = target
    inode.lookups = lookups
    if (inode.file !== undefined) inode.file.detachedKey = aside
    if (inode.directory !== undefined) inode.directory.marked = marked === true
    this.#inodes.set(id, inode)
  }

  #openHandles(): void {
    const { files, directories, listings, failures } = this.#session
    for (const { fh, node, writable, stale, request } of files.values()) {
      const inode = this.#inodes.get(node)
      if (inode?.file === undefined) continue
      const file: OpenFile = {
        inode,
        writable,
        readAhead: new ReadAhead(this.#tree.cache),
        opened: stale ? STALE : 0,
        request,
      }
      const failure = failures.get(fh)
      if (failure !== undefined) file.failure = new FsError(failure[0] as ErrnoName, failure[1])
      this.#handles.restoreFile(fh as FileHandle, file)
    }
    for (const { fh, node, listing, request } of directories.values()) {
      const inode = this.#inodes.get(node)
      if (inode?.directory === undefined) continue
      // Who was shown everything is shown nothing more, unless he starts over.
      const done = listing === 'done' ? { listing: new Listing(), logged: listing } : { listing: undefined }
      const begun = typeof listing === 'number' ? listings.get(listing) : undefined
      this.#handles.restoreDirectory(fh as FileHandle, { inode, ...done, begun, request })
    }
  }

  /** Restores the versions of which the guest has bytes. They are compared with the storage later. */
  #shown(): void {
    const { shown, dirty } = this.#session
    for (const { file, opens, nodeid } of this.#inodes.values()) {
      if (file === undefined || opens === 0) continue
      const version = shown.get(nodeid)
      file.shown.isShown = version !== undefined || dirty.has(nodeid)
      if (version !== undefined && file.detachedKey === undefined) file.info = { kind: 'file', ...version }
    }
  }

  async #unpublished(pages: KeptPages): Promise<void> {
    const { dirty } = this.#session
    const kept = [...dirty].filter(([id]) => this.#inodes.get(id)?.file !== undefined)
    const all = pages.reopen(kept.flatMap(([, log]) => [...log.pages.values()]))
    for (const [id, log] of kept) {
      const inode = this.#inodes.get(id)!
      const file = inode.file!
      const state = log.whole
      const { nlink } = inode.attr
      Object.assign(inode.attr, state.attr, { nlink })
      const xattrs = state.xattrs?.map(
        ([name, value]) => [name, new Uint8Array(Buffer.from(value, 'base64'))] as const,
      )
      inode.setXattrs(xattrs && new Map(xattrs))
      file.info = state.info
      file.exists = state.exists
      file.replaced = state.replaced
      const own = new Map(state.pages.map(([index, place]) => [index, all.get(place)!]))
      await this.#publisher.resume(inode, state, own)
    }
  }

  // While the journal is replayed: what it finds is written down here before it is crossed out there.

  /** An object whose removed file is still open. */
  isHeld(aside: string): boolean {
    for (const { opens, file } of this.#inodes.values())
      if (opens > 0 && file?.detachedKey === aside) return true
    return false
  }

  isAt(node: number, key: string): boolean {
    const inode = this.#inodes.get(node)
    return inode !== undefined && !inode.removed && this.#tree.key(inode) === key
  }

  isRemoved(node: number): boolean {
    return this.#inodes.get(node)?.removed === true
  }

  isOpen(node: number): boolean {
    return (this.#inodes.get(node)?.opens ?? 0) > 0
  }

  /** True also of one with nothing unpublished, of which the storage has not been asked yet. */
  needsObject(node: number): boolean {
    const inode = this.#inodes.get(node)
    if (inode?.file === undefined || inode.opens === 0) return false
    const { dirty, info } = inode.file
    return dirty === undefined || (info !== undefined && dirty.state.base !== undefined)
  }

  removed(node: number, key: string, aside: string | undefined): void {
    if (!this.isAt(node, key)) return
    const inode = this.#inodes.get(node)!
    if (inode.file !== undefined) inode.file.detachedKey = aside
    const { parent, name } = inode
    const segment = this.#tree.entrySegment(inode)
    this.#lose(inode)
    if (parent !== undefined) this.#tree.nameRemoved(parent, name, segment)
    this.#save()
  }

  /** What is kept under its name is not touched: it may be of what takes the name now. */
  #lose(inode: Inode): void {
    if (inode.file !== undefined && inode.opens === 0) this.#publisher.discard(inode)
    this.#tree.table.remove(inode)
  }

  moved(entry: MoveEntry, replaces: ObjectInfo | undefined): void {
    const { node, to } = entry
    const inode = this.#inodes.get(node)
    if (!this.isAt(node, to)) {
      const { old, present } = keptPlacesOf(entry)
      const from = old && this.#placeOf(old)
      const latest = from?.sidecar?.changes.get(from.segment)
      this.#move(this.isAt(node, entry.from) ? inode : undefined, to)
      // What was noted is of before the move, and of what was there before.
      if (from?.sidecar?.changes.get(from.segment)?.entry !== undefined) from.sidecar.withdraw(from.segment)
      this.#leaveAttributes(this.#placeOf(present), latest, entry.attributes?.[0]?.at)
    }
    // It may have been noted before what lies under its new name was.
    if (inode?.file?.dirty !== undefined && inode.file.info === undefined) {
      inode.file.exists = replaces !== undefined
      inode.file.replaced = replaces
    }
    this.#save()
  }

  /**
   * What is kept of what was moved the journal says.
   * @param latest what was noted last at its old place: newer if it was changed while it was being moved
   */
  #leaveAttributes(
    place: Place | undefined,
    latest: SidecarChange | undefined,
    moved: Time | undefined,
  ): void {
    place?.sidecar?.withdraw(place.segment)
    if (place === undefined || latest?.entry === undefined || compareTimes(latest.at, moved) < 0) return
    this.#tree.attributes.resume(
      place.directory,
      place.segment,
      { ...latest, over: undefined },
      latest.urgent,
    )
  }

  #placeOf({ directory, segment }: KeptPlace): Place | undefined {
    const inode = this.#directoryAt(directory)
    return inode && { directory: inode, sidecar: inode.directory?.sidecar, segment }
  }

  /** @param inode undefined if the guest has forgotten it */
  #move(inode: Inode | undefined, to: string): void {
    const cut = to.replace(/\/$/, '').lastIndexOf('/') + 1
    const parent = cut === 0 ? this.#tree.table.root : this.#at(to.slice(0, cut))
    const segment = to.slice(cut).replace(/\/$/, '')
    const name = this.#tree.names.toName(segment)
    if (parent?.directory === undefined || name === undefined) return
    const there = parent.directory.children.get(name)
    if (there !== undefined) this.#lose(there)
    parent.directory.absent.delete(name)
    if (inode === undefined) return
    const { parent: old, name: oldName } = inode
    const former = this.#tree.entrySegment(inode)
    this.#tree.table.move(inode, parent, name, this.#tree.ownSegment(name, segment))
    forgetVersions(inode)
    if (old !== undefined) this.#tree.nameRemoved(old, oldName, former)
    this.#tree.nameAdded(inode)
    // Another client may have stored an object there since.
    if (old !== undefined) this.#tree.forgetAbsence(old, oldName)
  }

  published(key: string, size: number): void {
    this.#replayed.add(key)
    const inode = this.#at(key)
    if (inode !== undefined) this.#tree.table.record?.published(inode, size)
    this.#save()
  }

  change(directory: string, segment: string): EntryChange | undefined {
    return this.#directoryAt(directory)?.directory?.sidecar?.changes.get(segment)
  }

  #directoryAt(key: string): Inode | undefined {
    const inode = key === '' ? this.#tree.table.root : this.#at(key)
    return inode?.directory === undefined ? undefined : inode
  }

  #at(key: string): Inode | undefined {
    let inode: Inode | undefined = this.#tree.table.root
    for (const segment of key.split('/').filter(part => part !== '')) {
      const name = this.#tree.names.toName(segment)
      inode = name === undefined ? undefined : inode?.directory?.children.get(name)
    }
    return inode === this.#tree.table.root ? undefined : inode
  }

  // By the storage

  /** Rejects if the storage cannot tell: nothing is lost by another attempt. */
  async settle(): Promise<void> {
    const inodes = [...this.#inodes.values()]
    await forEachConcurrently(inodes, QUESTIONS, async inode => {
      if (inode.file === undefined) return
      if (inode.file.dirty !== undefined)
        await this.#settleDirty(inode, this.#session.dirty.get(inode.nodeid)!)
      else if (inode.opens > 0) await this.#settleClean(inode)
    })
    for (const inode of inodes.reverse()) this.#tree.table.drop(inode)
  }

  async #settleClean(inode: Inode): Promise<void> {
    const { parent, name, file } = inode
    if (file!.detachedKey !== undefined) {
      const info = await this.#tree.storage.stat(file!.detachedKey)
      if (info === undefined) inode.lost = true
      else {
        this.#tree.apply(inode, info)
        inode.attrUntil = FOREVER
      }
    } else if (parent !== undefined) {
      this.#tree.bind(parent, name, await this.#tree.ask(parent, name))
    }
  }

  /** The storage may have what the process was about to publish. */
  async #settleDirty(inode: Inode, log: DirtyLog): Promise<void> {
    const file = inode.file!
    if (inode.removed) return
    const expected = file.info ?? file.replaced
    const found = await this.#tree.storage.stat(this.#tree.key(inode), expected === undefined)
    if (found?.kind !== 'file' || mayBeVersion(expected, found)) return
    if (!(await this.#isOurs(inode, log, found.size))) return
    // What shows of the version under the changes shows in this one too, at the same place.
    const { size } = file.dirty!
    file.info = found
    file.exists = true
    file.replaced = undefined
    this.#tree.dropContent(inode)
    file.dirty!.restand(this.#tree.content(inode))
    inode.setSize(size)
  }

  async #isOurs(inode: Inode, { publishing }: DirtyLog, size: number): Promise<boolean> {
    const key = this.#tree.key(inode)
    if (this.#replayed.has(key)) return true
    if (publishing?.size !== size) return false
    for (const [start, end] of publishing.intact) {
      for (let at = start; at < end; at += STEP) {
        const mine = new Gathered(Math.min(STEP, end - at))
        await inode.file!.dirty!.read(at, at + mine.room, mine)
        const theirs = await this.#tree.storage.read(key, at, mine.data.byteLength)
        if (Buffer.compare(mine.data, theirs) !== 0) return false
      }
    }
    return true
  }

  /** Files that nobody has open will be closed by nobody. */
  *abandoned(): Generator<Inode> {
    for (const inode of this.#inodes.values())
      if (inode.file?.dirty !== undefined && inode.opens === 0 && !inode.removed) yield inode
  }
}

/** A move may have given the same bytes another version. */
function forgetVersions(inode: Inode): void {
  const { file } = inode
  if (file !== undefined) {
    // Unpublished changes apply to these bytes, which are unchanged. Only the size of their version is certain.
    file.info = file.dirty === undefined ? undefined : sizeOnly(file.info)
    file.replaced = sizeOnly(file.replaced)
    if (file.content !== undefined) file.content.etag = undefined
  }
  for (const child of inode.directory?.children.values() ?? []) forgetVersions(child)
}

function sizeOnly(info: ObjectInfo | undefined): ObjectInfo | undefined {
  return info && { ...info, mtime: undefined, etag: undefined }
}
