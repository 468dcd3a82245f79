// A moment of watching a ring before a kick is asked for. A driver that runs on another core often has its next request on
// the ring within a microsecond or a few of the last answer, far sooner than a kick would get here. The moment grows while
// that pays, and shrinks to nearly nothing when it does not.

/** How often the ring is looked at, at least and at most. */
const LEAST_PATIENCE = 64
const MOST_PATIENCE = 4096

export class BusyWait {
  #patience = LEAST_PATIENCE

  /** Whether `halves[at]` stops being `value` within the moment. */
  changes(halves: Uint16Array, at: number, value: number): boolean {
    for (let i = this.#patience; i > 0; i--) {
      if (Atomics.load(halves, at) !== value) {
        this.#patience = Math.min(2 * this.#patience, MOST_PATIENCE)
        return true
      }
    }
    this.#patience = Math.max(this.#patience >> 1, LEAST_PATIENCE)
    return false
  }
}
