// Files that are mapped whole, for what must survive this process and need not survive the host: a store into a shared mapping
// is in the page cache at once. Every block is there before a file is mapped, so that a full disk is an error and no SIGBUS.
//
// Somebody may shorten a file all the same, and then pages of it read as zeros: behind the end because the SIGBUS handler puts
// them there, and on the page of the new end without any signal. So each file has one page more, which begins with a mark. It is
// the first to go, and does not come back if the file is made longer again: while the mark is there, everything is.

import { closeSync, constants, fstatSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { MAX_PIECE_SIZE, Mapping } from './sys/mapping.ts'

/** A mapped file. Its size is a multiple of 4096 and less than 1 GiB. */
export interface MappedFile {
  readonly buffer: ArrayBuffer
  /**
   * True if somebody has shortened the file: what was read from it may be zeros, and what is stored reaches nobody. To be asked
   * after reading, because what it says of is the time before.
   */
  readonly isLost: boolean
  /** The caller promises that nothing touches the buffer any more. */
  release(): void
}

const ZEROS = new Uint8Array(1 << 20)
const PAGE_SIZE = 4096
const MARK = 0x6b65_7074

export class MappedFolder {
  readonly path: string

  /** Makes the folder if it is not there, for this user alone. */
  constructor(path: string) {
    mkdirSync(path, { recursive: true, mode: 0o700 })
    this.path = path
  }

  /** Undefined if there is none. Throws TypeError if it is not as `create` made it. */
  open(name: string): MappedFile | undefined {
    let fd: number
    try {
      fd = openSync(join(this.path, name), constants.O_RDWR | constants.O_NOFOLLOW)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
    const size = fstatSync(fd).size - PAGE_SIZE
    if (!isPossible(size)) {
      closeSync(fd)
      throw new TypeError(`${name} has become shorter, or is no file of these`)
    }
    const file = mapped(fd, size)
    if (!file.isLost) return file
    file.release()
    throw new TypeError(`${name} has become shorter, and longer again`)
  }

  /** A new file of zeros, all of it on the disk; takes the place of one with that name. */
  create(name: string, bytes: number): MappedFile {
    if (!isPossible(bytes)) throw new RangeError(`a mapped file of ${bytes} bytes`)
    const path = join(this.path, name)
    rmSync(path, { force: true })
    const { O_RDWR, O_CREAT, O_EXCL } = constants
    const fd = openSync(path, O_RDWR | O_CREAT | O_EXCL, 0o600)
    try {
      const size = bytes + PAGE_SIZE
      for (let at = 0; at < size; ) at += writeSync(fd, ZEROS, 0, Math.min(ZEROS.byteLength, size - at), at)
      writeSync(fd, Uint32Array.of(MARK), 0, 4, bytes)
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

function isPossible(bytes: number): boolean {
  return bytes > 0 && bytes % PAGE_SIZE === 0 && bytes < MAX_PIECE_SIZE
}

/** Closes the descriptor: the mapping keeps the file. */
function mapped(fd: number, bytes: number): MappedFile {
  try {
    const mapping = new Mapping({ fd, offset: 0, size: bytes + PAGE_SIZE, pieceSize: bytes })
    const mark = new Uint32Array(mapping.pieces[1]!, 0, 1)
    return {
      buffer: mapping.pieces[0]!,
      // Atomic: looked at anew each time.
      get isLost() {
        return Atomics.load(mark, 0) !== MARK
      },
      release: () => mapping.unmap(),
    }
  } finally {
    closeSync(fd)
  }
}
