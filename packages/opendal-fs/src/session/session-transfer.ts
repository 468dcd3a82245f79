// A guest moves from one file system to another over the same storage: here what it holds is collected, and there it is put in
// place again, with the storage asked what each name stands for by now.

import { type FileHandle, type NodeId, ROOT_NODE } from '@ovfs/fuse-proto'
import type { Handles } from '../files/handles.ts'
import { ReadAhead } from '../files/read-ahead.ts'
import { STALE } from '../files/shown-version.ts'
import type { FileState, Inode } from '../names/inode.ts'
import { forEachConcurrently } from '../names/locks.ts'
import type { Tree } from '../names/tree.ts'
import { compareVersions } from '../storage/version.ts'
import type { Publisher } from '../writes/publication.ts'
import { restoreRemovedFile, saveRemovedFiles } from './removed-files.ts'
import { decodeState, encodeState, type SavedNode, type SavedShown, savedNodes } from './session-state.ts'

/** Names that the storage is asked about at once. */
const QUESTIONS = 32

export class SessionTransfer {
  readonly #tree: Tree
  readonly #handles: Handles
  readonly #publisher: Publisher

  constructor(tree: Tree, handles: Handles, publisher: Publisher) {
    this.#tree = tree
    this.#handles = handles
    this.#publisher = publisher
  }

  /** Publishes what is not published yet, since only the storage is seen from elsewhere. Rejects if it cannot be. */
  async save(): Promise<Uint8Array> {
    await this.#publisher.publishAll()
    await this.#tree.attributes.settleAll()
    const { table } = this.#tree
    const { files, directories, last } = this.#handles.saved()
    return encodeState({
      lastId: table.lastId,
      lastHandle: last,
      nodes: savedNodes(table.values()),
      files,
      directories,
      removed: await saveRemovedFiles(table.values(), this.#tree),
      shown: savedVersions(table.values()),
      stale: this.#handles.stale(),
    })
  }

  /** For a file system of which nothing has been asked yet. Throws TypeError if the bytes make no sense. */
  async restore(bytes: Uint8Array): Promise<void> {
    const { table, cache } = this.#tree
    const { lastId, lastHandle, nodes, files, directories, removed, ...versions } = decodeState(bytes)
    this.#handles.requireRoom(files.length + directories.length)
    table.continueAfter(lastId)
    const inodes = new Map<number, Inode>([[ROOT_NODE, table.root]])
    for (const level of levels(nodes)) {
      await forEachConcurrently(level, QUESTIONS, async node => {
        inodes.set(node[0], await this.#place(node, inodes.get(node[1])))
      })
    }
    for (const file of removed) await restoreRemovedFile(inodes.get(file.id)!, file, this.#publisher)
    const stale = new Set(versions.stale)
    for (const [fh, node, writable] of files) {
      const opened = stale.has(fh) ? STALE : 0
      const file = { inode: inodes.get(node)!, writable, readAhead: new ReadAhead(cache), opened }
      this.#handles.restoreFile(fh as FileHandle, file)
    }
    for (const version of versions.shown ?? []) this.#compare(inodes.get(version[0])?.file, version)
    for (const [fh, node] of directories) {
      this.#handles.restoreDirectory(fh as FileHandle, { inode: inodes.get(node)!, listing: undefined })
    }
    this.#handles.continueAfter(lastHandle)
    // Neither looked up nor open nor on the way to what is.
    for (const inode of [...inodes.values()].reverse()) table.drop(inode)
  }

  /** Another client may have replaced a file on the way. */
  #compare(file: FileState | undefined, [, size, etag, mtime]: SavedShown): void {
    if (file === undefined) return
    file.shown.isShown = true
    const version = { size, etag: etag ?? undefined, mtime: mtime ?? undefined }
    if (file.info !== undefined && compareVersions(file.info, version) === 'different') file.shown.replaced()
  }

  async #place([id, , name, directory, lookups]: SavedNode, parent: Inode | undefined): Promise<Inode> {
    const found =
      parent === undefined || parent.lost ? undefined : await this.#find(parent, name, directory, id)
    const inode = found ?? this.#tree.table.addLost(id as NodeId, name, directory)
    inode.lookups = lookups
    return inode
  }

  /** Undefined if the name stands for nothing any more, or for something else. */
  async #find(parent: Inode, name: string, directory: boolean, id: number): Promise<Inode | undefined> {
    const info = await this.#tree.ask(parent, name)
    if (info === undefined || (info.kind === 'directory') !== directory) return undefined
    const inode = this.#tree.bind(parent, name, info, id)
    return inode?.nodeid === id ? inode : undefined
  }
}

/** The versions of open files of which the guest has bytes. */
function savedVersions(inodes: Iterable<Inode>): SavedShown[] {
  const saved: SavedShown[] = []
  for (const { nodeid, opens, removed, file } of inodes) {
    if (file?.shown.isShown !== true || file.info === undefined || opens === 0 || removed) continue
    const { size, etag, mtime } = file.info
    saved.push([nodeid, size, etag ?? null, mtime ?? null])
  }
  return saved
}

/** The nodes by their distance from the root. */
function levels(nodes: readonly SavedNode[]): SavedNode[][] {
  const depths = new Map<number, number>([
    [0, 0],
    [ROOT_NODE, 0],
  ])
  const found: SavedNode[][] = []
  for (const node of nodes) {
    const depth = depths.get(node[1])!
    depths.set(node[0], depth + 1)
    const level = found[depth]
    if (level === undefined) found[depth] = [node]
    else level.push(node)
  }
  return found
}
