// File names on the wire are bytes; in JavaScript they are strings. UTF-8 is decoded, and each byte 0xNN that is not part
// of valid UTF-8 becomes the lone low surrogate U+DC00+NN (U+DC80..U+DCFF), which valid UTF-8 never yields. So every byte
// string survives bytes → string → bytes. Only strict UTF-8 counts as valid: no overlong forms, no surrogates, at most
// U+10FFFF.

import { FuseProtocolError } from './protocol-error.ts'

/** Bytes that `String.fromCharCode` takes at once, well below the limit on arguments. */
const CHUNK = 4096

/** Decodes bytes [start, end). Never fails. */
export function decodeName(bytes: Uint8Array, start = 0, end: number = bytes.byteLength): string {
  const units: number[] = []
  let text = ''
  let i = start
  while (i < end) {
    const first = bytes[i] as number
    const length = first < 0x80 ? 1 : validSequence(bytes, i, end)
    if (length === 1) {
      units.push(first)
    } else if (length === 0) {
      units.push(0xdc00 + first)
    } else if (length === 2) {
      units.push(((first & 0x1f) << 6) | continuation(bytes, i + 1))
    } else if (length === 3) {
      units.push(((first & 0x0f) << 12) | (continuation(bytes, i + 1) << 6) | continuation(bytes, i + 2))
    } else {
      const above =
        (((first & 0x07) << 18) |
          (continuation(bytes, i + 1) << 12) |
          (continuation(bytes, i + 2) << 6) |
          continuation(bytes, i + 3)) -
        0x1_0000
      units.push(0xd800 | (above >> 10), 0xdc00 | (above & 0x3ff))
    }
    i += length === 0 ? 1 : length
    if (units.length >= CHUNK) {
      text += String.fromCharCode.apply(null, units)
      units.length = 0
    }
  }
  return text + String.fromCharCode.apply(null, units)
}

const continuation = (bytes: Uint8Array, index: number) => (bytes[index] as number) & 0x3f

/** Length of the valid sequence of two to four bytes that starts at `i`, 0 if there is none (Unicode, table 3-7). */
function validSequence(bytes: Uint8Array, i: number, end: number): number {
  const first = bytes[i] as number
  const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0
  if (length === 0 || i + length > end) return 0
  const second = bytes[i + 1] as number
  // The second byte's range excludes overlong forms (E0, F0), surrogates (ED) and what is above U+10FFFF (F4).
  const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
  const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
  if (second < low || second > high) return 0
  for (let k = 2; k < length; k++) if (((bytes[i + k] as number) & 0xc0) !== 0x80) return 0
  return length
}

/**
 * Writes the bytes of `name` at `offset` of `target`; returns their count, or -1 when they do not fit (then what was
 * written is meaningless). Throws FuseProtocolError BAD_NAME for a surrogate that `decodeName` never yields.
 */
export function encodeNameInto(name: string, target: Uint8Array, offset: number): number {
  const end = target.byteLength
  let o = offset
  for (let i = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i)
    if (unit < 0x80) {
      if (o + 1 > end) return -1
      target[o++] = unit
    } else if (unit < 0x800) {
      if (o + 2 > end) return -1
      target[o++] = 0xc0 | (unit >> 6)
      target[o++] = 0x80 | (unit & 0x3f)
    } else if (unit < 0xd800 || unit > 0xdfff) {
      if (o + 3 > end) return -1
      target[o++] = 0xe0 | (unit >> 12)
      target[o++] = 0x80 | ((unit >> 6) & 0x3f)
      target[o++] = 0x80 | (unit & 0x3f)
    } else if (unit < 0xdc00 && (name.charCodeAt(i + 1) & 0xfc00) === 0xdc00) {
      if (o + 4 > end) return -1
      const point = 0x1_0000 + ((unit & 0x3ff) << 10) + (name.charCodeAt(++i) & 0x3ff)
      target[o++] = 0xf0 | (point >> 18)
      target[o++] = 0x80 | ((point >> 12) & 0x3f)
      target[o++] = 0x80 | ((point >> 6) & 0x3f)
      target[o++] = 0x80 | (point & 0x3f)
    } else if (isEscapeUnit(unit)) {
      if (o + 1 > end) return -1
      target[o++] = unit - 0xdc00
    } else {
      throw new FuseProtocolError('BAD_NAME', `U+${unit.toString(16)} stands alone and is no escaped byte`, {
        struct: 'name',
        offset: i,
        errno: 'EILSEQ',
      })
    }
  }
  return o - offset
}

/** The bytes of `name`. Throws FuseProtocolError BAD_NAME for a surrogate that `decodeName` never yields. */
export function encodeName(name: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(name.length * 3)
  return bytes.slice(0, encodeNameInto(name, bytes, 0))
}

/** Count of bytes that `encodeName` gives. */
export function encodedLength(name: string): number {
  let length = 0
  for (let i = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i)
    if (unit < 0x80 || isEscapeUnit(unit)) length += 1
    else if (unit < 0x800) length += 2
    else if ((unit & 0xfc00) === 0xd800 && (name.charCodeAt(i + 1) & 0xfc00) === 0xdc00) {
      length += 4
      i++
    } else length += 3
  }
  return length
}

const isEscapeUnit = (unit: number) => unit >= 0xdc80 && unit <= 0xdcff

/** Whether the name holds bytes that are not UTF-8, so that a storage with text names cannot hold it as it is. */
export function hasEscapedBytes(name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i)
    if ((unit & 0xfc00) === 0xd800) i++
    else if (isEscapeUnit(unit)) return true
  }
  return false
}
