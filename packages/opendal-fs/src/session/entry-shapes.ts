// Whether an entry of a session's log has the shape that its kind has: ids, sizes and ranges that can be, and names and keys that
// lead nowhere else. What is wrong in itself is found here; what does not fit together, where it is put in place.

import type { SessionEntry } from '@ovfs/fuse-proto'
import { isPlainEntry } from '../attributes/attribute-entry.ts'
import { isCount, isFlag, isList, isOptional, isRecord, isText, isTime, isTuple } from '../shapes.ts'
import { Kind } from './log-entries.ts'

type EntryCheck = (value: unknown, first: number, second: number) => boolean

/** Throws TypeError. */
export function requireShape({ kind, value, first, second }: SessionEntry): void {
  if (CHECKS[kind]?.(value, first, second) === false)
    throw new TypeError(`an entry of kind ${kind} is none: ${JSON.stringify(value)?.slice(0, 100)}`)
}

const CHECKS: Readonly<Record<number, EntryCheck>> = {
  [Kind.LAST]: value => isTuple(value, isCount, isCount),
  [Kind.NODE]: (value, lookups) =>
    isRecord(value) &&
    [value.id, value.parent, value.mode, lookups].every(isCount) &&
    isName(value.name) &&
    isOptional(value.segment, isName) &&
    isOptional(value.target, isText) &&
    isOptional(value.aside, isKey),
  [Kind.FILE]: value =>
    isRecord(value) &&
    isCount(value.fh) &&
    isCount(value.node) &&
    isFlag(value.writable) &&
    isOptional(value.request, isCount) &&
    isOptional(value.stale, isFlag),
  [Kind.DIRECTORY]: value =>
    isRecord(value) &&
    isCount(value.fh) &&
    isCount(value.node) &&
    isOptional(value.listing, listing => listing === 'done' || isCount(listing)) &&
    isOptional(value.request, isCount),
  [Kind.CLOSED]: (_, fh) => isCount(fh),
  [Kind.FAILED]: (value, fh) => isTuple(value, isText, isText) && isCount(fh),
  [Kind.SHOWN]: value => isRecord(value) && isCount(value.node) && isOptional(value.version, isVersion),
  [Kind.LISTING]: value => isTuple(value, isCount, names => isList(names, isText)),
  [Kind.LISTED]: value => isTuple(value, isCount, isText),
  [Kind.DIRTY]: isDirty,
  [Kind.WROTE]: (value, end, milliseconds) =>
    isTuple(value, isCount, isCount) &&
    isCount(end) &&
    (value as number[])[1]! <= end &&
    Number.isFinite(milliseconds),
  [Kind.PAGE]: value => isTuple(value, isCount, isCount, isCount),
  [Kind.PUBLISHING]: value => isTuple(value, isCount, isCount, isFlag),
  [Kind.CLEAN]: (_, node) => isCount(node),
  [Kind.ATTRIBUTES]: value =>
    isRecord(value) &&
    isCount(value.directory) &&
    isSegment(value.segment) &&
    isPlainEntry(value.entry) &&
    isPlainEntry(value.over) &&
    isTime(value.at),
  [Kind.SETTLED]: (_, directory) => isCount(directory),
  [Kind.ATTEMPT]: (value, unique) => isRecord(value) && isCount(value.found) && isCount(unique),
}

function isDirty(value: unknown): boolean {
  if (!isRecord(value)) return false
  const { node, size, mtime, written, pages, file, base, attr, xattrs, info, replaced, publishing } = value
  return (
    isCount(node) &&
    isCount(size) &&
    isTime(mtime) &&
    isList(written, range => isRange(range) && (range as number[])[1]! <= size) &&
    isList(pages, page => isTuple(page, isCount, isCount)) &&
    // A name that leads out of the folder is none of ours.
    isOptional(file, name => isText(name) && /^ovfs-[\w-]+$/.test(name)) &&
    isOptional(base, part => isRecord(part) && isCount(part.end) && isList(part.holes, isRange)) &&
    isRecord(attr) &&
    Object.values(attr).every(Number.isFinite) &&
    isOptional(xattrs, list => isList(list, xattr => isTuple(xattr, isText, isText))) &&
    isOptional(info, isInfo) &&
    isOptional(replaced, isInfo) &&
    isOptional(publishing, isCount) &&
    isFlag(value.exists)
  )
}

function isInfo(value: unknown): boolean {
  if (!isRecord(value)) return false
  const { kind, size, mtime, etag, segment } = value
  return (
    isText(kind) &&
    isCount(size) &&
    isOptional(mtime, isTime) &&
    isOptional(etag, isText) &&
    isOptional(segment, isName)
  )
}

function isVersion(value: unknown): boolean {
  if (!isRecord(value)) return false
  const { size, mtime, etag } = value
  return isCount(size) && isOptional(mtime, isTime) && isOptional(etag, isText)
}

/** Of a file, and the segment that stands for one. */
function isName(value: unknown): boolean {
  return isText(value) && /^(?!\.{0,2}$)[^/\0]+$/s.test(value)
}

/** Where a sidecar has what it keeps: of the directory itself, of a name, or of a directory that shares its name with a file. */
function isSegment(value: unknown): boolean {
  return value === '' || isName(isText(value) ? value.replace(/\/$/, '') : value)
}

/** Never the root, and never out of it. */
function isKey(value: unknown): boolean {
  return isText(value) && value.split('/').every(isName)
}

function isRange(value: unknown): boolean {
  return isTuple(value, isCount, isCount) && (value as number[])[0]! <= (value as number[])[1]!
}
