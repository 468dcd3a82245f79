// A set of byte positions, kept as sorted, disjoint, non-touching half-open ranges. A file that is written from front to back
// is one range; each isolated write adds one.

export class RangeSet {
  readonly #starts: number[] = []
  readonly #ends: number[] = []

  get count(): number {
    return this.#starts.length
  }

  /** Adds [start, end). */
  add(start: number, end: number): void {
    if (start >= end) return
    const first = this.#firstEndingAtOrAfter(start)
    let after = first
    let from = start
    let to = end
    while (after < this.#starts.length && this.#starts[after]! <= end) {
      from = Math.min(from, this.#starts[after]!)
      to = Math.max(to, this.#ends[after]!)
      after++
    }
    if (after === first + 1) {
      this.#starts[first] = from
      this.#ends[first] = to
    } else {
      this.#starts.splice(first, after - first, from)
      this.#ends.splice(first, after - first, to)
    }
  }

  /** Removes [start, end). */
  remove(start: number, end: number): void {
    if (start >= end) return
    const first = this.#firstEndingAtOrAfter(start + 1)
    let after = first
    const starts: number[] = []
    const ends: number[] = []
    for (; after < this.#starts.length && this.#starts[after]! < end; after++) {
      if (this.#starts[after]! < start) {
        starts.push(this.#starts[after]!)
        ends.push(start)
      }
      if (this.#ends[after]! > end) {
        starts.push(end)
        ends.push(this.#ends[after]!)
      }
    }
    this.#starts.splice(first, after - first, ...starts)
    this.#ends.splice(first, after - first, ...ends)
  }

  /** Removes everything at and after `limit`. */
  clip(limit: number): void {
    const first = this.#firstEndingAtOrAfter(limit)
    let keep = first
    if (first < this.#starts.length && this.#starts[first]! < limit) {
      this.#ends[first] = limit
      keep = first + 1
    }
    this.#starts.length = keep
    this.#ends.length = keep
  }

  clear(): void {
    this.#starts.length = 0
    this.#ends.length = 0
  }

  /** Where membership changes next after `position`, at most `limit`: the end of the piece that begins there. */
  pieceEnd(position: number, limit: number): number {
    const i = this.#firstEndingAtOrAfter(position + 1)
    if (i >= this.#starts.length) return limit
    const edge = this.#starts[i]! <= position ? this.#ends[i]! : this.#starts[i]!
    return Math.min(edge, limit)
  }

  has(position: number): boolean {
    const i = this.#firstEndingAtOrAfter(position + 1)
    return i < this.#starts.length && this.#starts[i]! <= position
  }

  *[Symbol.iterator](): Generator<readonly [start: number, end: number]> {
    for (let i = 0; i < this.#starts.length; i++) yield [this.#starts[i]!, this.#ends[i]!]
  }

  #firstEndingAtOrAfter(position: number): number {
    const ends = this.#ends
    // Appending is the common case.
    if (ends.length === 0 || ends[ends.length - 1]! < position) return ends.length
    let low = 0
    let high = ends.length - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if (ends[middle]! < position) low = middle + 1
      else high = middle
    }
    return low
  }
}
