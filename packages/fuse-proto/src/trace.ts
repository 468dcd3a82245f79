// One line for each message, made from the operations table:
//   LOOKUP #12 parent=1 "a.txt" → ENOENT 0.2ms
// Works on the bytes of request and reply, so it serves a server, a client or a recorded stream alike, and never fails:
// what cannot be decoded is shown as far as it can.

import type { FieldTable, Struct } from '@ovfs/cstruct'
import { errnoName } from './errno.ts'
import { decodeExtensions } from './extensions.ts'
import { decodeName } from './names.ts'
import { decodeNotification } from './notifications.ts'
import type { Operation } from './operation.ts'
import { OPERATION_BY_OPCODE, opcodeName } from './operations.ts'
import { InHeader, OutHeader } from './structs.ts'

const ROLE = {
  node: 'node',
  parent: 'parent',
  'new parent': 'parent',
  'old parent': 'parent',
  source: 'node',
  none: undefined,
} as const

/**
 * The line for one message.
 * @param request the request's bytes, or the first of them
 * @param reply the reply's bytes, or the first of them; empty if there is none
 * @param milliseconds how long the answer took, measured by the caller
 */
export function formatMessage(request: Uint8Array, reply: Uint8Array, milliseconds?: number): string {
  const time = milliseconds === undefined ? '' : ` ${milliseconds.toFixed(1)}ms`
  return `${formatRequest(request)} → ${formatReply(request, reply)}${time}`
}

export function formatRequest(request: Uint8Array): string {
  if (request.byteLength < InHeader.size) return `${request.byteLength} bytes, too few for a request`
  const view = viewOf(request)
  const opcode = view.getUint32(InHeader.offsets.opcode, true)
  const unique = view.getBigUint64(InHeader.offsets.unique, true)
  const words = [`${opcodeName(opcode)} #${unique}`]
  const row = OPERATION_BY_OPCODE[opcode]
  const role = row && ROLE[row.node]
  if (role) words.push(`${role}=${view.getBigUint64(InHeader.offsets.nodeid, true)}`)
  if (row) words.push(...formatArguments(row, request))
  words.push(...formatExtensions(request))
  return words.join(' ')
}

/** Names of security contexts, and groups; their values can be anything. */
function formatExtensions(request: Uint8Array): string[] {
  const view = viewOf(request)
  const length = view.getUint16(InHeader.offsets.totalExtlen, true) * 8
  const end = view.getUint32(InHeader.offsets.len, true)
  if (length === 0) return []
  if (end > request.byteLength || length > end) return [`extensions of ${length} bytes`]
  try {
    const { securityContexts = [], groups } = decodeExtensions(request.subarray(end - length, end))
    const words = securityContexts.map(({ name }) => `secctx=${quote(name)}`)
    return groups ? [...words, `groups=${groups.join(',')}`] : words
  } catch (error) {
    return [`extensions that make no sense: ${(error as Error).message}`]
  }
}

/** The line for a message that the file system sends unasked. */
export function formatNotification(bytes: Uint8Array): string {
  try {
    const { code, ...fields } = decodeNotification(bytes)
    const words = Object.entries(fields).map(([name, value]) => {
      if (value instanceof Uint8Array) return `${value.byteLength} bytes`
      return typeof value === 'string' ? quote(value) : `${name}=${value}`
    })
    return ['NOTIFY', code, ...words].join(' ')
  } catch (error) {
    return `NOTIFY that makes no sense: ${(error as Error).message}`
  }
}

function formatArguments(row: Operation, request: Uint8Array): string[] {
  const words: string[] = []
  let at: number = InHeader.size
  if (row.request) {
    words.push(...formatFields(row.request, request, at))
    at += row.requestSize
  }
  for (let i = 0; i < (row.names ?? 0); i++) {
    const end = request.indexOf(0, at)
    if (end < 0) break
    words.push(quote(decodeName(request, at, end)))
    at = end + 1
  }
  return words
}

export function formatReply(request: Uint8Array, reply: Uint8Array): string {
  if (reply.byteLength === 0) return 'no reply'
  if (reply.byteLength < OutHeader.size) return `${reply.byteLength} bytes, too few for a reply`
  const view = viewOf(reply)
  const error = view.getInt32(OutHeader.offsets.error, true)
  if (error !== 0) return errnoName(-error)
  const opcode =
    request.byteLength < InHeader.size ? 0 : viewOf(request).getUint32(InHeader.offsets.opcode, true)
  const row = OPERATION_BY_OPCODE[opcode]
  const words: string[] = []
  let at: number = OutHeader.size
  for (const part of row?.reply ?? []) {
    words.push(...formatFields(part, reply, at))
    at += part.size
  }
  const tail = view.getUint32(OutHeader.offsets.len, true) - at
  if (row?.replyTail && tail > 0) words.push(`${tail} bytes`)
  return words.length === 0 ? 'ok' : words.join(' ')
}

/** The fields that are not zero, those of inner structures too. */
function formatFields(table: Struct<FieldTable>, bytes: Uint8Array, at: number): string[] {
  const view = viewOf(bytes)
  const words: string[] = []
  for (const [name, field] of Object.entries(table.fields)) {
    const offset = at + (table.offsets[name] as number)
    if (field.isPadding || offset + field.size > bytes.byteLength) continue
    if ('fields' in field) {
      words.push(...formatFields(field as unknown as Struct<FieldTable>, bytes, offset))
      continue
    }
    const value = field.size === 8 ? view.getBigUint64(offset, true) : field.decode(view, offset)
    if (Number(value) === 0) continue
    words.push(`${name}=${formatNumber(name, value as number | bigint)}`)
  }
  return words
}

/** Permissions in octal and sets of bits in hexadecimal, as one reads them elsewhere. */
function formatNumber(name: string, value: number | bigint): string {
  if (name === 'mode' || name === 'umask') return `0${value.toString(8)}`
  return /flags|^valid$|mask$/i.test(name) ? `0x${value.toString(16)}` : value.toString()
}

const quote = (name: string) => JSON.stringify(name)

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
