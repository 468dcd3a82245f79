// Scatter and gather: bytes between a plain buffer and a byte stream that lies in spans. Every function takes an offset
// into the stream, moves as much as both sides hold, and returns the count; past the end that is 0. The spans may have
// been cleared in the meantime (the guest went away), so the count is the only truth.

import type { Spans } from './spans.ts'

/** Below this a loop beats `set`, whose `subarray` argument alone costs about 50 ns. */
const SMALL = 64

function within(length: number, room: number): number {
  return Math.max(Math.min(length, room), 0)
}

/** Copies bytes [offset, offset + length) of the stream to `target` at `targetOffset`; returns the count copied. */
export function copyFromSpans(
  spans: Spans,
  offset: number,
  target: Uint8Array,
  targetOffset = 0,
  length = target.length - targetOffset,
): number {
  const wanted = within(within(length, target.length - targetOffset), spans.byteLength - offset)
  let skip = offset
  let done = 0
  for (let i = 0; done < wanted; i++) {
    const spanLength = spans.lengths[i]!
    if (skip >= spanLength) {
      skip -= spanLength
      continue
    }
    const bytes = spans.bytes[i]!
    const from = spans.offsets[i]! + skip
    const to = targetOffset + done
    const part = within(wanted - done, spanLength - skip)
    if (part <= SMALL) for (let k = 0; k < part; k++) target[to + k] = bytes[from + k]!
    else target.set(bytes.subarray(from, from + part), to)
    done += part
    skip = 0
  }
  return done
}

/** Copies `length` bytes of `source` from `sourceOffset` into the stream at `offset`; returns the count copied. */
export function copyToSpans(
  spans: Spans,
  offset: number,
  source: Uint8Array,
  sourceOffset = 0,
  length = source.length - sourceOffset,
): number {
  const wanted = within(within(length, source.length - sourceOffset), spans.byteLength - offset)
  let skip = offset
  let done = 0
  for (let i = 0; done < wanted; i++) {
    const spanLength = spans.lengths[i]!
    if (skip >= spanLength) {
      skip -= spanLength
      continue
    }
    const bytes = spans.bytes[i]!
    const from = sourceOffset + done
    const to = spans.offsets[i]! + skip
    const part = within(wanted - done, spanLength - skip)
    if (part <= SMALL) for (let k = 0; k < part; k++) bytes[to + k] = source[from + k]!
    else if (part === source.length) bytes.set(source, to)
    else bytes.set(source.subarray(from, from + part), to)
    done += part
    skip = 0
  }
  return done
}

/** Sets bytes [offset, offset + length) of the stream to `value`; returns the count set. */
export function fillSpans(spans: Spans, offset: number, length: number, value = 0): number {
  const wanted = within(length, spans.byteLength - offset)
  let skip = offset
  let done = 0
  for (let i = 0; done < wanted; i++) {
    const spanLength = spans.lengths[i]!
    if (skip >= spanLength) {
      skip -= spanLength
      continue
    }
    const to = spans.offsets[i]! + skip
    const part = within(wanted - done, spanLength - skip)
    spans.bytes[i]!.fill(value, to, to + part)
    done += part
    skip = 0
  }
  return done
}
