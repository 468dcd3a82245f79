// What the journal says: files whose bytes the storage does not have yet, changes of names that were begun, and changes of
// attributes. Each is to be finished by the next daemon if this one does not get to it. Versions and times tell whether
// somebody else was there meanwhile.

import { isPlainEntry, type PlainEntry } from '../attributes/attribute-entry.ts'
import type { Time } from '../attributes/time.ts'
import { type Fields, isCount, isFlag, isList, isOptional, isRecord, isText, isTime } from '../shapes.ts'
import type { ObjectInfo } from '../storage/storage.ts'
import type { ObjectVersion } from '../storage/version.ts'
import type { Change } from './journal-record.ts'

/** What the storage said of an object; null if there was none. */
export type Version = ObjectVersion | null

type Ranges = readonly (readonly [start: number, end: number])[]

/** The bytes of a file at one moment, which never change: few of them here, more in a file of the state folder. */
export interface SavedContent {
  /** Of the file in the folder, where the bytes lie at their offsets; null if they are in `bytes`. */
  readonly name: string | null
  /** What was written, piece after piece, in base64. */
  readonly bytes?: string | undefined
  readonly size: number
  readonly mtime: Time
  readonly written: Ranges
  /** Where the version in the storage shows. The rest is zeros. */
  readonly base: Ranges
}

export interface FileEntry {
  readonly kind: 'file'
  readonly key: string
  readonly content: SavedContent
  /** What lies under the key until the content is published. */
  readonly replaces: Version
  /** Earlier contents that may lie there instead: whoever published them did not learn how it ended. */
  readonly mayBe: readonly SavedContent[]
}

/** A file or a directory that is being moved. */
export interface MoveEntry {
  readonly kind: 'move'
  /** What is moved, as the guest's session knows it, should that go on. */
  readonly node: number
  readonly from: string
  /** Ends with a slash, as `from` does, if it is a directory. */
  readonly to: string
  /** False for a file that the storage does not have: what lies at `from` is only what it has replaced, and goes. */
  readonly published: boolean
  /** What lay at `from` before; null for a directory. */
  readonly source: Version
  /** The old target, likewise; 0 if there was none. */
  readonly targetNode: number
  /** What lay at `to` before. */
  readonly target: Version
  /** Where the old target was put because it was open, if it was. */
  readonly aside: string | null
  /** Entries of the old target, which go with it, and of attributes that `attributes` replaces. */
  readonly drops: readonly string[]
  /** What is kept of it goes along. */
  readonly attributes?: readonly KeptChange[]
}

/** An object that is being deleted. */
export interface RemovalEntry {
  readonly kind: 'removal'
  /** What is removed, as the guest's session knows it. */
  readonly node: number
  readonly key: string
  readonly version: Version
  /** Where the object was put because it was open, if it was. */
  readonly aside: string | null
  /** The file's own entries, which go with it. */
  readonly drops: readonly string[]
}

/** A removed file that is still open, under a name that nobody sees. */
export interface AsideEntry {
  readonly kind: 'aside'
  readonly key: string
}

/** What a directory's sidecar is to say of a name. */
export interface KeptChange {
  /** The directory's key: empty, or with a slash at its end. */
  readonly directory: string
  readonly segment: string
  /** Null if nothing is to be kept. */
  readonly entry: PlainEntry | null
  readonly at: Time
  /** The entry that the sidecar had, as far as it matters: its mode, and when it was changed. */
  readonly over: PlainEntry | null
}

export interface AttributesEntry extends KeptChange {
  readonly kind: 'attributes'
}

export type JournalEntry = FileEntry | MoveEntry | RemovalEntry | AsideEntry | AttributesEntry

/** A journal key; they sort in the order in which the entries were made. */
export type EntryKey = `${JournalEntry['kind']}:${string}`

export function entryChange(key: EntryKey, entry: JournalEntry | undefined): Change {
  return entry === undefined ? { key } : { key, value: entry }
}

export function versionOf(info: ObjectInfo | undefined): Version {
  if (info === undefined) return null
  const { size, etag, mtime } = info
  return { size, etag, mtime }
}

/** Undefined if the value is no entry that this version knows. */
export function parseEntry(key: string, value: unknown): JournalEntry | undefined {
  if (!isRecord(value) || !key.startsWith(`${String(value.kind)}:`)) return undefined
  return ENTRY_CHECKS[String(value.kind)]?.(value) === true ? (value as unknown as JournalEntry) : undefined
}

const ENTRY_CHECKS: Readonly<Record<string, (value: Fields) => boolean>> = {
  file: ({ key, content, replaces, mayBe }) =>
    isKey(key) && isContent(content) && isVersion(replaces) && isList(mayBe, isContent),
  move: ({ node, from, to, published, source, targetNode, target, aside, drops, attributes }) =>
    isCount(node) &&
    isCount(targetNode) &&
    isKey(from) &&
    isKey(to) &&
    isFlag(published) &&
    isVersion(source) &&
    isVersion(target) &&
    isKeyOrNull(aside) &&
    isList(drops, isText) &&
    isOptional(attributes, changes => isList(changes, isKeptChange)),
  removal: ({ node, key, version, aside, drops }) =>
    isCount(node) && isKey(key) && isVersion(version) && isKeyOrNull(aside) && isList(drops, isText),
  aside: ({ key }) => isKey(key),
  attributes: isKeptChange,
}

/** Never the root, and never out of it. */
function isKey(value: unknown): value is string {
  return (
    typeof value === 'string' && value !== '' && value.split('/').every(part => part !== '..' && part !== '.')
  )
}

function isKeyOrNull(value: unknown): boolean {
  return value === null || isKey(value)
}

function isKeptChange(value: unknown): boolean {
  if (!isRecord(value)) return false
  const { directory, segment, entry, at, over } = value
  // The root keeps its own attributes under no name.
  const isPlace = directory === '' ? segment === '' || isKey(segment) : isKey(directory) && isKey(segment)
  return isPlace && isPlainEntry(entry) && isTime(at) && isPlainEntry(over)
}

function isContent(value: unknown): boolean {
  if (!isRecord(value)) return false
  const { name, bytes, size, mtime, written, base } = value
  // A name that leads out of the folder is none of ours.
  const isKept = name === null ? typeof bytes === 'string' : typeof name === 'string' && /^[\w-]+$/.test(name)
  if (!isKept || !isCount(size) || !isTime(mtime)) return false
  return [written, base].every(ranges => isList(ranges, range => isRange(range, size)))
}

function isRange(value: unknown, size: number): boolean {
  if (!Array.isArray(value) || value.length !== 2) return false
  const [start, end] = value
  return isCount(start) && isCount(end) && start < end && end <= size
}

function isVersion(value: unknown): boolean {
  if (value === null) return true
  if (!isRecord(value) || !isCount(value.size)) return false
  const { etag, mtime } = value
  return isOptional(etag, isText) && isOptional(mtime, isTime)
}

/** True of an entry about something that the next daemon has to finish. Others keep entries too, under kinds of their own. */
export function isUnfinished(key: string): boolean {
  return /^(file|move|removal|aside|attributes):/.test(key)
}
