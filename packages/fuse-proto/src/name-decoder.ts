// Decodes the names of requests, fast for what is asked again and again: a fixed table of recent short ASCII names gives
// back the same string object, without allocation and with its hash already known to Map. The bytes are copied out of
// guest memory once, checked during the copy, and only the copy is looked at afterwards.

import { NAME_MAX, PATH_MAX, XATTR_NAME_MAX } from './constants.ts'
import { type ErrnoName, FsError } from './errno.ts'
import { decodeName } from './names.ts'
import { FuseProtocolError } from './protocol-error.ts'

const SLASH = 0x2f
const DOT = 0x2e
/** Names up to this many bytes are kept in the table. */
const KEPT_BYTES = 64
const TABLE_SIZE = 4096

export class NameDecoder {
  readonly #copy = new Uint8Array(PATH_MAX)
  readonly #table: string[] = new Array<string>(TABLE_SIZE).fill('')
  /** Bytes of the name decoded last, without its NUL. */
  length = 0

  /**
   * The file name that starts at `start` and ends with a NUL before `end`.
   * Throws FsError for names that a Linux system call would refuse, FuseProtocolError for a missing NUL.
   */
  fileName(bytes: Uint8Array, start: number, end: number): string {
    const copy = this.#copy
    const limit = Math.min(end - start, NAME_MAX + 1)
    let length = 0
    let hash = 0
    let seen = 0
    for (; length < limit; length++) {
      const byte = bytes[start + length] as number
      if (byte === 0) break
      // path_resolution(7): a component holds no `/`.
      if (byte === SLASH) throw new FsError('EINVAL', 'a name holds a slash')
      copy[length] = byte
      seen |= byte
      hash = (Math.imul(hash, 31) + byte) | 0
    }
    if (length === limit) throw unterminated(start, end, NAME_MAX)
    this.length = length
    if (length <= 2 && isReserved(copy, length)) {
      throw new FsError('EINVAL', 'a name is empty, `.` or `..`')
    }
    if (seen >= 0x80) return decodeName(copy, 0, length)
    if (length > KEPT_BYTES) return asciiString(copy, length)
    const slot = (hash ^ (hash >>> 12)) & (TABLE_SIZE - 1)
    const kept = this.#table[slot] as string
    if (kept.length === length && holds(kept, copy)) return kept
    const name = asciiString(copy, length)
    this.#table[slot] = name
    return name
  }

  /** The target of a symbolic link: any bytes but NUL, shorter than PATH_MAX. */
  path(bytes: Uint8Array, start: number, end: number): string {
    const text = this.#text(bytes, start, end, PATH_MAX - 1)
    // symlink(2): an empty target is ENOENT.
    if (text === '') throw new FsError('ENOENT', 'an empty path')
    return text
  }

  /** The name of an extended attribute, which may hold a slash. */
  xattrName(bytes: Uint8Array, start: number, end: number): string {
    const name = this.#text(bytes, start, end, XATTR_NAME_MAX, 'ERANGE')
    // setxattr(2): empty and overlong names are ERANGE.
    if (name === '') throw new FsError('ERANGE', 'an empty name')
    return name
  }

  #text(bytes: Uint8Array, start: number, end: number, max: number, tooLong?: ErrnoName): string {
    const copy = this.#copy
    const limit = Math.min(end - start, max + 1)
    let length = 0
    for (; length < limit; length++) {
      const byte = bytes[start + length] as number
      if (byte === 0) break
      copy[length] = byte
    }
    if (length === limit) throw unterminated(start, end, max, tooLong)
    this.length = length
    return decodeName(copy, 0, length)
  }
}

function unterminated(start: number, end: number, max: number, tooLong: ErrnoName = 'ENAMETOOLONG'): Error {
  if (end - start > max) return new FsError(tooLong, `a name of more than ${max} bytes`)
  return new FuseProtocolError('BAD_NAME', 'no NUL ends it', {
    struct: 'name',
    offset: start,
    have: end - start,
  })
}

function isReserved(copy: Uint8Array, length: number): boolean {
  return length === 0 || (copy[0] === DOT && (length === 1 || copy[1] === DOT))
}

function holds(name: string, copy: Uint8Array): boolean {
  for (let i = 0; i < name.length; i++) if (name.charCodeAt(i) !== copy[i]) return false
  return true
}

/** Calls of fixed length, since `apply` over an array costs several times as much for names of usual length. */
function asciiString(c: Uint8Array, length: number): string {
  let text = ''
  let i = 0
  for (; i + 8 <= length; i += 8) {
    text += String.fromCharCode(
      c[i]!,
      c[i + 1]!,
      c[i + 2]!,
      c[i + 3]!,
      c[i + 4]!,
      c[i + 5]!,
      c[i + 6]!,
      c[i + 7]!,
    )
  }
  if (i + 4 <= length) {
    text += String.fromCharCode(c[i]!, c[i + 1]!, c[i + 2]!, c[i + 3]!)
    i += 4
  }
  for (; i < length; i++) text += String.fromCharCode(c[i]!)
  return text
}
