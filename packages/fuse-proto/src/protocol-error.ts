// The one error for messages that break the protocol: a request that this package refuses to decode, a reply that a
// client cannot believe, a value that cannot be put into a message. Failures of a file system are FsError (errno.ts).

import type { ErrnoName } from './errno.ts'

export type FuseProtocolErrorCode =
  /** The message ends before what its headers, structures or counts promise. */
  | 'TRUNCATED'
  /** A length field disagrees with the bytes that are there, or bytes follow what should be the end. */
  | 'BAD_LENGTH'
  /** A name is empty, holds `/`, or has no NUL. */
  | 'BAD_NAME'
  /** A 64-bit number is above 2^53-1. */
  | 'TOO_LARGE'
  /** The writable part has no room for the fixed reply of the operation. */
  | 'NO_ROOM'
  /** The request cannot be answered in this state of the session. */
  | 'NO_SESSION'
  /** Major version, minor version or byte order is not one that this package speaks. */
  | 'BAD_VERSION'
  /** The saved state of a session is damaged, of an unknown version, or nothing that the handler can go on with. */
  | 'BAD_STATE'
  /** A reply does not belong to the request, or its error is outside -511..0. */
  | 'BAD_REPLY'

export interface FuseProtocolErrorPlace {
  /** C name of the structure, or what else was being decoded. */
  readonly struct: string
  /** Byte offset within the whole message. */
  readonly offset: number
  /** Bytes needed there. */
  readonly need?: number
  /** Bytes there. */
  readonly have?: number
  /** What a server answers; EINVAL unless told. */
  readonly errno?: ErrnoName
  readonly cause?: unknown
}

export class FuseProtocolError extends Error {
  readonly code: FuseProtocolErrorCode
  readonly struct: string
  readonly offset: number
  readonly need: number | undefined
  readonly have: number | undefined
  /** What a server answers to the request at fault. */
  readonly errno: ErrnoName

  constructor(code: FuseProtocolErrorCode, message: string, place: FuseProtocolErrorPlace) {
    super(`${place.struct}: ${message}`, place.cause === undefined ? undefined : { cause: place.cause })
    this.name = 'FuseProtocolError'
    this.code = code
    this.struct = place.struct
    this.offset = place.offset
    this.need = place.need
    this.have = place.have
    this.errno = place.errno ?? 'EINVAL'
  }
}

export function truncated(struct: string, offset: number, need: number, have: number): FuseProtocolError {
  return new FuseProtocolError('TRUNCATED', `needs ${need} bytes at ${offset}, has ${have}`, {
    struct,
    offset,
    need,
    have,
  })
}

/** @param offset of the value within the whole message */
export function wrongLength(offset: number, need: number, have: number): FuseProtocolError {
  return new FuseProtocolError('BAD_LENGTH', `a value of ${need} bytes is announced, ${have} are there`, {
    struct: 'value',
    offset,
    need,
    have,
  })
}

/** @param offset within the whole message */
export function tooLarge(offset: number, errno: ErrnoName): FuseProtocolError {
  return new FuseProtocolError('TOO_LARGE', 'a number is above 2^53-1', {
    struct: 'arguments',
    offset,
    errno,
  })
}
