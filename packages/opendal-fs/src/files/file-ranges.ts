// Ranges of open files: allocating, punching and zeroing (fallocate), finding data and holes (lseek), and copying from file to
// file without the guest (copy_file_range). Holes are known of unpublished changes only: the storage has none.

import {
  type Awaitable,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  type FileHandle,
  FsError,
  SEEK_DATA,
  SEEK_HOLE,
} from '@ovfs/fuse-proto'
import type { Tree } from '../names/tree.ts'
import type { Publisher } from '../writes/publication.ts'
import type { WholeCopies } from '../writes/whole-copies.ts'
import type { Files } from './files.ts'
import { Gathered, OwnData } from './gathered.ts'
import type { Handles, OpenFile } from './handles.ts'

/** What one request copies at most, in bytes: a shorter count than asked for is an answer, and the guest asks again. */
const MOST_COPIED = 32 << 20
const COPY_STEP = 1 << 20

interface Caller {
  readonly uid: number
  readonly gid: number
}

export class FileRanges {
  readonly #tree: Tree
  readonly #handles: Handles
  readonly #publisher: Publisher
  readonly #files: Files
  readonly #copies: WholeCopies

  constructor(tree: Tree, handles: Handles, publisher: Publisher, files: Files, copies: WholeCopies) {
    this.#tree = tree
    this.#handles = handles
    this.#publisher = publisher
    this.#files = files
    this.#copies = copies
  }

  /** Allocating promises no room on the service, which cannot: it makes the file long enough. */
  fallocate(caller: Caller, fh: FileHandle, offset: number, length: number, mode: number): Awaitable<void> {
    const handle = this.#writable(fh)
    const { inode } = handle
    // fallocate(2): EINVAL for a length of 0; EFBIG beyond the largest file.
    if (length === 0) throw new FsError('EINVAL')
    const end = offset + length
    if (end > this.#tree.storage.largestFile) throw new FsError('EFBIG')
    const counting = this.#publisher.usage.ready()
    if (counting !== undefined) return counting.then(() => this.fallocate(caller, fh, offset, length, mode))
    // Unlike WRITE, the request does not say whether the caller has CAP_FSETID, which keeps setuid and setgid. Assume that only root has it.
    this.#tree.attributes.killPrivileges(inode, caller.uid !== 0, caller.gid)
    const keepsSize = (mode & FALLOC_FL_KEEP_SIZE) !== 0
    const size = keepsSize ? inode.attr.size : Math.max(inode.attr.size, end)
    switch (mode & ~FALLOC_FL_KEEP_SIZE) {
      case 0:
        return size === inode.attr.size ? undefined : this.#files.truncate(inode, size)
      case FALLOC_FL_PUNCH_HOLE:
        // fallocate(2): only together with KEEP_SIZE.
        if (!keepsSize) throw new FsError('EOPNOTSUPP')
        return this.#files.zero(inode, offset, end, size)
      case FALLOC_FL_ZERO_RANGE:
        return this.#files.zero(inode, offset, end, size)
      default:
        throw new FsError('EOPNOTSUPP')
    }
  }

  lseek(fh: FileHandle, offset: number, whence: number): number {
    const { inode } = this.#handles.file(fh)
    if (whence !== SEEK_DATA && whence !== SEEK_HOLE) throw new FsError('EINVAL')
    const { size } = inode.attr
    // lseek(2): ENXIO beyond the end, and for data if there is only a hole from there on.
    if (offset >= size) throw new FsError('ENXIO')
    const { dirty } = inode.file!
    if (dirty === undefined) return whence === SEEK_DATA ? offset : size
    const found = dirty.seek(offset, whence === SEEK_DATA ? 'data' : 'hole')
    if (found === undefined) throw new FsError('ENXIO')
    return found
  }

  /** A whole file onto an empty one is the service's own copy, where it has one; everything else goes through the staging. */
  async copy(
    fh: FileHandle,
    offset: number,
    fhOut: FileHandle,
    offsetOut: number,
    length: number,
  ): Promise<number> {
    const from = this.#handles.file(fh)
    const to = this.#writable(fhOut)
    if (from.inode.file!.dirty === undefined) await this.#tree.refresh(from.inode)
    const { size } = from.inode.attr
    if (offset === 0 && offsetOut === 0 && length >= size && size > 0) {
      if (await this.#copies.copy(from.inode, to.inode)) return size
    }
    const end = Math.min(offset + length, size, offset + MOST_COPIED)
    let at = offset
    try {
      while (at < end) {
        const copied = await this.#copyStep(
          fh,
          at,
          Math.min(at + COPY_STEP, end),
          fhOut,
          offsetOut + at - offset,
        )
        if (copied === 0) break
        at += copied
      }
    } catch (error) {
      // What has been copied is told; the next request will fail.
      if (at === offset) throw error
    }
    return Math.max(0, at - offset)
  }

  async #copyStep(fh: FileHandle, at: number, end: number, fhOut: FileHandle, to: number): Promise<number> {
    const piece = new Gathered(end - at)
    await this.#files.read(fh, at, end - at, piece)
    if (piece.data.byteLength === 0) return 0
    return this.#files.write(fhOut, to, new OwnData(piece.data))
  }

  #writable(fh: FileHandle): OpenFile {
    const handle = this.#handles.file(fh)
    if (!handle.writable) throw new FsError('EBADF')
    return handle
  }
}
