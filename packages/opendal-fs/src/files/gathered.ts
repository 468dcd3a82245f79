// Bytes on the host that stand in for a guest's: a known count of them gathered from a read, or given to a write.

import type { ReplyData, RequestData } from '@ovfs/fuse-proto'

export class Gathered implements ReplyData {
  readonly bytes: Uint8Array
  #length = 0

  constructor(length: number) {
    this.bytes = new Uint8Array(length)
  }

  get room(): number {
    return this.bytes.byteLength - this.#length
  }

  /** What has arrived so far. */
  get data(): Uint8Array {
    return this.bytes.subarray(0, this.#length)
  }

  write(source: Uint8Array, offset = 0, length = source.byteLength - offset): number {
    const count = Math.min(length, this.room)
    this.bytes.set(source.subarray(offset, offset + count), this.#length)
    this.#length += count
    return count
  }

  fill(length: number): number {
    const count = Math.min(length, this.room)
    this.#length += count
    return count
  }
}

export class OwnData implements RequestData {
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get byteLength(): number {
    return this.#bytes.byteLength
  }

  copyTo(target: Uint8Array, targetOffset = 0, offset = 0, length = this.byteLength - offset): number {
    target.set(this.#bytes.subarray(offset, offset + length), targetOffset)
    return length
  }
}
