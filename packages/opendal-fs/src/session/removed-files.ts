// Files that were removed while open, on their way to another host: no name leads to their bytes there, so the bytes travel
// with the session. There they are files with unpublished changes that will never be published, as any removed file is here.

import { FsError } from '@ovfs/fuse-proto'
import { Gathered, OwnData } from '../files/gathered.ts'
import { type Inode, S_IFREG } from '../names/inode.ts'
import type { Tree } from '../names/tree.ts'
import type { Publisher } from '../writes/publication.ts'

/** Bytes of all such files that travel. The guest stands still meanwhile, and they are in memory several times. */
export const MOST_REMOVED_BYTES = 64 << 20
const STEP = 1 << 20

export interface SavedRemovedFile {
  readonly id: number
  readonly size: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly mtime: readonly [sec: number, nsec: number]
  readonly xattrs: readonly (readonly [name: string, base64: string])[]
  /** What is not a hole. */
  readonly pieces: readonly (readonly [offset: number, base64: string])[]
}

/** What of them fits. The others are told to the daemon's log, and are ESTALE where the guest goes on. */
export async function saveRemovedFiles(inodes: Iterable<Inode>, tree: Tree): Promise<SavedRemovedFile[]> {
  const saved: SavedRemovedFile[] = []
  let room = MOST_REMOVED_BYTES
  for (const inode of [...inodes]) {
    if (!inode.removed || inode.opens === 0 || inode.lost || inode.kind !== 'file') continue
    const ranges = [...dataRanges(inode)]
    const bytes = ranges.reduce((sum, [start, end]) => sum + end - start, 0)
    if (bytes > room) {
      const why = `${inode.name}: removed while open, and its ${bytes} bytes are too many to move with the guest`
      tree.storage.report(new FsError('EFBIG', why))
      continue
    }
    room -= bytes
    const { size, mode, uid, gid, mtime, mtimensec } = inode.attr
    const xattrs = [...(inode.xattrs ?? [])].map(([name, value]) => [name, base64Of(value)] as const)
    const pieces: [number, string][] = []
    for (const [start, end] of ranges) {
      for (let at = start; at < end; at += STEP) {
        pieces.push([at, base64Of(await bytesOf(inode, tree, at, Math.min(end, at + STEP)))])
      }
    }
    saved.push({ id: inode.nodeid, size, mode, uid, gid, mtime: [mtime, mtimensec], xattrs, pieces })
  }
  return saved
}

/** Makes an inode that has nothing but its id what it was. */
export async function restoreRemovedFile(
  inode: Inode,
  saved: SavedRemovedFile,
  publisher: Publisher,
): Promise<void> {
  const [sec, nsec] = saved.mtime
  inode.lost = false
  inode.attr.mode = S_IFREG | (saved.mode & 0o7777)
  inode.attr.uid = saved.uid
  inode.attr.gid = saved.gid
  inode.setTime({ sec, nsec })
  inode.setXattrs(new Map(saved.xattrs.map(([name, text]) => [name, Buffer.from(text, 'base64')])))
  const dirty = publisher.dirty(inode)
  for (const [offset, text] of saved.pieces) {
    await dirty.write(offset, new OwnData(Buffer.from(text, 'base64')))
  }
  await dirty.truncate(saved.size)
  dirty.mtime = { sec, nsec }
  publisher.showDirty(inode)
}

function* dataRanges(inode: Inode): Generator<[start: number, end: number]> {
  const { dirty } = inode.file!
  if (dirty === undefined) {
    if (inode.attr.size > 0) yield [0, inode.attr.size]
    return
  }
  for (let at = 0; ; ) {
    const start = dirty.seek(at, 'data')
    if (start === undefined) return
    at = dirty.seek(start, 'hole') ?? dirty.size
    yield [start, at]
  }
}

async function bytesOf(inode: Inode, tree: Tree, start: number, end: number): Promise<Uint8Array> {
  const out = new Gathered(end - start)
  const { dirty } = inode.file!
  await (dirty === undefined
    ? tree.cache.read(tree.content(inode), start, end, out)
    : dirty.read(start, end, out))
  return out.bytes
}

function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
