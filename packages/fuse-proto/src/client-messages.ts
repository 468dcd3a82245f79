// The client's half of the codec: a request as the bytes that a guest kernel would send, a reply checked as strictly as
// Linux checks it, and the records of a listing.

import { concatenate } from './concatenate.ts'
import { Errno, type ErrnoName, errnoName, FsError } from './errno.ts'
import { decodeName, encodeName } from './names.ts'
import type { Operation } from './operation.ts'
import { FuseProtocolError, truncated } from './protocol-error.ts'
import { Dirent, EntryOut, InHeader, OutHeader } from './structs.ts'

export interface RequestParts {
  readonly unique: bigint
  readonly node: number
  readonly uid?: number
  readonly gid?: number
  readonly pid?: number
  /** The encoded structure at the start of the arguments. */
  readonly args?: Uint8Array
  readonly names?: readonly string[]
  /** Data, or the value of an extended attribute. */
  readonly tail?: Uint8Array
  /** Extensions, a multiple of 8 bytes. */
  readonly extensions?: Uint8Array
}

/** Encodes a request in the parts that Linux makes: the header, the arguments, and the data if there is any. */
export function encodeRequest(opcode: number, parts: RequestParts): Uint8Array[] {
  const names = (parts.names ?? []).map(name => encodeName(`${name}\0`))
  const args = concatenate([parts.args ?? new Uint8Array(0), ...names])
  const tail = parts.tail ?? new Uint8Array(0)
  const extensions = parts.extensions ?? new Uint8Array(0)
  const header = InHeader.toBytes({
    len: InHeader.size + args.byteLength + tail.byteLength + extensions.byteLength,
    opcode,
    unique: parts.unique,
    nodeid: parts.node,
    uid: parts.uid ?? 0,
    gid: parts.gid ?? 0,
    pid: parts.pid ?? 0,
    totalExtlen: extensions.byteLength / 8,
  })
  return [header, args, tail, extensions].filter(part => part.byteLength > 0)
}

/**
 * Checks a reply and returns its body. Throws FsError for the errno that it carries, FuseProtocolError BAD_REPLY for what
 * no correct server sends.
 */
export function decodeReply(operation: Operation, unique: bigint, reply: Uint8Array): Uint8Array {
  if (reply.byteLength < OutHeader.size) throw badReply(`${reply.byteLength} bytes are no reply`, 0)
  const header = OutHeader.fromBytes(reply)
  if (header.len !== reply.byteLength) {
    throw badReply(`len is ${header.len}, ${reply.byteLength} bytes are there`, OutHeader.offsets.len)
  }
  if (header.unique !== unique) {
    throw badReply(`answers request ${header.unique} instead of ${unique}`, OutHeader.offsets.unique)
  }
  if (header.error !== 0) {
    const name = errnoName(-header.error)
    const known = name in Errno
    if (header.error < -511 || header.error > 0)
      throw badReply(`error is ${header.error}`, OutHeader.offsets.error)
    if (reply.byteLength > OutHeader.size) throw badReply('an error has a body', OutHeader.size)
    if (!known) throw badReply(`errno ${-header.error} is not known`, OutHeader.offsets.error)
    throw new FsError(name as ErrnoName, `${operation.name}: ${name}`)
  }
  const body = reply.subarray(OutHeader.size)
  const exact = operation.replyTail === undefined && operation.name !== 'INIT'
  if (exact && body.byteLength !== operation.replySize) {
    throw badReply(
      `${operation.name} has ${operation.replySize} bytes, got ${body.byteLength}`,
      OutHeader.size,
    )
  }
  return body
}

function badReply(message: string, offset: number): FuseProtocolError {
  return new FuseProtocolError('BAD_REPLY', message, { struct: OutHeader.cName, offset, errno: 'EIO' })
}

export interface DirectoryEntry {
  readonly name: string
  readonly ino: number
  /** DT_* */
  readonly type: number
  /** Continues after this entry. */
  readonly off: bigint
  /** From READDIRPLUS; `nodeid` 0 for `.`, `..` and entries without attributes. */
  readonly entry?: EntryOut
}

/** The records of a reply to READDIR (`plus` false) or READDIRPLUS. Throws FuseProtocolError TRUNCATED. */
export function decodeListing(body: Uint8Array, plus: boolean): DirectoryEntry[] {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  const head = plus ? EntryOut.size : 0
  const entries: DirectoryEntry[] = []
  for (let at = 0; at < body.byteLength; ) {
    const have = body.byteLength - at
    if (have < head + Dirent.size) throw truncated(Dirent.cName, at, head + Dirent.size, have)
    const dirent = Dirent.decode(view, at + head)
    const size = head + Dirent.size + dirent.namelen
    const padded = Math.ceil(size / 8) * 8
    if (padded > have) throw truncated(Dirent.cName, at, padded, have)
    const nameAt = at + head + Dirent.size
    entries.push({
      name: decodeName(body, nameAt, nameAt + dirent.namelen),
      ino: dirent.ino,
      type: dirent.type,
      off: dirent.off,
      ...(plus ? { entry: EntryOut.decode(view, at) } : {}),
    })
    at += padded
  }
  return entries
}
