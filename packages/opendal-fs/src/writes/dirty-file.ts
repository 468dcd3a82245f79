// A file that has changes which the storage does not have. One object per inode, shared by all its handles: the version that the
// changes started from, which bytes of it still show, and what was written over it. Holes read as zeros.

import type { RequestData } from '@ovfs/fuse-proto'
import { type Time, timeOf } from '../attributes/time.ts'
import type { BlockCache, Content } from '../files/block-cache.ts'
import { Gathered } from '../files/gathered.ts'
import type { EarlyUpload } from './early-upload.ts'
import { RangeSet } from './range-set.ts'
import { type StagingBudget, StagingStore } from './staging-store.ts'

/** Where a read puts its bytes; the part of a READ reply that this layer needs. */
export interface FileSink {
  write(source: Uint8Array, offset?: number, length?: number): number
  fill(length: number): number
}

/** What was cut off or punched since a moment: it does not come back with a version from that moment. */
export interface Mark {
  smallest: number
  readonly holes: RangeSet
}

export class DirtyFile {
  readonly #cache: BlockCache
  readonly #store: StagingStore
  readonly #written = new RangeSet()
  /** The version under the changes; undefined if nothing of it shows. */
  #base: Content | undefined
  /** Bytes of the base at and after this offset are gone. */
  #baseEnd: number
  /** Bytes of the base before that which are gone too. */
  #holes = new RangeSet()
  readonly #marks = new Set<Mark>()
  size: number
  mtime: Time
  /** Counts changes; what was published at a count is all there is if the count still stands. */
  changes = 1
  #detaching: Promise<void> | undefined
  /** Reads and writes under way. */
  #reading = 0
  #writing = 0
  #closed = false
  /** What of it is already on its way to the storage. */
  early: EarlyUpload | undefined

  /** @param mtime the time that the file keeps until it is changed */
  constructor(cache: BlockCache, budget: StagingBudget, base: Content | undefined, mtime: Time) {
    this.mtime = mtime
    this.#cache = cache
    this.#store = new StagingStore(budget)
    this.#base = base
    this.size = base?.size ?? 0
    this.#baseEnd = this.size
  }

  /** Bytes from the start that are all written here, with nothing of the base left below or behind them. */
  get front(): number {
    return this.#baseEnd === 0 && this.#written.has(0) ? this.#written.pieceEnd(0, this.size) : 0
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
    this.early?.changed(offset)
    this.touch()
    return length
  }

  truncate(size: number): void {
    this.#written.clip(size)
    if (size < this.size) this.#store.drop(size, Number.POSITIVE_INFINITY)
    this.#baseEnd = Math.min(this.#baseEnd, size)
    for (const mark of this.#marks) mark.smallest = Math.min(mark.smallest, size)
    this.size = size
    this.early?.changed(size)
    this.touch()
  }

  /** Makes [start, end), within the size or not, read as zeros, and gives back what memory it took. The size stays. */
  punch(start: number, end: number): void {
    const last = Math.min(end, this.size)
    if (start >= last) return
    this.#written.remove(start, last)
    this.#store.drop(start, last)
    for (const { holes } of this.#marks) holes.add(start, last)
    if (start < this.#baseEnd) this.#holes.add(start, Math.min(last, this.#baseEnd))
    this.early?.changed(start)
    this.touch()
  }

  /** The first byte of data at or after `offset`, or of a hole: the end of the file counts as one. Undefined if there is none. */
  seek(offset: number, wanted: 'data' | 'hole'): number | undefined {
    if (offset >= this.size) return undefined
    for (let at = offset; at < this.size; at = this.#pieceEnd(at, this.size)) {
      if ((this.#placeOf(at) === 'hole') === (wanted === 'hole')) return at
    }
    return wanted === 'hole' ? this.size : undefined
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
      const place = this.#placeOf(at)
      if (place === 'written') {
        if (!this.#store.readNow(at, pieceEnd, out)) return this.#readSlowly(at, end, out)
      } else if (place === 'base') {
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
        const place = this.#placeOf(at)
        if (place === 'written') await this.#store.read(at, pieceEnd, out)
        else if (place === 'base') await this.#cache.read(this.#base!, at, pieceEnd, out)
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
    return at < this.#baseEnd ? this.#holes.pieceEnd(at, Math.min(pieceEnd, this.#baseEnd)) : pieceEnd
  }

  #placeOf(at: number): 'written' | 'base' | 'hole' {
    if (this.#written.has(at)) return 'written'
    return at < this.#baseEnd && !this.#holes.has(at) ? 'base' : 'hole'
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
      if (this.#placeOf(at) === 'base') {
        const copy = new Gathered(pieceEnd - at)
        await this.#cache.read(this.#base!, at, pieceEnd, copy)
        await this.#store.put(at, copy.bytes)
        this.#copied(at, pieceEnd)
      }
      at = pieceEnd
    }
    this.#base = undefined
    this.#baseEnd = 0
    this.#holes.clear()
  }

  /** The store has [start, end) of the base: what of it was not cut or punched meanwhile. */
  #copied(start: number, end: number): void {
    for (let at = start; at < end; ) {
      const pieceEnd = this.#pieceEnd(at, end)
      if (this.#placeOf(at) === 'base') this.#written.add(at, pieceEnd)
      at = pieceEnd
    }
  }

  /** To be called before bytes are gathered that may become the base; to be given back to `release`. */
  mark(): Mark {
    const mark = { smallest: this.size, holes: new RangeSet() }
    this.#marks.add(mark)
    return mark
  }

  release(mark: Mark): void {
    this.#marks.delete(mark)
  }

  /** The storage now has `published`, gathered since `mark`: it is the version under the changes that came since. */
  rebase(published: Content, mark: Mark): void {
    this.#base = published
    this.#baseEnd = Math.min(published.size, mark.smallest)
    this.#holes = mark.holes
    this.#holes.clip(this.#baseEnd)
    this.release(mark)
  }

  /** Writes what of the base's [start, end) memory has, from `start` on: the storage may have lost it. */
  salvageBase(start: number, end: number, out: FileSink): boolean {
    return this.#base !== undefined && this.#cache.readNow(this.#base, start, end, out)
  }

  /** Where the bytes come from, in order: written here, or shown of the base. What is left out is zeros. */
  *pieces(): Generator<readonly [start: number, end: number, from: 'written' | 'base']> {
    for (let at = 0; at < this.size; ) {
      const end = this.#pieceEnd(at, this.size)
      const place = this.#placeOf(at)
      if (place !== 'hole') yield [at, end, place]
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
    this.early?.giveUp('the file is not to be published')
    this.#release()
  }

  #release(): void {
    if (this.#closed && this.#reading === 0 && this.#writing === 0) this.#store.close()
  }
}
