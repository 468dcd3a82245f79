// The bulk data of one request, still in guest memory: what WRITE brings and what READ takes. Both objects belong to a
// pooled request and are reused; once detached they hold no bytes, so a handler that kept one too long reaches nothing.

import type { ReplyData, RequestData } from './handler.ts'
import { copyBytes, gather, NO_SPANS, type Spans } from './spans.ts'

export class WriteData implements RequestData {
  #spans: Spans = NO_SPANS
  #position = 0
  #length = 0

  attach(spans: Spans, position: number, length: number): void {
    this.#spans = spans
    this.#position = position
    this.#length = length
  }

  detach(): void {
    this.#spans = NO_SPANS
    this.#length = 0
  }

  get byteLength(): number {
    return this.#spans.count === 0 ? 0 : this.#length
  }

  copyTo(
    target: Uint8Array,
    targetOffset = 0,
    offset = 0,
    length: number = this.byteLength - offset,
  ): number {
    const count = Math.min(length, this.byteLength - offset, target.byteLength - targetOffset)
    return count > 0 ? gather(this.#spans, this.#position + offset, target, targetOffset, count) : 0
  }
}

export class ReadData implements ReplyData {
  #spans: Spans = NO_SPANS
  #limit = 0
  /** Bytes appended so far. */
  length = 0
  /** The span that the next byte goes to, and how many bytes of it are taken. */
  #span = 0
  #taken = 0

  /** Appends from `position` of the writable part on, at most `limit` bytes, which must be there. */
  attach(spans: Spans, position: number, limit: number): void {
    this.#spans = spans
    this.#limit = limit
    this.length = 0
    this.#span = 0
    this.#taken = position
    this.#settle()
  }

  detach(): void {
    this.#spans = NO_SPANS
    this.#limit = 0
    this.length = 0
  }

  get room(): number {
    return this.#spans.count === 0 ? 0 : this.#limit - this.length
  }

  write(source: Uint8Array, offset = 0, length: number = source.byteLength - offset): number {
    const count = Math.min(length, source.byteLength - offset, this.room)
    let done = 0
    while (done < count) {
      const spans = this.#spans
      const step = Math.min(count - done, (spans.lengths[this.#span] as number) - this.#taken)
      copyBytes(
        source,
        offset + done,
        spans.bytes[this.#span] as Uint8Array,
        (spans.offsets[this.#span] as number) + this.#taken,
        step,
      )
      done += step
      this.#advance(step)
    }
    return done
  }

  fill(length: number): number {
    const count = Math.min(length, this.room)
    let done = 0
    while (done < count) {
      const spans = this.#spans
      const step = Math.min(count - done, (spans.lengths[this.#span] as number) - this.#taken)
      const start = (spans.offsets[this.#span] as number) + this.#taken
      const bytes = spans.bytes[this.#span] as Uint8Array
      bytes.fill(0, start, start + step)
      done += step
      this.#advance(step)
    }
    return done
  }

  #advance(step: number): void {
    this.length += step
    this.#taken += step
    this.#settle()
  }

  /** Moves to the span that holds the next byte, if there is one. */
  #settle(): void {
    const { lengths, count } = this.#spans
    while (this.#span < count && this.#taken >= (lengths[this.#span] as number)) {
      this.#taken -= lengths[this.#span] as number
      this.#span++
    }
  }
}
