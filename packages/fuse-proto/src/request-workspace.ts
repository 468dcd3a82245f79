// What surrounds a request: the message that it came in, the session that it belongs to, and the scratch memory and name
// decoder that all requests of a server share because each is used within one synchronous step only.

import { PATH_MAX, XATTR_SIZE_MAX } from './constants.ts'
import { NameDecoder } from './name-decoder.ts'
import type { Spans } from './spans.ts'
import { InHeader } from './structs.ts'

/** A request as it comes from a queue. */
export interface FuseMessage {
  readonly readable: Spans
  readonly writable: Spans
  /** Hands the message back with the count of bytes written; called once, or never after `FuseServer.end`. */
  complete(written: number): void
}

/** What INIT agreed, as far as the decoding of requests depends on it. */
export interface Session {
  /** FUSE_SETXATTR_EXT: the arguments of SETXATTR have 16 bytes. */
  readonly setxattrExt: boolean
  readonly maxWrite: number
}

export const NO_SESSION: Session = { setxattrExt: false, maxWrite: 0 }

/** The longest arguments with names: those of SETXATTR. */
export const ARGUMENT_BYTES = 2 * PATH_MAX + XATTR_SIZE_MAX
const REPLY_BYTES = 512

export class RequestWorkspace {
  readonly names = new NameDecoder()
  readonly header = new DataView(new ArrayBuffer(InHeader.size))
  readonly headerBytes = new Uint8Array(this.header.buffer)
  readonly argumentBytes = new Uint8Array(ARGUMENT_BYTES)
  readonly argumentView = new DataView(this.argumentBytes.buffer)
  readonly replyBytes = new Uint8Array(REPLY_BYTES)
  readonly replyView = new DataView(this.replyBytes.buffer)
}
