// Where each byte of a file with unpublished changes comes from: written here, shown of the version that the changes started from
// (the base), or neither, which reads as zeros. No bytes, only ranges; nothing here waits.

import { RangeSet } from './range-set.ts'

export type Place = 'written' | 'base' | 'hole'

/** What was cut off or punched since a moment: it does not come back with a version from that moment. */
export interface Mark {
  smallest: number
  readonly holes: RangeSet
}

export type Ranges = readonly (readonly [start: number, end: number])[]

export class FileMap {
  size: number
  readonly #written = new RangeSet()
  /** Bytes of the base at and after this offset are gone. */
  #baseEnd: number
  /** Bytes of the base before that which are gone too. */
  #holes = new RangeSet()
  readonly #marks = new Set<Mark>()

  /** @param size of the base; 0 if there is none */
  constructor(size: number) {
    this.size = size
    this.#baseEnd = size
  }

  /** How many ranges it takes: a measure of its memory. */
  get ranges(): number {
    return this.#written.count + this.#holes.count
  }

  /** Nothing of the base at and after this offset shows. */
  get baseEnd(): number {
    return this.#baseEnd
  }

  /** Bytes from the start that are all written here, with nothing of the base left anywhere. */
  get front(): number {
    return this.#baseEnd === 0 && this.#written.has(0) ? this.#written.pieceEnd(0, this.size) : 0
  }

  get written(): Ranges {
    return [...this.#written]
  }

  /** Bytes before `baseEnd` that are gone too. */
  get holes(): Ranges {
    return [...this.#holes]
  }

  /** As it was in another process; nothing has been written here yet. */
  resume(size: number, written: Ranges, baseEnd: number, holes: Ranges): void {
    this.size = size
    this.#baseEnd = baseEnd
    for (const [start, end] of written) this.#written.add(start, end)
    for (const [start, end] of holes) this.#holes.add(start, end)
  }

  wrote(start: number, end: number): void {
    if (start >= end) return
    this.#written.add(start, end)
    if (end > this.size) this.size = end
  }

  /** [start, end) of `place` is written here from now on, but for what was cut or punched since `mark`. */
  copied(start: number, end: number, place: 'base' | 'hole', mark: Mark): void {
    const last = Math.min(end, mark.smallest)
    for (let at = start; at < last; ) {
      const pieceEnd = mark.holes.pieceEnd(at, this.pieceEnd(at, last))
      if (this.placeOf(at) === place && !mark.holes.has(at)) this.#written.add(at, pieceEnd)
      at = pieceEnd
    }
  }

  truncate(size: number): void {
    this.#written.clip(size)
    this.#baseEnd = Math.min(this.#baseEnd, size)
    for (const mark of this.#marks) mark.smallest = Math.min(mark.smallest, size)
    this.size = size
  }

  /** [start, end), within the size, reads as zeros from now on. */
  punch(start: number, end: number): void {
    this.#written.remove(start, end)
    for (const { holes } of this.#marks) holes.add(start, end)
    if (start < this.#baseEnd) this.#holes.add(start, Math.min(end, this.#baseEnd))
  }

  placeOf(at: number): Place {
    if (this.#written.has(at)) return 'written'
    return at < this.#baseEnd && !this.#holes.has(at) ? 'base' : 'hole'
  }

  /** The end of the piece at `at` that comes from one place, at most `end`. */
  pieceEnd(at: number, end: number): number {
    const pieceEnd = this.#written.pieceEnd(at, end)
    return at < this.#baseEnd ? this.#holes.pieceEnd(at, Math.min(pieceEnd, this.#baseEnd)) : pieceEnd
  }

  /** Where the bytes come from, in order. What is left out is zeros. */
  *pieces(): Generator<readonly [start: number, end: number, from: 'written' | 'base']> {
    for (let at = 0; at < this.size; ) {
      const end = this.pieceEnd(at, this.size)
      const place = this.placeOf(at)
      if (place !== 'hole') yield [at, end, place]
      at = end
    }
  }

  /** The first byte of data at or after `offset`, or of a hole: the end of the file counts as one. Undefined if there is none. */
  seek(offset: number, wanted: 'data' | 'hole'): number | undefined {
    if (offset >= this.size) return undefined
    for (let at = offset; at < this.size; at = this.pieceEnd(at, this.size)) {
      if ((this.placeOf(at) === 'hole') === (wanted === 'hole')) return at
    }
    return wanted === 'hole' ? this.size : undefined
  }

  /** To be called before bytes are gathered that may become the base; to be given back to `release`. */
  mark(): Mark {
    const mark: Mark = { smallest: this.size, holes: new RangeSet() }
    this.#marks.add(mark)
    return mark
  }

  release(mark: Mark): void {
    this.#marks.delete(mark)
  }

  /** A version of `size` bytes, gathered since `mark`, is under the changes that came since; none if the size is 0. */
  rebase(size: number, mark: Mark): void {
    this.#baseEnd = Math.min(size, mark.smallest)
    this.#holes = mark.holes
    this.#holes.clip(this.#baseEnd)
    this.release(mark)
  }

  /** The base has only so many bytes. */
  clipBase(size: number): void {
    this.#baseEnd = Math.min(this.#baseEnd, size)
  }

  /** Nothing of the base shows any more. */
  dropBase(): void {
    this.#baseEnd = 0
    this.#holes.clear()
  }
}
