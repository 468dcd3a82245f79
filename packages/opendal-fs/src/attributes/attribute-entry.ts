// What is kept of one file beside its bytes, and the object that keeps it for a whole directory: JSON with a version, one entry a
// line. An object that is not exactly of this format is refused as a whole: what we do not understand is never overwritten.

import { S_IFMT } from '../names/inode.ts'
import { isRecord } from '../shapes.ts'
import type { MovedVersion } from '../storage/moved-versions.ts'
import { isVersionNamed, versionName } from '../storage/version.ts'
import type { Time } from './time.ts'

/** Undefined members are as the service or the options have it. */
export interface AttributeEntry {
  /** When it was changed last: of two hosts' entries of one name, the newer counts. */
  readonly ctime: Time
  /** With the file type: an entry means nothing for an object of another type. */
  readonly mode?: number | undefined
  readonly uid?: number | undefined
  readonly gid?: number | undefined
  readonly atime?: Time | undefined
  readonly mtime?: Time | undefined
  /** The version of the object that the times belong to; see `versionName`. */
  readonly version?: string | undefined
  readonly target?: string | undefined
  readonly rdev?: number | undefined
  readonly xattrs?: ReadonlyMap<string, Uint8Array> | undefined
}

export type Entries = Map<string, AttributeEntry>

/** An entry as JSON holds it. */
export type PlainEntry = Readonly<Record<string, unknown>>

/** Larger ones are not read, and so not written: room for a million entries. Bytes. */
export const LARGEST_SIDECAR = 256 << 20

const FORMAT = 'ovfs attributes'
const VERSION = 1
const HEADER = JSON.stringify({ format: FORMAT, version: VERSION }).slice(0, -1)

const NUMBERS = ['mode', 'uid', 'gid', 'rdev'] as const
const TIMES = ['ctime', 'atime', 'mtime'] as const
const TEXTS = ['version', 'target'] as const
const S_IFDIR = 0o040000
const S_IFREG = 0o100000

/** Exists by its entry alone: a symbolic link, pipe, socket or device has no object. */
export function isSpecial({ mode }: { readonly mode?: number | undefined }): boolean {
  const type = (mode ?? 0) & S_IFMT
  return type !== 0 && type !== S_IFREG && type !== S_IFDIR
}

/** Returns the entry for the copy of an object: the same entry if no attribute in it belongs to a version. */
export function entryOfCopy<T extends AttributeEntry | undefined>(entry: T, moved: MovedVersion): T {
  if (entry?.version === undefined || !isVersionNamed(moved.before, entry.version)) return entry
  const version = versionName(moved.after)
  return version === entry.version ? entry : { ...entry, version }
}

/** @param entries by the key segments of their names */
export function encodeEntries(entries: ReadonlyMap<string, AttributeEntry>): Uint8Array {
  const lines = Array.from(entries, ([segment, entry]) => JSON.stringify([segment, toPlain(entry)]))
  return new TextEncoder().encode(`${HEADER},"entries":[\n${lines.join(',\n')}\n]}\n`)
}

/** @throws Error with the reason, if it is not what encodeEntries gives */
export function decodeEntries(bytes: Uint8Array): Entries {
  const content: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  if (!isRecord(content) || content.format !== FORMAT) throw new Error('it is none of ours')
  if (content.version !== VERSION) throw new Error(`its version is ${JSON.stringify(content.version)}`)
  if (!Array.isArray(content.entries)) throw new Error('it has no entries')
  const entries: Entries = new Map()
  for (const pair of content.entries) {
    if (!Array.isArray(pair) || pair.length !== 2 || typeof pair[0] !== 'string' || !isRecord(pair[1])) {
      throw new Error('an entry has no name')
    }
    entries.set(pair[0], fromPlain(pair[1]))
  }
  return entries
}

export function toPlain(entry: AttributeEntry): PlainEntry {
  const plain: Record<string, unknown> = {}
  for (const name of TIMES) {
    const time = entry[name]
    if (time !== undefined) plain[name] = [time.sec, time.nsec]
  }
  for (const name of [...NUMBERS, ...TEXTS]) if (entry[name] !== undefined) plain[name] = entry[name]
  if (entry.xattrs !== undefined) {
    plain.xattrs = Array.from(entry.xattrs, ([name, value]) => [name, Buffer.from(value).toString('base64')])
  }
  return plain
}

/** @throws Error with the reason, if it is not what toPlain gives */
export function fromPlain(plain: PlainEntry): AttributeEntry {
  const entry: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(plain)) {
    const is = (names: readonly string[]): boolean => names.includes(name)
    if (is(NUMBERS) && isCount(value)) entry[name] = value
    else if (is(TEXTS) && typeof value === 'string') entry[name] = value
    else if (is(TIMES)) entry[name] = toTime(value)
    else if (name === 'xattrs') entry[name] = toXattrs(value)
    else throw new Error(`an entry has an unknown ${JSON.stringify(name)}`)
  }
  if (entry.ctime === undefined) throw new Error('an entry has no change time')
  return entry as unknown as AttributeEntry
}

/** True of an entry, and of null, which stands for none. */
export function isPlainEntry(value: unknown): boolean {
  if (value === null) return true
  if (!isRecord(value)) return false
  try {
    fromPlain(value)
    return true
  } catch {
    return false
  }
}

function toTime(value: unknown): Time {
  if (Array.isArray(value) && value.length === 2) {
    const [sec, nsec] = value
    if (Number.isSafeInteger(sec) && isCount(nsec) && nsec < 1e9) return { sec, nsec }
  }
  throw new Error('a time is none')
}

function toXattrs(value: unknown): ReadonlyMap<string, Uint8Array> {
  if (!Array.isArray(value)) throw new Error('extended attributes are none')
  return new Map(
    value.map((pair: unknown) => {
      const isPair = Array.isArray(pair) && typeof pair[0] === 'string' && typeof pair[1] === 'string'
      if (!isPair) throw new Error('an extended attribute is none')
      return [pair[0] as string, new Uint8Array(Buffer.from(pair[1] as string, 'base64'))]
    }),
  )
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffff_ffff
}
