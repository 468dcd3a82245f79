// A byte stream that lies in several places of guest memory, as the readable and the writable part of a descriptor chain
// do, and the copies in and out of it. The shape is that of the virtqueue's spans; nothing else of a virtqueue is known
// here. The bytes belong to the guest, which may change them at any moment: what is copied out is read once.

export interface Spans {
  /** Number of spans in use; entries of the arrays at and after it are stale. */
  readonly count: number
  /** Sum of the lengths, in bytes. */
  readonly byteLength: number
  /** The DataView that span i lies in. */
  readonly views: readonly DataView[]
  /** The same bytes as a Uint8Array. */
  readonly bytes: readonly Uint8Array[]
  /** Where span i starts within its view, in bytes. */
  readonly offsets: readonly number[]
  /** Length of span i in bytes. */
  readonly lengths: readonly number[]
}

/** No bytes at all: what is left to hold when the memory of a message has gone. */
export const NO_SPANS: Spans = { count: 0, byteLength: 0, views: [], bytes: [], offsets: [], lengths: [] }

/** Spans over ordinary memory, one for each part. */
export function spansOf(parts: readonly Uint8Array[]): Spans {
  const filled = parts.filter(part => part.byteLength > 0)
  return {
    count: filled.length,
    byteLength: filled.reduce((sum, part) => sum + part.byteLength, 0),
    views: filled.map(part => new DataView(part.buffer, part.byteOffset, part.byteLength)),
    bytes: filled,
    offsets: filled.map(() => 0),
    lengths: filled.map(part => part.byteLength),
  }
}

const SMALL_COPY = 64

/** Copies `length` bytes; short copies in a loop, which is cheaper than making the subarray that `set` needs. */
export function copyBytes(
  source: Uint8Array,
  sourceOffset: number,
  target: Uint8Array,
  targetOffset: number,
  length: number,
): void {
  if (length <= SMALL_COPY) {
    for (let i = 0; i < length; i++) target[targetOffset + i] = source[sourceOffset + i] as number
  } else if (sourceOffset === 0 && length === source.byteLength) {
    target.set(source, targetOffset)
  } else {
    target.set(source.subarray(sourceOffset, sourceOffset + length), targetOffset)
  }
}

/** Copies from position `position` of the stream to `target`; returns the count copied, less than `length` at the end. */
export function gather(
  spans: Spans,
  position: number,
  target: Uint8Array,
  targetOffset: number,
  length: number,
): number {
  let skip = position
  let done = 0
  for (let i = 0; i < spans.count && done < length; i++) {
    const available = spans.lengths[i] as number
    if (skip >= available) {
      skip -= available
      continue
    }
    const step = Math.min(available - skip, length - done)
    copyBytes(
      spans.bytes[i] as Uint8Array,
      (spans.offsets[i] as number) + skip,
      target,
      targetOffset + done,
      step,
    )
    done += step
    skip = 0
  }
  return done
}

/** Copies `source` into the stream from `position` on; returns the count copied, less than `length` at the end. */
export function scatter(
  spans: Spans,
  position: number,
  source: Uint8Array,
  sourceOffset: number,
  length: number,
): number {
  let skip = position
  let done = 0
  for (let i = 0; i < spans.count && done < length; i++) {
    const available = spans.lengths[i] as number
    if (skip >= available) {
      skip -= available
      continue
    }
    const step = Math.min(available - skip, length - done)
    copyBytes(
      source,
      sourceOffset + done,
      spans.bytes[i] as Uint8Array,
      (spans.offsets[i] as number) + skip,
      step,
    )
    done += step
    skip = 0
  }
  return done
}

/** Where a piece of a stream lies when it lies in one span, so that it can be read or written in place. */
export class Place {
  view: DataView = new DataView(new ArrayBuffer(0))
  bytes: Uint8Array = new Uint8Array(0)
  /** Of the piece's first byte, within `view` and `bytes`. */
  offset = 0

  /** Points at [position, position + length) of the stream; false, and unchanged, if no single span holds it. */
  find(spans: Spans, position: number, length: number): boolean {
    let skip = position
    for (let i = 0; i < spans.count; i++) {
      const available = spans.lengths[i] as number
      if (skip < available) {
        if (skip + length > available) return false
        this.view = spans.views[i] as DataView
        this.bytes = spans.bytes[i] as Uint8Array
        this.offset = (spans.offsets[i] as number) + skip
        return true
      }
      skip -= available
    }
    return false
  }

  /** Points at other memory. */
  set(view: DataView, bytes: Uint8Array, offset: number): void {
    this.view = view
    this.bytes = bytes
    this.offset = offset
  }
}
