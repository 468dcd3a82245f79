// The one error class of the package. `code` is stable and is what programs should look at; the message is for people.

export type VhostUserErrorCode =
  /** A system call failed; `syscall` and `errno` say which and how. */
  | 'SYSTEM_CALL'
  /** Not Linux on a 64-bit little-endian machine. */
  | 'UNSUPPORTED_PLATFORM'
  /** Another process listens on the socket path. */
  | 'SOCKET_IN_USE'
  /** The socket path holds something that is not a socket. */
  | 'NOT_A_SOCKET'
  /** The socket path does not fit in a Unix socket address. */
  | 'PATH_TOO_LONG'
  /** A second front-end came while one is served. */
  | 'BUSY'
  /** The header has a wrong version or flags, or promises more than a message can hold. */
  | 'BAD_HEADER'
  /** The request id is in no table. */
  | 'UNKNOWN_REQUEST'
  /** The request is known, but nothing here implements it. */
  | 'UNSUPPORTED_REQUEST'
  /** The request needs a feature that was not negotiated. */
  | 'NOT_NEGOTIATED'
  /** The payload has the wrong size or a value that the message does not allow. */
  | 'BAD_PAYLOAD'
  /** Too many, too few or the wrong kind of file descriptors. */
  | 'BAD_DESCRIPTORS'
  /** Features were accepted that were never offered. */
  | 'BAD_FEATURES'
  /** A ring index, size or address is not acceptable. */
  | 'BAD_RING'
  /** A memory region is not acceptable. */
  | 'BAD_MEMORY'
  /** The device behind the back-end could not do what was asked; `cause` says why. The session goes on. */
  | 'DEVICE'
  /** The device could not be reset or stopped; `cause` says why. The session cannot go on. */
  | 'DEVICE_LOST'
  /** The peer answered with something that is not the reply to the request. */
  | 'BAD_REPLY'
  /** The back-end answered the request with a failure. */
  | 'REFUSED'
  /** The peer went away in the middle of a message, or with requests unanswered. */
  | 'PEER_CLOSED'
  /** The session was closed on this side. */
  | 'CLOSED'
  /** The service manager did not keep what it was given for the next process. */
  | 'FD_STORE'
  /** What a predecessor left of a session is not enough to go on with it. */
  | 'TAKEOVER'

export interface VhostUserErrorDetail {
  readonly cause?: unknown
  readonly syscall?: string
  readonly errno?: string
}

export class VhostUserError extends Error {
  readonly code: VhostUserErrorCode
  /** The system call that failed, such as `bind`. */
  readonly syscall: string | undefined
  /** Its errno by name, such as `EACCES`. */
  readonly errno: string | undefined

  constructor(code: VhostUserErrorCode, message: string, detail: VhostUserErrorDetail = {}) {
    super(message, 'cause' in detail ? { cause: detail.cause } : undefined)
    this.name = 'VhostUserError'
    this.code = code
    this.syscall = detail.syscall
    this.errno = detail.errno
  }
}
