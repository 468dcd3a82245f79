// The bitmap in which a device says what it has written to guest memory, so that a live migration copies it again: one bit for
// each 4096 bytes of guest-physical addresses, lowest bit first. The monitor takes bits away at any moment, with an atomic
// exchange; hence the atomic OR, also for bits that seem to be set: their page may just have been copied.

import { guestStartOf } from './guest-memory.ts'
import type { Spans } from './spans.ts'

const LOG_PAGE_SIZE = 4096

export class DirtyLog {
  readonly #bitmap: Uint8Array
  readonly #marked: (() => void) | undefined
  #fresh = false

  /** @param marked told, by `announce`, that there are new bits; must not throw */
  constructor(bitmap: Uint8Array, marked?: () => void) {
    this.#bitmap = bitmap
    this.#marked = marked
  }

  /** Marks the pages of [address, address + length), guest-physical. What the bitmap does not cover is nobody's concern. */
  mark(address: number, length: number): void {
    if (length <= 0) return
    const bitmap = this.#bitmap
    const last = Math.min(Math.floor((address + length - 1) / LOG_PAGE_SIZE), bitmap.length * 8 - 1)
    let page = Math.floor(address / LOG_PAGE_SIZE)
    while (page <= last) {
      const byte = Math.floor(page / 8)
      const lowest = page % 8
      const highest = Math.min(lowest + last - page, 7)
      Atomics.or(bitmap, byte, ((2 << highest) - 1) & (0xff << lowest))
      page += highest - lowest + 1
    }
    this.#fresh = true
  }

  /** Marks every page that the spans touch. */
  markSpans(spans: Spans): void {
    for (let i = 0; i < spans.count; i++) {
      this.mark(guestStartOf(spans.bytes[i]!) + spans.offsets[i]!, spans.lengths[i]!)
    }
  }

  /** Tells who waits for it that there are new bits, if there are. */
  announce(): void {
    if (!this.#fresh) return
    this.#fresh = false
    this.#marked?.()
  }
}
