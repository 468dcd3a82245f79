// A file that has changes which the storage does not have. One object per inode, shared by all its handles: the version that the
// changes started from, and what was written over it. A file of many scattered changes is kept in whole blocks, so that the map
// of them stays small in proportion to the bytes.

import type { RequestData } from '@ovfs/fuse-proto'
import { type Time, timeAfter } from '../attributes/time.ts'
import type { BlockCache, ByteSink, Content } from '../files/block-cache.ts'
import { Gathered } from '../files/gathered.ts'
import { Mutex } from '../names/locks.ts'
import type { DirtyRecord, DirtyState } from './dirty-record.ts'
import type { EarlyUpload } from './early-upload.ts'
import { FileMap, type Mark } from './file-map.ts'
import type { StagingBudget } from './staging-budget.ts'
import { PAGE, type StagingPage } from './staging-pages.ts'
import { StagingStore } from './staging-store.ts'

/** Where a read puts its bytes; the part of a READ reply that this layer needs. */
export interface FileSink extends ByteSink {
  fill(length: number): number
}

/** What a change takes at least in a file of many ranges, in bytes. */
const BLOCK = PAGE
const COPY_STEP = 1 << 20
const NO_BASE = { end: 0, holes: [] } as const

export class DirtyFile {
  readonly #record: DirtyRecord | undefined
  readonly #cache: BlockCache
  readonly #budget: StagingBudget
  readonly #store: StagingStore
  readonly #map: FileMap
  /** The version under the changes; undefined if nothing of it shows. */
  #base: Content | undefined
  #mtime: Time
  /** Counts changes; what was published at a count is all there is if the count still stands. */
  changes = 1
  /** What is already on its way to the storage. */
  early: EarlyUpload | undefined
  #detaching: Promise<void> | undefined
  /** Changes that have to wait for each other, and how many are waiting or under way. */
  readonly #turns = new Mutex()
  #inTurn = 0
  /** Writes under way that take no turns: nothing may be copied below them. */
  readonly #slow = new Set<Promise<void>>()
  /** Reads and writes under way. */
  #reading = 0
  #writing = 0
  #countedRanges = 0
  #closed = false

  /** @param mtime the time that the file keeps until it is changed */
  constructor(
    cache: BlockCache,
    budget: StagingBudget,
    base: Content | undefined,
    mtime: Time,
    record?: DirtyRecord,
  ) {
    this.#mtime = mtime
    this.#record = record
    this.#cache = cache
    this.#budget = budget
    this.#store = new StagingStore(budget, record)
    this.#base = base
    this.#map = new FileMap(base?.size ?? 0)
  }

  /** Takes over what an earlier process has left. Nothing has been written here yet. */
  async resume(state: DirtyState, pages: ReadonlyMap<number, StagingPage>): Promise<void> {
    await this.#store.resume(pages, state.file, state.written)
    if (state.base === undefined) this.#base = undefined
    const { end, holes } = this.#base === undefined ? NO_BASE : (state.base ?? NO_BASE)
    this.#map.resume(state.size, state.written, end, holes)
    this.#mtime = state.mtime
    this.#countRanges()
  }

  get state(): DirtyState {
    const { size, written, baseEnd: end, holes } = this.#map
    return { ...this.#store.place, size, mtime: this.#mtime, written, base: this.#base && { end, holes } }
  }

  get mtime(): Time {
    return this.#mtime
  }

  set mtime(time: Time) {
    this.#mtime = time
    this.#record?.changed()
  }

  get size(): number {
    return this.#map.size
  }

  /** Bytes from the start that are all written here, with nothing of the base left anywhere. */
  get front(): number {
    return this.#map.front
  }

  /** True while a write has been taken that is not yet counted as a change. */
  get writing(): boolean {
    return this.#writing > 0
  }

  write(offset: number, data: RequestData): number | Promise<number> {
    if (this.#inTurn > 0 || this.#isCrowded) return this.#writeInTurn(offset, data)
    const { byteLength } = data
    const waiting = this.#store.write(offset, data)
    return waiting === undefined
      ? this.#wrote(offset, byteLength)
      : this.#writeSlowly(offset, byteLength, waiting)
  }

  async #writeSlowly(offset: number, length: number, waiting: Promise<void>): Promise<number> {
    this.#writing++
    this.#slow.add(waiting)
    try {
      await waiting
      return this.#wrote(offset, length)
    } finally {
      this.#slow.delete(waiting)
      this.#writing--
      this.#release()
    }
  }

  async #writeInTurn(offset: number, data: RequestData): Promise<number> {
    const { byteLength } = data
    this.#writing++
    try {
      return await this.#takeTurn(async () => {
        if (this.#isCrowded) await this.#fillAround(offset, offset + byteLength)
        await this.#store.write(offset, data)
        return this.#wrote(offset, byteLength)
      })
    } finally {
      this.#writing--
      this.#release()
    }
  }

  #wrote(offset: number, length: number): number {
    this.#map.wrote(offset, offset + length)
    this.#count(offset)
    this.#record?.wrote(offset, offset + length, this.#mtime)
    return length
  }

  #changed(from: number): void {
    this.#count(from)
    this.#record?.changed()
  }

  #count(from: number): void {
    this.#countRanges()
    this.early?.changed(from)
    this.#mtime = timeAfter(this.#mtime)
    this.changes++
  }

  truncate(size: number): void {
    const isCut = size < this.size
    this.#map.truncate(size)
    if (isCut) this.#store.drop(size, Number.POSITIVE_INFINITY)
    this.#changed(size)
  }

  /**
   * Makes [start, end), within the size or not, read as zeros, and gives back what memory it took. The size stays. A promise only
   * if it has to wait for a disk or the storage.
   */
  punch(start: number, end: number): undefined | Promise<void> {
    const last = Math.min(end, this.size)
    if (start >= last) return undefined
    if (this.#inTurn > 0 || this.#isCrowded) return this.#punchInTurn(start, last)
    this.#punched(start, last)
    return undefined
  }

  async #punchInTurn(start: number, end: number): Promise<void> {
    this.#writing++
    try {
      await this.#takeTurn(() =>
        this.#isCrowded ? this.#punchBlocks(start, end) : this.#punched(start, end),
      )
    } finally {
      this.#writing--
      this.#release()
    }
  }

  #punched(start: number, end: number): void {
    const last = Math.min(end, this.size)
    if (start >= last) return
    this.#map.punch(start, last)
    this.#store.drop(start, last)
    this.#changed(start)
  }

  /** Whole blocks become holes; for parts of blocks zeros are written. */
  async #punchBlocks(start: number, end: number): Promise<void> {
    const first = Math.min(end, Math.ceil(start / BLOCK) * BLOCK)
    const after = Math.max(first, Math.floor(end / BLOCK) * BLOCK)
    this.#punched(first, after)
    for (const [from, to] of [
      [start, first],
      [after, end],
    ] as const) {
      const last = Math.min(to, this.size)
      if (from >= last) continue
      await this.#fillAround(from, last)
      await this.#store.put(from, new Uint8Array(last - from))
      this.#map.wrote(from, Math.min(last, this.size))
      this.#changed(from)
    }
  }

  /** The file counts as changed now, even if no byte is. */
  touch(): void {
    this.changes++
    this.mtime = timeAfter(this.#mtime)
  }

  // Ranges

  seek(offset: number, wanted: 'data' | 'hole'): number | undefined {
    return this.#map.seek(offset, wanted)
  }

  pieces(): ReturnType<FileMap['pieces']> {
    return this.#map.pieces()
  }

  get #isCrowded(): boolean {
    return this.#budget.isCrowded(this.#map.ranges)
  }

  #countRanges(): void {
    const { ranges } = this.#map
    this.#budget.ranges += ranges - this.#countedRanges
    this.#countedRanges = ranges
  }

  /** Runs `task` with no other change of bytes under way, but for cuts and holes. */
  async #takeTurn<T>(task: () => T | Promise<T>): Promise<T> {
    this.#inTurn++
    try {
      return await this.#turns.run(async () => {
        await Promise.allSettled(this.#slow)
        return task()
      })
    } finally {
      this.#inTurn--
    }
  }

  /** Writes here what shows around [start, end) in the blocks at its ends, so that the blocks are one range each. */
  async #fillAround(start: number, end: number): Promise<void> {
    await this.#copy(Math.floor(start / BLOCK) * BLOCK, start)
    await this.#copy(end, Math.ceil(end / BLOCK) * BLOCK)
  }

  /** Copies what shows in [start, end) into the staging store, zeros too. */
  async #copy(start: number, end: number): Promise<void> {
    for (let at = start; at < Math.min(end, this.size); ) {
      const pieceEnd = this.#map.pieceEnd(at, Math.min(end, this.size, at + COPY_STEP))
      const place = this.#map.placeOf(at)
      if (place !== 'written') await this.#copyPiece(at, pieceEnd, place)
      at = pieceEnd
    }
  }

  async #copyPiece(start: number, end: number, place: 'base' | 'hole'): Promise<void> {
    const copy = new Gathered(end - start)
    const mark = this.#map.mark()
    try {
      if (place === 'base') await this.#cache.read(this.#base!, start, end, copy)
      await this.#store.put(start, copy.bytes)
      this.#map.copied(start, end, place, mark)
    } finally {
      this.#map.release(mark)
    }
    this.#countRanges()
  }

  /** Copies what shows of the base into the staging store: the base is about to vanish from the storage. Writes wait. */
  detach(): Promise<void> {
    this.#detaching ??= this.#takeTurn(() => this.#copyBase()).finally(() => {
      this.#detaching = undefined
    })
    return this.#detaching
  }

  async #copyBase(): Promise<void> {
    for (let at = 0; at < this.#map.baseEnd; ) {
      const pieceEnd = this.#map.pieceEnd(at, Math.min(this.#map.baseEnd, at + COPY_STEP))
      if (this.#map.placeOf(at) === 'base') await this.#copyPiece(at, pieceEnd, 'base')
      at = pieceEnd
    }
    this.#base = undefined
    this.#map.dropBase()
    this.#countRanges()
    this.#record?.changed()
  }

  // Reading

  /** Writes [offset, end), within the size, to `out`; a promise only if it has to wait for a disk or the storage. */
  read(offset: number, end: number, out: FileSink): undefined | Promise<void> {
    let at = offset
    while (at < end) {
      const pieceEnd = this.#map.pieceEnd(at, end)
      const place = this.#map.placeOf(at)
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
        const pieceEnd = this.#map.pieceEnd(at, end)
        const place = this.#map.placeOf(at)
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

  /** The first `size` bytes in order, for publication, a part at a time. A part is the caller's until it asks for the next. */
  async *parts(size: number, partBytes: number): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < size; at += partBytes) {
      const part = new Gathered(Math.min(partBytes, size - at))
      // A truncation since the start leaves zeros at the end: the publication after it will say so.
      await this.read(at, Math.min(at + part.bytes.byteLength, Math.max(at, this.size)), part)
      yield part.bytes
    }
  }

  /** Writes what of the base's [start, end) memory has, from `start` on: the storage may have lost it. */
  salvageBase(start: number, end: number, out: FileSink): boolean {
    return this.#base !== undefined && this.#cache.readNow(this.#base, start, end, out)
  }

  // Publication

  /** To be called before bytes are gathered that may become the base; to be given back to `release`. */
  mark(): Mark {
    return this.#map.mark()
  }

  release(mark: Mark): void {
    this.#map.release(mark)
  }

  /** The storage now has `published`, gathered since `mark`: it is the version under the changes that came since. */
  rebase(published: Content, mark: Mark): void {
    this.#base = published
    this.#map.rebase(published.size, mark)
    this.#countRanges()
    this.#record?.rebased()
  }

  /** As far as the base shows, the storage has it in this version too. */
  restand(version: Content): void {
    if (this.#base === undefined) return
    this.#base = version
    this.#map.clipBase(version.size)
  }

  /** Gives memory and disk back, once the reads and writes under way are done. */
  close(): void {
    this.#closed = true
    this.early?.giveUp('the file is not to be published')
    this.#release()
  }

  #release(): void {
    if (!this.#closed || this.#reading > 0 || this.#writing > 0) return
    this.#store.close()
    this.#budget.ranges -= this.#countedRanges
    this.#countedRanges = 0
  }
}
