// A file that has changes which the storage does not have. One object per inode, shared by all its handles: the version that the
// changes started from, which bytes of it still show, and what was written over it. Holes read as zeros.

import type { RequestData } from '@ovfs/fuse-proto'
import type { BlockCache, Content } from './block-cache.ts'
import { RangeSet } from './range-set.ts'
import { type StagingBudget, StagingStore } from './staging-store.ts'
import { type Time, timeOf } from './time.ts'

/** Where a read puts its bytes; the part of a READ reply that this layer needs. */
export interface FileSink {
  write(source: Uint8Array, offset?: number, length?: number): number
  fill(length: number): number
}

export class DirtyFile {
  readonly #cache: BlockCache
  readonly #store: StagingStore
  readonly #written = new RangeSet()
  /** The version under the changes; undefined if nothing of it shows. */
  #base: Content | undefined
  /** Bytes of the base at and after this offset are gone. */
  #baseEnd: number
  /** The smallest size since the last publication began. */
  #lowWater: number
  size: number
  mtime: Time
  /** Counts changes; what was published at a count is all there is if the count still stands. */
  changes = 1
  #detaching: Promise<void> | undefined
  /** Reads and writes under way. */
  #reading = 0
  #writing = 0
  #closed = false

  /** @param mtime the time that the file keeps until it is changed */
  constructor(cache: BlockCache, budget: StagingBudget, base: Content | undefined, mtime: Time) {
    this.mtime = mtime
    this.#cache = cache
    this.#store = new StagingStore(budget)
    this.#base = base
    this.size = base?.size ?? 0
    this.#baseEnd = this.size
    this.#lowWater = this.size
  }

  /** True while a write has been taken that is not yet counted as a change. */
  get writing(): boolean {
    return this.#writing > 0
  }

  write(offset: number, data: RequestData): number | Promise<number> {
    if (this.#detaching !== undefined) return this.#writeSlowly(offset, data, this.#detaching)
    const { byteLength } = data
    const waiting = this.#store.write(offset, data)
    return waiting === undefined ? this.#wrote(offset, byteLength) : this.#writeSlowly(offset, data, waiting)
  }

  async #writeSlowly(offset: number, data: RequestData, waiting: Promise<void>): Promise<number> {
    const { byteLength } = data
    this.#writing++
    try {
      if (waiting === this.#detaching) {
        await waiting
        await this.#store.write(offset, data)
      } else {
        await waiting
      }
      return this.#wrote(offset, byteLength)
    } finally {
      this.#writing--
      this.#release()
    }
  }

  #wrote(offset: number, length: number): number {
    this.#written.add(offset, offset + length)
    if (offset + length > this.size) this.size = offset + length
    this.touch()
    return length
  }

  truncate(size: number): void {
    this.#written.clip(size)
    this.#baseEnd = Math.min(this.#baseEnd, size)
    this.#lowWater = Math.min(this.#lowWater, size)
    this.size = size
    this.touch()
  }

  /** The file counts as changed now, even if no byte is. */
  touch(): void {
    this.mtime = timeOf(Date.now())
    this.changes++
  }

  /** Writes [offset, end), within the size, to `out`; a promise only if it has to wait for a disk or the storage. */
  read(offset: number, end: number, out: FileSink): undefined | Promise<void> {
    let at = offset
    while (at < end) {
      const pieceEnd = this.#pieceEnd(at, end)
      if (this.#written.has(at)) {
        if (!this.#store.readNow(at, pieceEnd, out)) return this.#readSlowly(at, end, out)
      } else if (at < this.#baseEnd) {
        if (!this.#cache.readNow(this.#base!, at, pieceEnd, out)) return this.#readSlowly(at, end, out)
      } else {
        out.fill(pieceEnd - at)
      }
      at = pieceEnd
    }
    return undefined
  }

  async #readSlowly(from: number, end: number, out: FileSink): Promise<void> {
    this.#reading++
    try {
      // What is written, cut or published meanwhile may show in the pieces that are not yet copied, as in any file.
      for (let at = from; at < end; ) {
        const pieceEnd = this.#pieceEnd(at, end)
        if (this.#written.has(at)) await this.#store.read(at, pieceEnd, out)
        else if (at < this.#baseEnd) await this.#cache.read(this.#base!, at, pieceEnd, out)
        else out.fill(pieceEnd - at)
        at = pieceEnd
      }
    } finally {
      this.#reading--
      this.#release()
    }
  }

  /** The end of the piece at `at` that comes from one place. */
  #pieceEnd(at: number, end: number): number {
    const pieceEnd = this.#written.pieceEnd(at, end)
    return at < this.#baseEnd ? Math.min(pieceEnd, this.#baseEnd) : pieceEnd
  }

  /** Copies what shows of the base into the staging store: the base is about to vanish from the storage. Writes wait. */
  detach(): Promise<void> {
    this.#detaching ??= this.#copyBase().finally(() => {
      this.#detaching = undefined
    })
    return this.#detaching
  }

  async #copyBase(): Promise<void> {
    const step = 1 << 20
    for (let at = 0; at < this.#baseEnd; ) {
      const pieceEnd = Math.min(this.#pieceEnd(at, this.#baseEnd), at + step)
      if (!this.#written.has(at)) {
        const copy = new Gathered(pieceEnd - at)
        await this.#cache.read(this.#base!, at, pieceEnd, copy)
        await this.#store.put(at, copy.bytes)
        this.#written.add(at, Math.min(pieceEnd, this.#baseEnd))
      }
      at = pieceEnd
    }
    this.#base = undefined
    this.#baseEnd = 0
  }

  /** To be called before the bytes are gathered for a publication. */
  beginPublication(): void {
    this.#lowWater = this.size
  }

  /** The storage now has `published`, gathered since `beginPublication`: it is the version under the changes that came since. */
  rebase(published: Content): void {
    this.#base = published
    this.#baseEnd = Math.min(published.size, this.#lowWater)
  }

  /** Where the bytes come from, in order: written here, or shown of the base. What is left out is zeros. */
  *pieces(): Generator<readonly [start: number, end: number, from: 'written' | 'base']> {
    for (let at = 0; at < this.size; ) {
      const end = this.#pieceEnd(at, this.size)
      if (this.#written.has(at)) yield [at, end, 'written']
      else if (at < this.#baseEnd) yield [at, end, 'base']
      at = end
    }
  }

  /** The first `size` bytes in order, for publication, a part at a time. A part is the caller's until it asks for the next. */
  async *parts(size: number, partBytes: number): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < size; at += partBytes) {
      const part = new Gathered(Math.min(partBytes, size - at))
      // A truncation since the start leaves zeros at the end: the publication after it will say so.
      await this.read(at, Math.min(at + part.bytes.byteLength, Math.max(at, this.size)), part)
      yield part.bytes
    }
  }

  /** Gives memory and disk back, once the reads and writes under way are done. */
  close(): void {
    this.#closed = true
    this.#release()
  }

  #release(): void {
    if (this.#closed && this.#reading === 0 && this.#writing === 0) this.#store.close()
  }
}

/** Gathers a known count of bytes in one buffer. */
class Gathered implements FileSink {
  readonly bytes: Uint8Array
  #length = 0

  constructor(length: number) {
    this.bytes = new Uint8Array(length)
  }

  write(source: Uint8Array, offset = 0, length = source.byteLength - offset): number {
    const count = Math.min(length, this.bytes.byteLength - this.#length)
    this.bytes.set(source.subarray(offset, offset + count), this.#length)
    this.#length += count
    return count
  }

  fill(length: number): number {
    this.#length += length
    return length
  }
}
