// What a creating request carries behind its names: the security contexts of the new node (SECURITY_CTX) and the groups of
// the caller that matter for it (CREATE_SUPP_GROUP). Records of multiples of 8 bytes, each with its size and type in front.
// fuse_in_header.total_extlen says how many bytes they take, since minor 38.

import { concatenate } from './concatenate.ts'
import { decodeName, encodeName } from './names.ts'
import { FuseProtocolError, truncated } from './protocol-error.ts'
import { ExtHeader, Secctx, SecctxHeader, SuppGroups } from './structs-extended.ts'

/** Types up to this one are fuse_secctx_header, whose count stands in place of the type. */
const FUSE_MAX_NR_SECCTX = 31
const FUSE_EXT_GROUPS = 32
const GID_SIZE = 4

export interface SecurityContext {
  /** Of the extended attribute, such as `security.selinux`. */
  readonly name: string
  readonly value: Uint8Array
}

export interface RequestExtensions {
  /** Undefined when the guest sent no record of them; Linux sends an empty one when no security module is active. */
  readonly securityContexts: readonly SecurityContext[] | undefined
  /** Groups of the caller besides its gid, as far as the guest found them to matter. */
  readonly groups: readonly number[] | undefined
}

export const NO_EXTENSIONS: RequestExtensions = { securityContexts: undefined, groups: undefined }

const aligned = (size: number) => Math.ceil(size / 8) * 8
const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Decodes all records; those of types that are not known are passed over. Throws FuseProtocolError. */
export function decodeExtensions(bytes: Uint8Array): RequestExtensions {
  const view = viewOf(bytes)
  let { securityContexts, groups } = NO_EXTENSIONS
  for (let at = 0; at < bytes.byteLength; ) {
    const have = bytes.byteLength - at
    if (have < ExtHeader.size) throw truncated(ExtHeader.cName, at, ExtHeader.size, have)
    const { size, type } = ExtHeader.decode(view, at)
    if (size < ExtHeader.size) throw badSize(ExtHeader.cName, at, `a record of ${size} bytes`)
    if (size > have) throw truncated(ExtHeader.cName, at, size, have)
    const body = bytes.subarray(at + ExtHeader.size, at + size)
    if (type <= FUSE_MAX_NR_SECCTX) securityContexts = decodeContexts(body, type)
    else if (type === FUSE_EXT_GROUPS) groups = decodeGroups(body)
    at += aligned(size)
  }
  return { securityContexts, groups }
}

function decodeContexts(body: Uint8Array, count: number): SecurityContext[] {
  const contexts: SecurityContext[] = []
  let at = 0
  for (let i = 0; i < count; i++) {
    const have = body.byteLength - at
    if (have < Secctx.size) throw truncated(Secctx.cName, at, Secctx.size, have)
    const { size } = Secctx.decode(viewOf(body), at)
    const nameAt = at + Secctx.size
    const nameEnd = body.indexOf(0, nameAt)
    if (nameEnd <= nameAt) throw badName(at)
    const valueAt = nameEnd + 1
    if (valueAt + size > body.byteLength)
      throw truncated(Secctx.cName, valueAt, size, body.byteLength - valueAt)
    contexts.push({
      name: decodeName(body, nameAt, nameEnd),
      value: body.slice(valueAt, valueAt + size),
    })
    at += aligned(valueAt - at + size)
  }
  return contexts
}

function decodeGroups(body: Uint8Array): number[] {
  if (body.byteLength < SuppGroups.size)
    throw truncated(SuppGroups.cName, 0, SuppGroups.size, body.byteLength)
  const { nrGroups } = SuppGroups.fromBytes(body)
  const have = body.byteLength - SuppGroups.size
  if (nrGroups * GID_SIZE > have)
    throw truncated(SuppGroups.cName, SuppGroups.size, nrGroups * GID_SIZE, have)
  const view = viewOf(body)
  return Array.from({ length: nrGroups }, (_, i) => view.getUint32(SuppGroups.size + i * GID_SIZE, true))
}

/** The bytes for `RequestParts.extensions`. Throws RangeError for more contexts than the format can count. */
export function encodeExtensions(extensions: Partial<RequestExtensions>): Uint8Array {
  const { securityContexts, groups } = extensions
  const records: Uint8Array[] = []
  if (securityContexts) {
    if (securityContexts.length > FUSE_MAX_NR_SECCTX)
      throw new RangeError(`${securityContexts.length} security contexts, at most ${FUSE_MAX_NR_SECCTX}`)
    const contexts = securityContexts.map(encodeContext)
    const size = SecctxHeader.size + contexts.reduce((sum, { byteLength }) => sum + byteLength, 0)
    records.push(SecctxHeader.toBytes({ size, nrSecctx: contexts.length }), ...contexts)
  }
  if (groups) {
    const size = aligned(ExtHeader.size + SuppGroups.size + groups.length * GID_SIZE)
    const record = new Uint8Array(size)
    const view = viewOf(record)
    record.set(ExtHeader.toBytes({ size, type: FUSE_EXT_GROUPS }))
    record.set(SuppGroups.toBytes({ nrGroups: groups.length }), ExtHeader.size)
    const first = ExtHeader.size + SuppGroups.size
    for (const [i, gid] of groups.entries()) view.setUint32(first + i * GID_SIZE, gid, true)
    records.push(record)
  }
  return concatenate(records)
}

function encodeContext({ name, value }: SecurityContext): Uint8Array {
  const nameBytes = encodeName(`${name}\0`)
  const record = new Uint8Array(aligned(Secctx.size + nameBytes.byteLength + value.byteLength))
  record.set(Secctx.toBytes({ size: value.byteLength }))
  record.set(nameBytes, Secctx.size)
  record.set(value, Secctx.size + nameBytes.byteLength)
  return record
}

function badSize(struct: string, offset: number, message: string): FuseProtocolError {
  return new FuseProtocolError('BAD_LENGTH', message, { struct, offset })
}

function badName(offset: number): FuseProtocolError {
  return new FuseProtocolError('BAD_NAME', 'a security context without a name', {
    struct: Secctx.cName,
    offset,
  })
}
