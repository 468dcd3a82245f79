// The bytes of a journal: a header, then records, each with its length and a checksum over length and content. What a kill or a
// power cut left of the last append does not match its checksum: reading ends before it. Zeros are no record either.

import { crc32 } from 'node:zlib'

/** Names the format and its version: another one is not read. */
const MAGIC = Buffer.from('ovfs journal 1\n\0')
export const HEADER_BYTES = MAGIC.byteLength
const PREFIX_BYTES = 8

/** One entry set, or removed if there is no value. All changes of one record happen, or none. */
export interface Change {
  readonly key: string
  readonly value?: unknown
}

export function encodeHeader(): Uint8Array {
  return new Uint8Array(MAGIC)
}

export function hasHeader(bytes: Uint8Array): boolean {
  return MAGIC.equals(bytes.subarray(0, HEADER_BYTES))
}

/** @param changes with values that JSON holds */
export function encodeRecord(changes: readonly Change[]): Uint8Array {
  // JSON escapes lone surrogates, so that any key survives.
  const content = Buffer.from(JSON.stringify(changes.map(({ key, value }) => [key, value ?? null])))
  const record = Buffer.alloc(PREFIX_BYTES + content.byteLength)
  record.writeUInt32LE(content.byteLength, 0)
  record.set(content, PREFIX_BYTES)
  record.writeUInt32LE(checksum(record), 4)
  return record
}

export interface Records {
  readonly changes: readonly (readonly Change[])[]
  /** Where the last whole record ends. */
  readonly end: number
}

/** @param bytes the whole journal, with its header */
export function decodeRecords(bytes: Uint8Array): Records {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const changes: (readonly Change[])[] = []
  let end = HEADER_BYTES
  while (end + PREFIX_BYTES <= buffer.byteLength) {
    const next = end + PREFIX_BYTES + buffer.readUInt32LE(end)
    if (next > buffer.byteLength) break
    const record = buffer.subarray(end, next)
    const decoded = record.readUInt32LE(4) === checksum(record) ? decodeContent(record) : undefined
    if (decoded === undefined) break
    changes.push(decoded)
    end = next
  }
  return { changes, end }
}

function checksum(record: Buffer): number {
  return crc32(record.subarray(PREFIX_BYTES), crc32(record.subarray(0, 4)))
}

function decodeContent(record: Buffer): readonly Change[] | undefined {
  let content: unknown
  try {
    content = JSON.parse(record.subarray(PREFIX_BYTES).toString())
  } catch {
    return undefined
  }
  if (!Array.isArray(content) || !content.every(isPair)) return undefined
  return content.map(([key, value]) => (value === null ? { key } : { key, value }))
}

function isPair(value: unknown): value is [string, unknown] {
  return Array.isArray(value) && value.length === 2 && typeof value[0] === 'string'
}
