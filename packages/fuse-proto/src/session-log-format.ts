// The bytes of a session's log, and how they are read. The one who wrote them was killed at any moment, which leaves at most the
// last entry half written, or the last ones that belong together, the first of them without its kind. Everything else that is not
// as it was written is damage, and is found: a file that somebody has shortened or changed must not be taken for a shorter session.

export interface SessionEntry {
  readonly kind: number
  readonly value: unknown
  readonly first: number
  readonly second: number
}

/** `ovfs log`, and a number that grows with every change of the format. */
export const MAGIC = [0x7366_766f, 0x0267_6f6c] as const
const VERSION = 0xff00_0000
/** Le32 magic twice, le32 where the last entry ends, at least. */
export const HEADER_BYTES = 16
export const END_AT = 2
/** le32 bytes of JSON, u8 kind, le24 checksum of both, two le64 floats; the JSON follows, padded to 8 bytes. */
export const ENTRY_BYTES = 24
/** The first entry: what the log belongs to, and as its first number the bytes of the memory. */
export const IDENTITY = 0xff
const PRIME = 0x0100_0193

/** The word of kind and checksum, for JSON of so many bytes that stands at a multiple of 8, with zeros up to the next one. */
export function kindWord(kind: number, words: Uint32Array, at: number, length: number): number {
  let sum = Math.imul(kind ^ length, PRIME)
  for (let i = at >>> 2; i << 2 < at + length; i++) {
    sum = Math.imul(sum ^ words[i]!, PRIME)
    sum ^= sum >>> 15
  }
  return ((sum << 8) | kind) >>> 0
}

/** The bytes of an entry with so many bytes of JSON, the prefix included. */
export function entryBytes(length: number): number {
  return ENTRY_BYTES + ((length + 7) & ~7)
}

/** Empty if it is the log of something else, or of another version. Throws TypeError if it is damaged. */
export function readEntries(buffer: ArrayBuffer, identity: string): SessionEntry[] {
  const words = new Uint32Array(buffer)
  const magic = words[1]! ^ MAGIC[1]
  if (words[0] !== MAGIC[0] || (magic & ~VERSION) !== 0) throw new TypeError('the log of the session is none')
  if (magic !== 0) return []
  const [head, ...entries] = entriesOf(buffer, words)
  if (head?.kind !== IDENTITY || head.first !== buffer.byteLength)
    throw new TypeError(`the log of the session has ${buffer.byteLength} bytes, of ${head?.first}`)
  return head.value === identity ? entries : []
}

function* entriesOf(buffer: ArrayBuffer, words: Uint32Array): Generator<SessionEntry> {
  const bytes = new Uint8Array(buffer)
  const numbers = new Float64Array(buffer)
  let at = HEADER_BYTES
  while (at + ENTRY_BYTES <= buffer.byteLength) {
    const word = words[(at >>> 2) + 1]!
    if (word === 0) break
    const length = words[at >>> 2]!
    const start = at + ENTRY_BYTES
    if (length > buffer.byteLength - start) throw new TypeError(`an entry at ${at} has ${length} bytes`)
    const kind = word & 0xff
    if (kindWord(kind, words, start, length) !== word)
      throw new TypeError(`the entry at ${at} is not what was written`)
    const [first, second] = [numbers[(at >>> 3) + 1]!, numbers[(at >>> 3) + 2]!]
    yield { kind, value: parse(bytes.subarray(start, start + length), at), first, second }
    at += entryBytes(length)
  }
  if (at < words[END_AT]!) throw new TypeError(`the entry at ${at} is missing`)
}

function parse(bytes: Uint8Array, at: number): unknown {
  if (bytes.byteLength === 0) return undefined
  let text = ''
  for (let i = 0; i < bytes.byteLength; i += 4096)
    text += String.fromCharCode(...bytes.subarray(i, Math.min(i + 4096, bytes.byteLength)))
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new TypeError(`the entry at ${at} cannot be read`, { cause })
  }
}
