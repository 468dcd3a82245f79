// Random choices that a seed repeats exactly, with a taste for the values at which programs break.

export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** 32 bits; mulberry32. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }

  /** 0 .. below-1 */
  below(limit: number): number {
    return Math.floor((this.next() / 0x1_0000_0000) * limit)
  }

  /** True once in `odds` times. */
  oneIn(odds: number): boolean {
    return this.below(odds) === 0
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T
  }

  times<T>(most: number, make: () => T): T[] {
    return Array.from({ length: 1 + this.below(most) }, make)
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length)
    for (let at = 0; at < length; at++) bytes[at] = this.next()
    return bytes
  }

  /** A number of up to 64 bits: small, at an edge, or anything. */
  edge(bits: 16 | 32 | 64): bigint {
    const value = this.pick([
      () => BigInt(this.below(8)),
      () => BigInt(this.below(0x2000)),
      () => (1n << BigInt(this.below(bits + 1))) - BigInt(this.below(3)),
      () => (BigInt(this.next()) << 32n) | BigInt(this.next()),
    ])()
    return BigInt.asUintN(bits, value)
  }
}

/** The bytes with a few of them changed, cut off, or repeated. */
export function mutated(random: Random, bytes: Buffer): Buffer {
  const changed = Buffer.from(bytes)
  for (let count = 1 + random.below(4); count > 0 && changed.length > 0; count--) {
    const at = random.below(changed.length)
    changed[at] = random.pick([
      0,
      1,
      0x7f,
      0x80,
      0xff,
      random.below(256),
      changed[at]! ^ (1 << random.below(8)),
    ])
  }
  if (random.oneIn(6)) return changed.subarray(0, random.below(changed.length + 1))
  return random.oneIn(12) ? Buffer.concat([changed, random.bytes(random.below(64))]) : changed
}
