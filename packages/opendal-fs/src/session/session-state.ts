// What a guest holds of this file system, as bytes: node ids with the names that they stand for and how often each was looked
// up, open handles, and files that no name leads to. Another OpendalFs over the same storage goes on from there; what it needs
// besides, the storage has. The reader trusts none of it. JSON, because names with bytes that are not UTF-8 (lone surrogates) survive in it.

import { ROOT_NODE } from '@ovfs/fuse-proto'
import type { Time } from '../attributes/time.ts'
import type { Inode } from '../names/inode.ts'
import { isCount, isFlag, isList, isOptional, isText, isTime, isTuple } from '../shapes.ts'
import type { SavedRemovedFile } from './removed-files.ts'

const FORMAT = 'opendal-fs session'
const VERSION = 2

/** [id, parent's id or 0 if it has lost its name, name, is a directory, lookups] */
export type SavedNode = readonly [
  id: number,
  parent: number,
  name: string,
  directory: boolean,
  lookups: number,
]
/** [handle, id of its node, writable] */
export type SavedFileHandle = readonly [fh: number, node: number, writable: boolean]
/** [node, size, ETag or null, modification time or null] */
export type SavedShown = readonly [node: number, size: number, etag: string | null, mtime: Time | null]
export type SavedDirectoryHandle = readonly [fh: number, node: number]

export interface SessionState {
  readonly lastId: number
  readonly lastHandle: number
  /** Parents before children. */
  readonly nodes: readonly SavedNode[]
  readonly files: readonly SavedFileHandle[]
  readonly directories: readonly SavedDirectoryHandle[]
  readonly removed: readonly SavedRemovedFile[]
  /** Open files of which the guest has bytes, with their versions. */
  readonly shown?: readonly SavedShown[] | undefined
  /** Handles of files whose versions another client has replaced. */
  readonly stale?: readonly number[] | undefined
}

export function encodeState(state: SessionState): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ format: FORMAT, version: VERSION, ...state }))
}

function isRemovedFile(value: unknown): boolean {
  const { id, size, mode, uid, gid, mtime, xattrs, pieces } = (value ?? {}) as Record<string, unknown>
  return (
    [id, size, mode, uid, gid].every(isCount) &&
    isTuple(mtime, Number.isSafeInteger, isCount) &&
    Array.isArray(xattrs) &&
    xattrs.every(xattr => isTuple(xattr, isText, isText)) &&
    Array.isArray(pieces) &&
    // Four characters are three bytes.
    pieces.every(
      piece => isTuple(piece, isCount, isText) && piece[0] + piece[1].length * 0.75 <= (size as number) + 3,
    )
  )
}

function isShown(value: unknown): boolean {
  const isTextOrNull = (etag: unknown) => etag === null || isText(etag)
  const isTimeOrNull = (mtime: unknown) => mtime === null || isTime(mtime)
  return isTuple(value, isCount, isCount, isTextOrNull, isTimeOrNull)
}

/** Throws TypeError if the bytes are not the state of a session. */
export function decodeState(bytes: Uint8Array): SessionState {
  let state: (SessionState & { format: unknown; version: unknown }) | null
  try {
    state = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw new TypeError('the state of a session cannot be read', { cause })
  }
  if (state?.format !== FORMAT || state.version !== VERSION) {
    throw new TypeError(`the state of a session has format ${state?.format}, version ${state?.version}`)
  }
  const { lastId, lastHandle, nodes, files, directories, removed, shown, stale } = state
  const sound =
    isCount(lastId) &&
    isCount(lastHandle) &&
    Array.isArray(nodes) &&
    nodes.every(node => isTuple(node, isCount, isCount, isText, isFlag, isCount)) &&
    Array.isArray(files) &&
    files.every(file => isTuple(file, isCount, isCount, isFlag)) &&
    Array.isArray(directories) &&
    directories.every(directory => isTuple(directory, isCount, isCount)) &&
    Array.isArray(removed) &&
    removed.every(isRemovedFile) &&
    isOptional(shown, list => isList(list, isShown)) &&
    isOptional(stale, list => isList(list, isCount))
  if (!sound) throw new TypeError('the state of a session has fields that are none')
  requireConsistent(state)
  return { lastId, lastHandle, nodes, files, directories, removed, shown, stale }
}

/** Ids are unique and below the last; every parent and every handle's node is there, and of the right kind. */
function requireConsistent(state: SessionState): void {
  const { lastId, lastHandle, nodes, files, directories, removed } = state
  const isDirectory = new Map<number, boolean>([[ROOT_NODE, true]])
  const names = new Set<string>()
  for (const [id, parent, name, directory] of nodes) {
    if (id > lastId || isDirectory.has(id)) throw new TypeError(`node ${id} is there twice, or too early`)
    if (parent !== 0) {
      const place = `${parent}/${name}`
      if (isDirectory.get(parent) !== true || names.has(place) || name === '' || name.includes('/')) {
        throw new TypeError(`node ${id} cannot be ${JSON.stringify(name)} in ${parent}`)
      }
      names.add(place)
    }
    isDirectory.set(id, directory)
  }
  const nameless = new Set(nodes.filter(([, parent]) => parent === 0).map(([id]) => id))
  for (const { id } of removed) {
    if (!nameless.delete(id) || isDirectory.get(id) === true)
      throw new TypeError(`node ${id} is no removed file`)
  }
  const handles = new Set<number>()
  const require = (fh: number, node: number, directory: boolean) => {
    if (fh > lastHandle || handles.has(fh) || isDirectory.get(node) !== directory) {
      throw new TypeError(`handle ${fh} cannot be of node ${node}`)
    }
    handles.add(fh)
  }
  for (const [fh, node] of files) require(fh, node, false)
  for (const [fh, node] of directories) require(fh, node, true)
}

/** Everything that the guest holds below the root, parents first. */
export function savedNodes(inodes: Iterable<Inode>): SavedNode[] {
  const known = [...inodes]
  const depth = (inode: Inode): number => (inode.parent === undefined ? 0 : 1 + depth(inode.parent))
  return known
    .filter(inode => inode.nodeid !== ROOT_NODE)
    .map(inode => ({ inode, depth: depth(inode) }))
    .sort((a, b) => a.depth - b.depth)
    .map(({ inode }) => [
      inode.nodeid,
      inode.parent?.nodeid ?? 0,
      inode.name,
      inode.directory !== undefined,
      inode.lookups,
    ])
}
