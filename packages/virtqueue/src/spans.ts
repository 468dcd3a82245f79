// A byte stream that lies in several places of guest memory: the readable or the writable part of a descriptor chain.
// Parallel arrays, filled in place and reused, so that a chain costs no allocation. A span never crosses a piece of
// guest memory (see guest-memory.ts). The bytes belong to the guest, which may change them at any moment: read each
// field once, then decide on the copy.

export class Spans {
  /** Number of spans in use; entries at and after it are stale. */
  count = 0
  /** Sum of the lengths, in bytes. */
  byteLength = 0
  /** The DataView of the whole piece that span i lies in. */
  readonly views: DataView[] = []
  /** The bytes of the whole piece that span i lies in. */
  readonly bytes: Uint8Array[] = []
  /** Where span i starts within its piece, in bytes. */
  readonly offsets: number[] = []
  /** Length of span i in bytes, never 0. */
  readonly lengths: number[] = []

  push(view: DataView, bytes: Uint8Array, offset: number, length: number): void {
    const i = this.count++
    this.views[i] = view
    this.bytes[i] = bytes
    this.offsets[i] = offset
    this.lengths[i] = length
    this.byteLength += length
  }

  /**
   * As `push`, but bytes that follow the last span's in its piece make that one longer: a driver gives a descriptor for each
   * page of a large buffer, and neighbouring pages are copied at once.
   */
  append(view: DataView, bytes: Uint8Array, offset: number, length: number): void {
    const last = this.count - 1
    if (last >= 0 && this.bytes[last] === bytes && this.offsets[last]! + this.lengths[last]! === offset) {
      this.lengths[last] = this.lengths[last]! + length
      this.byteLength += length
    } else {
      this.push(view, bytes, offset, length)
    }
  }

  /** Forgets the spans: what still holds this object reads and writes zero bytes from now on. */
  clear(): void {
    this.count = 0
    this.byteLength = 0
  }

  /** Whether any span lies in one of these buffers. */
  reaches(buffers: readonly ArrayBufferLike[]): boolean {
    for (let i = 0; i < this.count; i++) {
      if (buffers.includes(this.bytes[i]!.buffer)) return true
    }
    return false
  }
}
