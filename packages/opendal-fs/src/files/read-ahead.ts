// Guesses what a reader of one handle wants next. A reader that goes forward gets a window of parallel fetches ahead of it; the
// window doubles each time the reader has to wait all the same, and collapses when it jumps.

import { type BlockCache, type Content, EXTENT } from './block-cache.ts'

const SMALLEST_WINDOW = 256 << 10
const LARGEST_WINDOW = 32 << 20
/** A guest kernel sends the pieces of one sequential read out of order: so far from the expected place still counts. */
const SLACK = 1 << 20

export class ReadAhead {
  readonly #cache: BlockCache
  #expected = 0
  #window = 0
  /** Everything before this offset has been asked for. */
  #requested = 0

  constructor(cache: BlockCache) {
    this.#cache = cache
  }

  /** To be told of every read, before it; `stalled` if it will wait for the storage. */
  observe(content: Content, offset: number, end: number, stalled: boolean): void {
    const distance = offset - this.#expected
    if (distance > SLACK || distance < -SLACK) {
      this.#window = 0
      this.#requested = end
      this.#expected = end
      return
    }
    if (end > this.#expected) this.#expected = end
    // The first read of a handle, at its start, is not yet a sequence.
    else if (!stalled) return
    if (offset === 0) return
    if (stalled) {
      const largest = Math.min(LARGEST_WINDOW, this.#cache.limit / 8)
      this.#window = Math.min(Math.max(SMALLEST_WINDOW, this.#window * 2), largest)
    }
    if (this.#window === 0) return
    const from = Math.max(this.#requested, end)
    let until = Math.min(end + this.#window, content.size)
    // Whole extents once the window has room for some: fewer and larger requests.
    if (this.#window >= 2 * EXTENT && until < content.size) until -= until % EXTENT
    if (until - from < Math.min(this.#window / 4, EXTENT) && until < content.size) return
    const most = Math.min(until, from + this.#cache.spare)
    if (most <= from) return
    this.#cache.request(content, from, most)
    this.#requested = most
  }
}
