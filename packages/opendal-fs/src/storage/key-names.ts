// File names and the key segments that hold them in the storage. Most names are their own segment. Names that OpenDAL, a signature
// or the service would alter are stored as `.ovfs-y-` and the name, escaped with letters, digits, `-`, `_` and `.` alone, which
// nothing alters. A name may also have been stored in another spelling: escaped by an earlier version (`.ovfs-x-` with %HH), or
// unescaped by another program. All spellings of a name are found under that name, and no spelling stands for two names.

import { createHash } from 'node:crypto'

const RESERVED = '.ovfs-'
const ESCAPED = '.ovfs-y-'
/** Of earlier versions: dangerous code units as %HH or %uHHHH, everything else as it is. */
const EARLIER = '.ovfs-x-'
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
const TRIMMED = `^[${WHITE_SPACE}]|[${WHITE_SPACE}]$`
const ALWAYS = `${TRIMMED}|\\p{Surrogate}`
const CONTROL = '[\\u0000-\\u001f\\u007f]'

interface NameRule {
  /** What no object's name can contain, in addition to what OpenDAL cannot address. */
  readonly never?: string
  /** What names of other programs may contain but new names must not, because some requests to the service alter it. */
  readonly spoiled?: string
}

const RULES: Readonly<Record<string, NameRule>> = {
  fs: { never: '\\\\' },
  // Listings are XML without url-encoding: a control character makes a whole page unreadable.
  s3: { never: CONTROL },
  oss: { never: CONTROL },
  obs: { never: CONTROL },
  cos: { never: CONTROL },
  // OpenDAL's binding 0.49.2 encodes the name twice when it writes. The rule holds for newer builds too, so that both show the same names.
  gcs: { never: CONTROL, spoiled: "[^A-Za-z0-9\\-_.!~*'()]" },
  // The service treats a backslash as a slash. With an account key, the signature is wrong for a listing whose prefix contains a
  // percent sign, and looking for a directory is such a listing.
  azblob: { never: `${CONTROL}|\\\\`, spoiled: '%' },
  // rclone lists a control character as its Unicode picture (U+2400 to U+2421), and reads the picture as the character.
  webdav: { spoiled: `${CONTROL}|[\\u2400-\\u2421]` },
}

const ALIASED = new RegExp(
  `^[${WHITE_SPACE}]|[${WHITE_SPACE}]$|\\p{Surrogate}|(?:^|/)\\.{0,2}/|(?:^|/)\\.{1,2}$`,
  'u',
)

/**
 * False for a key that OpenDAL, or its HTTP client, would change: they trim white space, drop empty segments, and resolve `.` and
 * `..`, even out of the root.
 */
export function isAddressable(key: string): boolean {
  return !ALIASED.test(key)
}

export class KeyNames {
  /** The segment of a directory's sidecar, which holds attributes that the service cannot: see sidecar.ts. */
  readonly sidecar: string
  readonly #hidesDots: boolean
  /** Names whose raw spelling cannot be an object. */
  readonly #never: RegExp
  /** Names that are escaped when they are new. */
  readonly #dangerous: RegExp
  readonly #earlierEscapable: RegExp
  readonly #trimmed = new RegExp(TRIMMED, 'u')
  readonly #shownEscapable = /[\0/%]|^\.(?=\.?$)|\p{Surrogate}/gu

  /**
   * @param scheme OpenDAL's name of the service
   * @param hidesDots the server leaves names that begin with a dot out of its listings
   */
  constructor(scheme: string, hidesDots = false) {
    const { never, spoiled } = RULES[scheme] ?? {}
    const impossible = never === undefined ? ALWAYS : `${ALWAYS}|${never}`
    this.#never = new RegExp(impossible, 'u')
    this.#dangerous = spoiled === undefined ? this.#never : new RegExp(`${impossible}|${spoiled}`, 'u')
    this.#earlierEscapable = new RegExp(`${impossible}|%`, 'gu')
    this.#hidesDots = hidesDots
    this.sidecar = this.#own(SIDECAR)
  }

  /** The segment of an object of ovfs, in a form that the server lists. */
  #own(segment: string): string {
    return this.#hidesDots ? segment.slice(1) : segment
  }

  #isReserved(name: string): boolean {
    return name.startsWith(RESERVED) || (this.#hidesDots && name.startsWith(RESERVED.slice(1)))
  }

  /** The key segment of a new file's name that the dispatcher has accepted: not empty, no `/`, no NUL, at most 255 bytes. */
  toSegment(name: string): string {
    const isSafe = !this.#isReserved(name) && !this.#dangerous.test(name)
    return isSafe && !(this.#hidesDots && name.startsWith('.')) ? name : this.#own(ESCAPED) + escaped(name)
  }

  /** All segments that stand for a name; most names have only one. If objects exist under several, the first one counts. */
  spellings(name: string): readonly string[] {
    const segment = this.toSegment(name)
    if (segment === name) return [name]
    const all = [segment]
    if (this.#hidesDots) all.push(ESCAPED + escaped(name))
    const isEarlier = name.startsWith(RESERVED) || this.#never.test(name)
    if (isEarlier) all.push(EARLIER + name.replace(this.#earlierEscapable, escapeUnit))
    // The unescaped name, as another program stores it, unless that is a reserved name.
    else if (!this.isOurs(name) && this.#nameOf(name) === name) all.push(name)
    return all
  }

  /** The file name of a key segment; undefined if it is none that can be shown: ours, or impossible as a name. */
  toName(segment: string): string | undefined {
    const name = this.#nameOf(segment)
    // Only the spellings that are looked for: two names must never share a file.
    return name !== undefined && isPossibleName(name) && this.spellings(name).includes(segment)
      ? name
      : undefined
  }

  #nameOf(segment: string): string | undefined {
    for (const prefix of this.#hidesDots ? [ESCAPED, this.#own(ESCAPED)] : [ESCAPED])
      if (segment.startsWith(prefix)) return unescapedName(segment.slice(prefix.length))
    if (segment.startsWith(EARLIER)) return unescaped(segment.slice(EARLIER.length))
    return Buffer.byteLength(segment) <= LONGEST_NAME ? segment : undefined
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
    // Only a segment that would be shown under this name, and never one that OpenDAL would change.
    if (this.toShownName(segment, isTwin) !== name || !this.isReachable(segment)) return undefined
    const own = isTwin ? undefined : this.toName(segment)
    if (own !== undefined && this.spellings(own)[0] === segment) return undefined
    return { segment, isTwin }
  }

  /** False for a segment that OpenDAL would change: it resolves `..`, drops empty segments, and trims white space. */
  isReachable(segment: string): boolean {
    return isPossibleName(segment) && !this.#trimmed.test(segment)
  }

  /** A segment for a file that is not there yet under its own name. */
  temporary(): string {
    return this.#own(temporarySegment())
  }

  /** True for what no guest has put there: a directory that has nothing else is empty. */
  isOurs(segment: string): boolean {
    const isKept = segment === DIRECTORY_MARKER || segment === SIDECAR || segment === this.sidecar
    return isKept || this.isTemporary(segment)
  }

  isTemporary(segment: string): boolean {
    return segment.startsWith(TEMPORARY) || segment.startsWith(this.#own(TEMPORARY))
  }
}

/** A random segment for a temporary object, which ovfs does not show. For servers that list names beginning with a dot. */
export function temporarySegment(): string {
  return TEMPORARY + crypto.randomUUID()
}

/** `__` for an underscore, _HH or _uHHHH for all but letters, digits, `-` and a dot that is neither first nor last. */
function escaped(name: string): string {
  return name.replace(/[^A-Za-z0-9.-]|^\.|\.$/g, unit =>
    unit === '_' ? '__' : `_${escapeUnit(unit).slice(1)}`,
  )
}

function unescapedName(text: string): string {
  return text.replace(/__|_u([0-9A-F]{4})|_([0-9A-F]{2})/g, (match, wide, narrow) =>
    match === '__' ? '_' : String.fromCharCode(Number.parseInt(wide ?? narrow, 16)),
  )
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
