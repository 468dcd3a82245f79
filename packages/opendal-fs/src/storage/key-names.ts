// File names and the key segments that hold them in the storage. Most names are their own segment. Names that OpenDAL or the
// service would alter are stored as `.ovfs-x-` and the name with the dangerous code units as %HH or %uHHHH, so that every
// name has exactly one segment and the way back is exact. Segments that begin with `.ovfs-` are ours: never listed.

import { createHash } from 'node:crypto'

const RESERVED = '.ovfs-'
const ESCAPED = '.ovfs-x-'
const SHOWN = '.ovfs-k-'
const TEMPORARY = '.ovfs-tmp-'
const DIRECTORY_END = '%2F'
/** Linux' limit on names, in bytes. */
const LONGEST_NAME = 255
const KEPT_OF_LONG = 120

/** Holds a directory's existence on services that have no directories of their own. */
export const DIRECTORY_MARKER = '.ovfs-dir'
/** Keeps for a directory what the service cannot: see sidecar.ts. */
export const SIDECAR = '.ovfs-attributes'

// What Rust's `char::is_whitespace` accepts: OpenDAL trims it from both ends of a whole path.
const WHITE_SPACE =
  '\\u0009-\\u000d\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000'
const ALWAYS = `^[${WHITE_SPACE}]|[${WHITE_SPACE}]$|\\p{Surrogate}`
const CONTROL = '[\\u0000-\\u001f\\u007f]'

/** What a service cannot hold beyond what OpenDAL cannot. */
const SERVICE_RULES: Readonly<Record<string, string>> = {
  fs: '\\\\',
  // Listings are XML without url-encoding: a control character makes a whole page unreadable.
  s3: CONTROL,
  gcs: CONTROL,
  oss: CONTROL,
  obs: CONTROL,
  cos: CONTROL,
  azblob: `${CONTROL}|\\\\`,
}

const ALIASED = new RegExp(
  `^[${WHITE_SPACE}]|[${WHITE_SPACE}]$|\\p{Surrogate}|(?:^|/)\\.{0,2}/|(?:^|/)\\.{1,2}$`,
  'u',
)

/**
 * False for a key that OpenDAL, or the HTTP client below it, would take for another one: it trims white space, drops empty
 * segments and resolves `.` and `..`, also out of the root.
 */
export function isAddressable(key: string): boolean {
  return !ALIASED.test(key)
}

export class KeyNames {
  readonly #dangerous: RegExp
  readonly #escapable: RegExp
  readonly #shownEscapable = /[\0/%]|^\.(?=\.?$)|\p{Surrogate}/gu

  /** @param scheme OpenDAL's name of the service */
  constructor(scheme: string) {
    const rule = SERVICE_RULES[scheme]
    const dangerous = rule === undefined ? ALWAYS : `${ALWAYS}|${rule}`
    this.#dangerous = new RegExp(dangerous, 'u')
    this.#escapable = new RegExp(`${dangerous}|%`, 'gu')
  }

  /** The key segment of a file name that the dispatcher has accepted: not empty, no `/`, no NUL, at most 255 bytes. */
  toSegment(name: string): string {
    if (!name.startsWith(RESERVED) && !this.#dangerous.test(name)) return name
    return ESCAPED + name.replace(this.#escapable, escapeUnit)
  }

  /** The file name of a key segment; undefined if it is none that can be shown: ours, or impossible as a name. */
  toName(segment: string): string | undefined {
    if (!segment.startsWith(RESERVED)) {
      return isPossibleName(segment) && Buffer.byteLength(segment) <= LONGEST_NAME ? segment : undefined
    }
    if (!segment.startsWith(ESCAPED)) return undefined
    const name = unescaped(segment.slice(ESCAPED.length))
    // Only the one spelling that toSegment gives: two names must never share a file.
    return isPossibleName(name) && this.toSegment(name) === segment ? name : undefined
  }

  /**
   * The name under which a segment is shown that has no name of its own: impossible in a file system, too long, or taken,
   * when there is a file and a directory of one name. Undefined for what is ours and never shown.
   * @param isDirectory the name is taken by a file, and this is the directory
   */
  toShownName(segment: string, isDirectory: boolean): string | undefined {
    if (this.isOurs(segment)) return undefined
    const name =
      SHOWN + segment.replace(this.#shownEscapable, escapeUnit) + (isDirectory ? DIRECTORY_END : '')
    if (Buffer.byteLength(name) <= LONGEST_NAME) return name
    const start = Buffer.from(name)
      .subarray(0, KEPT_OF_LONG)
      .toString()
      .replace(/\ufffd$/, '')
    const digest = createHash('sha256').update(segment).digest('hex')
    return `${start}~${digest}${isDirectory ? DIRECTORY_END : ''}`
  }

  /** The segment that is shown under a name, as far as the name alone tells. */
  fromShownName(name: string): { readonly segment: string; readonly isTwin: boolean } | undefined {
    if (!name.startsWith(SHOWN)) return undefined
    const isTwin = name.endsWith(DIRECTORY_END)
    const segment = unescaped(name.slice(SHOWN.length, isTwin ? -DIRECTORY_END.length : undefined))
    // Only what would be shown so, and never what OpenDAL would take for another key: it resolves `..`.
    if (this.toShownName(segment, isTwin) !== name || !isPossibleName(segment)) return undefined
    if (!isTwin && this.toName(segment) !== undefined) return undefined
    return { segment, isTwin }
  }

  /** False for what OpenDAL would take for another key: it resolves `..` and drops what is empty. */
  isReachable(segment: string): boolean {
    return isPossibleName(segment)
  }

  /** A segment for a file that is not there yet under its own name. */
  temporary(): string {
    return TEMPORARY + crypto.randomUUID()
  }

  /** True for what no guest has put there: a directory that has nothing else is empty. */
  isOurs(segment: string): boolean {
    return segment === DIRECTORY_MARKER || segment === SIDECAR || this.isTemporary(segment)
  }

  isTemporary(segment: string): boolean {
    return segment.startsWith(TEMPORARY)
  }
}

function unescaped(text: string): string {
  return text.replace(/%u([0-9A-F]{4})|%([0-9A-F]{2})/g, (_, wide, narrow) =>
    String.fromCharCode(Number.parseInt(wide ?? narrow, 16)),
  )
}

function escapeUnit(text: string): string {
  const unit = text.charCodeAt(0)
  return unit <= 0xff ? `%${hex(unit, 2)}` : `%u${hex(unit, 4)}`
}

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0')
}

function isPossibleName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !name.includes('/') && !name.includes('\0')
}
