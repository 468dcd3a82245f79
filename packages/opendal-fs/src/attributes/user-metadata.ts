// What other programs keep of a file in the object's user metadata, where the service has such: s3fs a decimal mode with the file
// type, owner, group and times in seconds; rclone the same with an octal mode, or times as text; gcsfuse a time and the target
// of a link. None of it is trusted: what makes no sense is as if it were not there.

import { parseTime, type Time } from './time.ts'

export type UserMetadata = Record<string, string>

/** What the user metadata says of a file or directory. */
export interface Given {
  /** Permissions. */
  readonly mode: number | undefined
  readonly uid: number | undefined
  readonly gid: number | undefined
  readonly mtime: Time | undefined
  readonly atime: Time | undefined
  /** A symbolic link: the target lies in the object's bytes unless `target` has it. */
  readonly isLink: boolean
  readonly target: string | undefined
}

const S_IFMT = 0o170000
const S_IFDIR = 0o040000
const S_IFREG = 0o100000
const S_IFLNK = 0o120000
const LARGEST_MODE = 0o177777
/** Whoever may write to the bucket must not become root in a guest by it: setuid and setgid are not taken. */
const TAKEN = 0o1777
/** (uid_t) -1 means none in system calls. */
const LARGEST_ID = 0xffff_fffe
/** PATH_MAX, less the NUL. Bytes. */
export const LONGEST_TARGET = 4095

/** Of the version that had it, and not of the bytes that replace those. */
const OF_ONE_VERSION: ReadonlySet<string> = new Set([
  'mtime',
  'atime',
  'ctime',
  'gcsfuse_mtime',
  'gcsfuse_symlink_target',
  'goog-reserved-file-mtime',
])

/** Undefined if it says nothing of all this. */
export function givenBy(metadata: UserMetadata, isDirectory: boolean): Given | undefined {
  const { mode, isLink } = toMode(metadata.mode, isDirectory)
  const target = isDirectory ? undefined : toTarget(metadata.gcsfuse_symlink_target)
  const given: Given = {
    mode,
    uid: toId(metadata.uid),
    gid: toId(metadata.gid),
    mtime: toTime(metadata.mtime ?? metadata.gcsfuse_mtime ?? metadata['goog-reserved-file-mtime']),
    atime: toTime(metadata.atime),
    isLink: isLink || target !== undefined,
    target,
  }
  return Object.values(given).some(value => value !== undefined && value !== false) ? given : undefined
}

/** What goes along when the object gets other bytes. */
export function metadataFor(metadata: UserMetadata): UserMetadata | undefined {
  return headersOf(Object.entries(metadata).filter(([name]) => !OF_ONE_VERSION.has(name)))
}

/** The metadata that is copied with the bytes to another key. */
export function copiedMetadata(metadata: UserMetadata): UserMetadata | undefined {
  return headersOf(Object.entries(metadata))
}

function headersOf(entries: [string, string][]): UserMetadata | undefined {
  // OpenDAL panics on values that no header can hold.
  const kept = entries.filter(([name, value]) => /^[\w.-]+$/.test(name) && /^[\x20-\x7e]*$/.test(value))
  return kept.length === 0 ? undefined : Object.fromEntries(kept)
}

/** A link's target as it lies in an object; undefined if it cannot be one. */
export function toTarget(text: string | Uint8Array | undefined): string | undefined {
  if (text === undefined || text.length === 0 || text.length > LONGEST_TARGET) return undefined
  try {
    const target =
      typeof text === 'string'
        ? text
        : new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(text)
    return target.includes('\0') || Buffer.byteLength(target) > LONGEST_TARGET ? undefined : target
  } catch {
    return undefined
  }
}

/** Which of both bases a mode is written in shows by its file type: no mode makes sense in the two. */
function toMode(
  text: string | undefined,
  isDirectory: boolean,
): { readonly mode: number | undefined; readonly isLink: boolean } {
  for (const base of text === undefined ? [] : [10, 8]) {
    const value = toNumber(text!, base)
    if (value === undefined || value > LARGEST_MODE) continue
    const type = value & S_IFMT
    const fits = isDirectory ? type === S_IFDIR : type === S_IFREG || type === S_IFLNK
    if (fits) return { mode: type === S_IFLNK ? undefined : value & TAKEN, isLink: type === S_IFLNK }
  }
  return { mode: undefined, isLink: false }
}

function toId(text: string | undefined): number | undefined {
  const id = text === undefined ? undefined : toNumber(text, 10)
  return id !== undefined && id <= LARGEST_ID ? id : undefined
}

/** Seconds with any fraction, or RFC 3339. */
function toTime(text: string | undefined): Time | undefined {
  const match = /^(-?\d{1,12})(?:\.(\d{1,9})\d*)?$/.exec(text ?? '')
  if (match === null) return /^\d{4}-\d\d-\d\dT/.test(text ?? '') ? parseTime(text!) : undefined
  const [, whole, fraction = ''] = match
  const nsec = Number(fraction.padEnd(9, '0'))
  const sec = Number(whole)
  // The fraction of a time before 1970 goes further back.
  return whole!.startsWith('-') && nsec > 0 ? { sec: sec - 1, nsec: 1e9 - nsec } : { sec, nsec }
}

function toNumber(text: string, base: number): number | undefined {
  const isNumber = base === 8 ? /^[0-7]{1,12}$/ : /^\d{1,12}$/
  return isNumber.test(text) ? Number.parseInt(text, base) : undefined
}
