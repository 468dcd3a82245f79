// Carries requests from a client to a server in the same process, through spans cut wherever a test wants.

import { type FuseServer, type FuseTransport, type Spans, spansOf } from '../src/index.ts'

/** Lengths of the pieces of a stream; asked again and again until the stream is used up. */
export type Cut = () => number

/** Pieces that each lie at an odd place of a buffer of their own, so that offsets and alignment matter. */
export function cutSpans(
  bytes: Uint8Array,
  cut: Cut,
): { spans: Spans; read(length: number): Uint8Array; surroundingsIntact(): boolean } {
  const pieces: Uint8Array[] = []
  const views: DataView[] = []
  const buffers: Uint8Array[] = []
  const offsets: number[] = []
  const lengths: number[] = []
  for (let at = 0; at < bytes.byteLength; ) {
    const length = Math.min(Math.max(1, cut()), bytes.byteLength - at)
    const offset = 1 + (lengths.length % 7)
    const buffer = new Uint8Array(offset + length + 3).fill(0xa5)
    buffer.set(bytes.subarray(at, at + length), offset)
    buffers.push(buffer)
    views.push(new DataView(buffer.buffer))
    offsets.push(offset)
    lengths.push(length)
    pieces.push(buffer.subarray(offset, offset + length))
    at += length
  }
  const spans = {
    count: lengths.length,
    byteLength: bytes.byteLength,
    views,
    bytes: buffers,
    offsets,
    lengths,
  }
  return {
    spans,
    read: length => joined(pieces).subarray(0, length),
    surroundingsIntact: () =>
      buffers.every((buffer, i) =>
        buffer.every((byte, at) => byte === 0xa5 || (at >= offsets[i]! && at < offsets[i]! + lengths[i]!)),
      ),
  }
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.byteLength
  }
  return bytes
}

/** Delivers to `server`; each reply must be completed once, with no more than it had room for. */
export function memoryTransport(
  server: () => FuseServer,
  cut: Cut = () => Number.POSITIVE_INFINITY,
): FuseTransport {
  return {
    submit: (request, replyCapacity) =>
      new Promise((resolve, reject) => {
        const readable = cutSpans(joined(request), cut)
        const writable = cutSpans(new Uint8Array(replyCapacity), cut)
        let completed = false
        server().handle({
          readable: readable.spans,
          writable: writable.spans,
          complete: written => {
            if (completed) reject(new Error('completed twice'))
            if (written > replyCapacity) reject(new Error(`${written} bytes written of ${replyCapacity}`))
            completed = true
            if (!writable.surroundingsIntact())
              reject(new Error('bytes were written beside the writable part'))
            resolve(writable.read(written))
          },
        })
      }),
  }
}

export interface Exchange {
  /** What `complete` was called with; undefined while it was not. */
  written: number | undefined
  reply: Uint8Array
}

/** Hands bytes to a server as Linux lays them out: header, arguments, reply header and reply body in a span each. */
export function exchange(server: FuseServer, request: Uint8Array, replyRoom: number): Exchange {
  const result: Exchange = { written: undefined, reply: new Uint8Array(replyRoom) }
  server.handle({
    readable: spansOf([request.subarray(0, 40), request.subarray(40)]),
    writable: spansOf([result.reply.subarray(0, 16), result.reply.subarray(16)]),
    complete: written => {
      if (result.written !== undefined) throw new Error('completed twice')
      result.written = written
    },
  })
  return result
}
