// Numbers that a seed decides, so that a workload can be had again. (When the kill comes is up to the clock all the same.)

export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** Marsaglia's xorshift would be stuck at 0; a Weyl sequence through a mixer is not. */
  next(): number {
    this.#state = (this.#state + 0x9e37_79b9) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85eb_ca6b)
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35)
    return (mixed ^ (mixed >>> 16)) >>> 0
  }

  below(limit: number): number {
    return this.next() % limit
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!
  }

  /** Mostly small, sometimes of several requests. */
  size(): number {
    const kind = this.below(10)
    if (kind === 0) return 0
    return kind < 8 ? this.below(10_000) : this.below(1_500_000)
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length)
    const step = this.next() | 1
    for (let i = 0, value = this.next(); i < length; i++, value = (value + step) >>> 0)
      bytes[i] = value >>> 24
    return bytes
  }
}
