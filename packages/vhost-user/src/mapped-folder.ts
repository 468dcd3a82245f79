// Files that are mapped whole, for what must survive this process and need not survive the host: a store into a shared mapping
// is in the page cache at once. Every block is there before a file is mapped, so that a full disk is an error and no SIGBUS.

import { closeSync, constants, fstatSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { MAX_PIECE_SIZE, Mapping } from './sys/mapping.ts'

/** A mapped file. Its size is a multiple of 4096 and at most 1 GiB. */
export interface MappedFile {
  readonly buffer: ArrayBuffer
  /** The caller promises that nothing touches the buffer any more. */
  release(): void
}

const ZEROS = new Uint8Array(1 << 20)
const PAGE_SIZE = 4096

export class MappedFolder {
  readonly path: string

  /** Makes the folder if it is not there, for this user alone. */
  constructor(path: string) {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    this.path = path
  }

  /** Undefined if there is none, or if it is none that `create` makes. */
  open(name: string): MappedFile | undefined {
    let fd: number
    try {
      fd = openSync(join(this.path, name), constants.O_RDWR | constants.O_NOFOLLOW)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
    const { size } = fstatSync(fd)
    if (size === 0 || size % PAGE_SIZE !== 0 || size > MAX_PIECE_SIZE) {
      closeSync(fd)
      return undefined
    }
    return mapped(fd, size)
  }

  /** A new file of zeros, all of it on the disk; takes the place of one with that name. */
  create(name: string, bytes: number): MappedFile {
    if (bytes < 1 || bytes % PAGE_SIZE !== 0 || bytes > MAX_PIECE_SIZE)
      throw new RangeError(`a mapped file of ${bytes} bytes`)
    const path = join(this.path, name)
    rmSync(path, { force: true })
    const { O_RDWR, O_CREAT, O_EXCL } = constants
    const fd = openSync(path, O_RDWR | O_CREAT | O_EXCL, 0o600)
    try {
      for (let at = 0; at < bytes; ) at += writeSync(fd, ZEROS, 0, Math.min(ZEROS.byteLength, bytes - at), at)
    } catch (error) {
      closeSync(fd)
      rmSync(path, { force: true })
      throw error
    }
    return mapped(fd, bytes)
  }

  rename(from: string, to: string): void {
    renameSync(join(this.path, from), join(this.path, to))
  }

  remove(name: string): void {
    rmSync(join(this.path, name), { force: true })
  }
}

/** Closes the descriptor: the mapping keeps the file. */
function mapped(fd: number, size: number): MappedFile {
  try {
    const mapping = new Mapping({ fd, offset: 0, size })
    return { buffer: mapping.pieces[0]!, release: () => mapping.unmap() }
  } finally {
    closeSync(fd)
  }
}
