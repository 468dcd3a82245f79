// What all files with unpublished bytes share: how much memory and disk they may take, and the memory itself.

import { tmpdir } from 'node:os'
import type { FsError } from '@ovfs/fuse-proto'
import { OWN_PAGES, type StagingPages } from './staging-pages.ts'

/** Bytes of a piece of a staging file, and of what is moved to or from it at once. */
export const BUFFER = 1 << 20
const SPARE_BUFFERS = 8
/** Some 8 MB of memory. */
const MOST_RANGES = 1 << 18

export interface StagingOptions {
  /** Ranges of all files together that are kept as they are; of one file a sixteenth. */
  readonly mostRanges?: number | undefined
  /** Pages that survive the process, as files do then. */
  readonly kept?: StagingPages | undefined
  /** Hears, once for each store, that bytes are gone which the storage does not have. */
  readonly onLost?: ((error: FsError) => void) | undefined
}

/** Memory for unpublished bytes, shared by all files. */
export class StagingBudget {
  readonly limit: number
  readonly diskLimit: number
  readonly directory: string
  readonly pages: StagingPages
  /** Files keep their names, for the next process. */
  readonly keepsFiles: boolean
  readonly onLost: (error: FsError) => void
  /** Bytes of memory and of disk that are taken. */
  used = 0
  diskUsed = 0
  /** Ranges in the maps of all files. */
  ranges = 0
  readonly #mostRanges: number
  /** Buffers for bytes on their way to or from a file, kept for the next one. */
  readonly #spare: Uint8Array[] = []

  /**
   * @param limit bytes of memory
   * @param diskLimit bytes of disk
   * @param directory where the files are made that take what memory cannot
   */
  constructor(
    limit: number,
    diskLimit = Number.POSITIVE_INFINITY,
    directory = tmpdir(),
    { mostRanges = MOST_RANGES, kept, onLost = () => undefined }: StagingOptions = {},
  ) {
    this.limit = limit
    this.diskLimit = diskLimit
    this.directory = directory
    this.#mostRanges = mostRanges
    this.pages = kept ?? OWN_PAGES
    this.keepsFiles = kept !== undefined
    this.onLost = onLost
  }

  /** True if a file that has so many ranges must not take more than its bytes need. */
  isCrowded(ranges: number): boolean {
    return this.ranges >= this.#mostRanges || ranges >= this.#mostRanges / 16
  }

  /** Runs `task` with `length` bytes of memory, whose content is undefined and which it must not keep. */
  async withBuffer<T>(length: number, task: (bytes: Uint8Array) => Promise<T>): Promise<T> {
    const buffer = length > BUFFER ? new Uint8Array(length) : (this.#spare.pop() ?? new Uint8Array(BUFFER))
    try {
      return await task(buffer.subarray(0, length))
    } finally {
      if (buffer.byteLength === BUFFER && this.#spare.length < SPARE_BUFFERS) this.#spare.push(buffer)
    }
  }
}
