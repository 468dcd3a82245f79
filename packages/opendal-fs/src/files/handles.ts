// Open files and directories of one session. Handle numbers count up and are never used twice.

import { type FileHandle, FsError } from '@ovfs/fuse-proto'
import type { Inode } from '../names/inode.ts'
import type { Listing } from '../names/listing.ts'
import type { SessionRecord } from '../session/session-record.ts'
import type { SavedDirectoryHandle, SavedFileHandle } from '../session/session-state.ts'
import type { ReadAhead } from './read-ahead.ts'

export interface OpenFile {
  readonly inode: Inode
  readonly writable: boolean
  readonly readAhead: ReadAhead
  /** The number of the file's `ShownVersion` when the handle was opened. */
  readonly opened: number
  /** Given when it is opened. */
  fh?: FileHandle
  /** The number of the request that opened it. */
  readonly request?: number | undefined
  /** What was written through this handle and is lost to the storage: told at each fsync and close from then on. */
  failure?: FsError
}

export interface OpenDirectory {
  readonly inode: Inode
  /** Given when it is opened. */
  fh?: FileHandle
  /** The number of the request that opened it. */
  readonly request?: number | undefined
  /** What this reader walks through; taken when it starts, and again when it starts over. */
  listing: Listing | undefined
  /** What the session's log says of that; `done` if it was shown all there is. */
  logged?: Listing | 'done' | undefined
  /** The places of names in a listing that an earlier process has begun to give out. */
  begun?: readonly string[] | undefined
}

export class Handles {
  readonly #limit: number
  readonly #files = new Map<number, OpenFile>()
  readonly #directories = new Map<number, OpenDirectory>()
  #last = 0
  /** The last one that another process has given. */
  #earlier = 0
  /** By the requests that opened them: those of earlier processes. */
  readonly #unanswered = new Map<number, FileHandle>()
  /** Told of what is opened and closed, if it is to survive. */
  record: SessionRecord | undefined

  constructor(limit: number) {
    this.#limit = limit
  }

  /** @throws ENFILE if the guest holds too many */
  addFile(file: OpenFile): FileHandle {
    const fh = this.#next()
    this.#add(fh, file)
    const earlier = this.#askedBefore(file.request)
    if (earlier !== undefined && this.#files.get(earlier)?.inode === file.inode) this.closeFile(earlier)
    return fh
  }

  addDirectory(directory: OpenDirectory): FileHandle {
    const fh = this.#next()
    this.#addDirectory(fh, directory)
    const earlier = this.#askedBefore(directory.request)
    if (earlier !== undefined && this.#directories.get(earlier)?.inode === directory.inode)
      this.closeDirectory(earlier)
    return fh
  }

  /** What the request has opened in an earlier process: it comes again, so the guest was not told, and nobody would close that. */
  #askedBefore(request: number | undefined): FileHandle | undefined {
    if (request === undefined || this.#unanswered.size === 0) return undefined
    const fh = this.#unanswered.get(request)
    this.#unanswered.delete(request)
    return fh
  }

  /** A handle of a session that began elsewhere. */
  restoreFile(fh: FileHandle, file: OpenFile): void {
    this.#add(fh, file)
    if (file.request !== undefined) this.#unanswered.set(file.request, fh)
  }

  restoreDirectory(fh: FileHandle, directory: OpenDirectory): void {
    this.#addDirectory(fh, directory)
    if (directory.request !== undefined) this.#unanswered.set(directory.request, fh)
  }

  #add(fh: FileHandle, file: OpenFile): void {
    file.fh = fh
    this.#files.set(fh, file)
    file.inode.opens++
    if (file.writable) file.inode.file?.writers.add(file)
    this.record?.openedFile(file)
  }

  #addDirectory(fh: FileHandle, directory: OpenDirectory): void {
    directory.fh = fh
    this.#directories.set(fh, directory)
    directory.inode.opens++
    this.record?.openedDirectory(directory)
  }

  get files(): ReadonlyMap<number, OpenFile> {
    return this.#files
  }

  get directories(): ReadonlyMap<number, OpenDirectory> {
    return this.#directories
  }

  get last(): number {
    return this.#last
  }

  continueAfter(last: number): void {
    this.#last = Math.max(this.#last, last)
    this.#earlier = this.#last
  }

  /** Another process has closed it: the guest, which was not told, asks again. */
  wasClosed(fh: FileHandle): boolean {
    return fh <= this.#earlier && !this.#files.has(fh) && !this.#directories.has(fh)
  }

  /** @throws ENFILE */
  requireRoom(count: number): void {
    if (this.#files.size + this.#directories.size + count > this.#limit) throw new FsError('ENFILE')
  }

  saved(): { files: SavedFileHandle[]; directories: SavedDirectoryHandle[]; last: number } {
    return {
      files: Array.from(this.#files, ([fh, { inode, writable }]) => [fh, inode.nodeid, writable]),
      directories: Array.from(this.#directories, ([fh, { inode }]) => [fh, inode.nodeid]),
      last: this.#last,
    }
  }

  /** Handles whose files another client has replaced. */
  stale(): number[] {
    const isStale = ({ inode, opened }: OpenFile) => inode.file?.shown.isStale(opened) === true
    return Array.from(this.#files).flatMap(([fh, file]) => (isStale(file) ? [fh] : []))
  }

  /** @throws EBADF */
  file(fh: FileHandle): OpenFile {
    const file = this.#files.get(fh)
    if (file === undefined) throw new FsError('EBADF')
    return file
  }

  directory(fh: FileHandle): OpenDirectory {
    const directory = this.#directories.get(fh)
    if (directory === undefined) throw new FsError('EBADF')
    return directory
  }

  closeFile(fh: FileHandle): OpenFile {
    const file = this.file(fh)
    this.#files.delete(fh)
    file.inode.opens--
    file.inode.file?.writers.delete(file)
    this.record?.closed(fh)
    return file
  }

  closeDirectory(fh: FileHandle): OpenDirectory {
    const directory = this.directory(fh)
    this.#directories.delete(fh)
    directory.inode.opens--
    this.record?.closed(fh)
    return directory
  }

  /** The inodes of all open files; afterwards none is open. */
  closeAll(): Set<Inode> {
    const inodes = new Set<Inode>()
    for (const fh of [...this.#files.keys()]) inodes.add(this.closeFile(fh as FileHandle).inode)
    for (const fh of [...this.#directories.keys()]) this.closeDirectory(fh as FileHandle)
    // The next session's requests are other ones.
    this.#unanswered.clear()
    return inodes
  }

  #next(): FileHandle {
    this.requireRoom(1)
    return ++this.#last as FileHandle
  }
}
