// A FUSE session as bytes, so that another server can go on with it without a new INIT: what INIT agreed, and behind it what the
// handler says about its nodes and handles. The reader trusts none of it.

import { FUSE_KERNEL_VERSION, FUSE_OLDEST_MINOR_VERSION } from './constants.ts'
import { FuseProtocolError } from './protocol-error.ts'
import { InitOut } from './structs.ts'

/** `ovfs`, and a number that grows with every change of what follows. */
const MAGIC = 0x7366_766f
const VERSION = 1

/** le32 magic, version, flags, length of the handler's part; fuse_init_out; the handler's part. */
const FLAGS_AT = 8
const LENGTH_AT = 12
const INIT_AT = 16
const HANDLER_AT = INIT_AT + InitOut.size
const HAS_SESSION = 1

export interface SavedSession {
  /** Undefined if there was no session. */
  readonly negotiated: InitOut | undefined
  readonly handler: Uint8Array
}

export function encodeSession({ negotiated, handler }: SavedSession): Uint8Array {
  const bytes = new Uint8Array(HANDLER_AT + handler.byteLength)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, MAGIC, true)
  view.setUint32(4, VERSION, true)
  view.setUint32(FLAGS_AT, negotiated ? HAS_SESSION : 0, true)
  view.setUint32(LENGTH_AT, handler.byteLength, true)
  if (negotiated) InitOut.encode(negotiated, view, INIT_AT)
  bytes.set(handler, HANDLER_AT)
  return bytes
}

/** Throws FuseProtocolError BAD_STATE. */
export function decodeSession(bytes: Uint8Array): SavedSession {
  if (bytes.byteLength < HANDLER_AT) throw badState('is too short', bytes.byteLength, 0)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0, true) !== MAGIC) throw badState('is none', bytes.byteLength, 0)
  const version = view.getUint32(4, true)
  if (version !== VERSION) throw badState(`has version ${version}`, bytes.byteLength, 4)
  const flags = view.getUint32(FLAGS_AT, true)
  if (flags > HAS_SESSION) throw badState(`has flags ${flags}`, bytes.byteLength, FLAGS_AT)
  const handler = bytes.slice(HANDLER_AT)
  if (view.getUint32(LENGTH_AT, true) !== handler.byteLength) {
    throw badState('has another length than it says', bytes.byteLength, LENGTH_AT)
  }
  if (flags === 0) return { negotiated: undefined, handler }
  const negotiated = InitOut.decode(view, INIT_AT)
  const { major, minor, maxWrite } = negotiated
  // What no INIT of this package agrees to, no session has.
  if (major !== FUSE_KERNEL_VERSION || minor < FUSE_OLDEST_MINOR_VERSION || maxWrite < 4096) {
    throw badState(
      `is of version ${major}.${minor} with writes of ${maxWrite} bytes`,
      bytes.byteLength,
      INIT_AT,
    )
  }
  return { negotiated, handler }
}

function badState(what: string, have: number, offset: number): FuseProtocolError {
  return new FuseProtocolError('BAD_STATE', `the state of a session ${what}`, {
    struct: 'session',
    offset,
    need: HANDLER_AT,
    have,
  })
}
