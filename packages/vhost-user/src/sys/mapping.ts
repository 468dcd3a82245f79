// A shared mapping of part of a file, seen through ArrayBuffers. The file is checked to be long enough before it is mapped:
// touching a page past the end of the file would be a SIGBUS. A file that becomes shorter afterwards is the guard's business.

import { fstatSync, statfsSync } from 'node:fs'
import koffi from 'koffi'
import { VhostUserError } from '../errors.ts'
import { guardMapping } from './bus-guard.ts'
import { type Address, lastErrno, libc, MAP_FAILED, systemCallError } from './libc.ts'

/** A view over 4 GiB aborts the process on Node 20; a power of two well below leaves index arithmetic simple. */
export const MAX_PIECE_SIZE = 2 ** 30

const PAGE_SIZE = 4096
const PROT_READ_WRITE = 3
const MAP_SHARED = 1
const MAP_NORESERVE = 0x4000
const HUGETLBFS_MAGIC = 0x958458f6

export interface MappingOptions {
  /** Borrowed: the mapping keeps the file alive by itself. */
  readonly fd: number
  /** Where the wanted bytes start in the file, a multiple of 4096. */
  readonly offset: number
  /** Bytes, at least 1. */
  readonly size: number
  /** Bytes of each view but the last; by default the most that one can have. */
  readonly pieceSize?: number
  /** The file has become shorter: what the mapping held is gone, and it is private zeros now. Called once, later. */
  readonly lost?: () => void
}

export class Mapping {
  readonly size: number
  /** Consecutive views, each but the last `pieceSize` bytes. Touching one after `unmap` is a segmentation fault. */
  readonly pieces: readonly ArrayBuffer[]
  readonly #address: Address
  readonly #length: number
  readonly #guard: { release(): void }
  #mapped = true

  /** Throws BAD_MEMORY if the descriptor is not a file that holds the range, or cannot be mapped. */
  constructor({ fd, offset, size, pieceSize = MAX_PIECE_SIZE, lost = () => undefined }: MappingOptions) {
    const end = offset + size
    const unit = requireRange(fd, offset, size, end)
    // From the start of the file, because hugetlbfs maps at multiples of its own page size only; for the same reason the
    // length is a multiple of it, as munmap demands.
    this.#length = Math.ceil(end / unit) * unit
    // SAFETY: the kernel chooses a free range, which belongs to this object until unmap().
    const address = libc.mmap(null, this.#length, PROT_READ_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0)
    if (address === MAP_FAILED) {
      throw systemCallError('mmap', lastErrno(), `of ${this.#length} bytes`, 'BAD_MEMORY')
    }
    this.#address = address
    this.size = size
    try {
      this.#guard = guardMapping(address, this.#length, lost)
    } catch (error) {
      // SAFETY: exactly the range that mmap returned; nothing has seen it.
      libc.munmap(address, this.#length)
      throw error
    }
    const pieces: ArrayBuffer[] = []
    for (let at = 0; at < size; at += pieceSize) {
      // SAFETY: the range lies within the mapping. The view owns nothing; it must not be touched after unmap().
      pieces.push(koffi.view(address + BigInt(offset + at), Math.min(pieceSize, size - at)))
    }
    this.pieces = pieces
  }

  /** The caller promises that nothing touches the pieces any more. */
  unmap(): void {
    if (!this.#mapped) return
    this.#mapped = false
    this.#guard.release()
    // SAFETY: exactly the range that mmap returned, once; the caller has let go of every view.
    if (libc.munmap(this.#address, this.#length) < 0) {
      throw systemCallError('munmap', lastErrno(), `of ${this.#length} bytes`)
    }
  }
}

/** Checks that the file holds the range; returns the unit of mapping lengths in bytes. */
function requireRange(fd: number, offset: number, size: number, end: number): number {
  if (size < 1 || !Number.isSafeInteger(end)) {
    throw new VhostUserError('BAD_MEMORY', `a mapping of ${size} bytes at ${offset} is not possible`)
  }
  if (offset % PAGE_SIZE !== 0) {
    throw new VhostUserError('BAD_MEMORY', `the file offset ${offset} is not a multiple of ${PAGE_SIZE}`)
  }
  const stat = fstatSync(fd)
  if (!stat.isFile()) {
    throw new VhostUserError('BAD_MEMORY', 'the descriptor of a memory region is not a file')
  }
  if (stat.size < end) {
    throw new VhostUserError(
      'BAD_MEMORY',
      `the memory file has ${stat.size} bytes, the region ends at ${end}`,
    )
  }
  const fileSystem = statfsSync(`/proc/self/fd/${fd}`)
  return fileSystem.type === HUGETLBFS_MAGIC ? fileSystem.bsize : PAGE_SIZE
}
