// Whether an entry of a session's log has the shape that its kind has: ids, sizes and ranges that can be, and names and keys that
// lead nowhere else. What is wrong in itself is found here; what does not fit together, where it is put in place.

import type { SessionEntry } from '@ovfs/fuse-proto'
import { fromPlain } from '../attributes/attribute-entry.ts'
import { Kind } from './log-entries.ts'

type Fields = Readonly<Record<string, unknown>>
type Check = (value: unknown, first: number, second: number) => boolean

/** Throws TypeError. */
export function requireShape({ kind, value, first, second }: SessionEntry): void {
  if (CHECKS[kind]?.(value, first, second) === false)
    throw new TypeError(`an entry of kind ${kind} is none: ${JSON.stringify(value)?.slice(0, 100)}`)
}

const CHECKS: Readonly<Record<number, Check>> = {
  [Kind.LAST]: value => isTuple(value, isCount, isCount),
  [Kind.NODE]: (value, lookups) =>
    isRecord(value) &&
    [value.id, value.parent, value.mode, lookups].every(isCount) &&
    isName(value.name) &&
    isOptional(value.segment, isName) &&
    isOptional(value.target, isText) &&
    isOptional(value.aside, isKey),
  [Kind.FILE]: value =>
    isRecord(value) && isCount(value.fh) && isCount(value.node) && typeof value.writable === 'boolean',
  [Kind.DIRECTORY]: value =>
    isRecord(value) &&
    isCount(value.fh) &&
    isCount(value.node) &&
    isOptional(value.listing, listing => listing === 'done' || isCount(listing)),
  [Kind.CLOSED]: (_, fh) => isCount(fh),
  [Kind.FAILED]: (value, fh) => isTuple(value, isText, isText) && isCount(fh),
  [Kind.LISTING]: value => isTuple(value, isCount, names => isList(names, isText)),
  [Kind.LISTED]: value => isTuple(value, isCount, isText),
  [Kind.DIRTY]: isDirty,
  [Kind.WROTE]: (value, end, milliseconds) =>
    isTuple(value, isCount, isCount) &&
    isCount(end) &&
    (value as number[])[1]! <= end &&
    Number.isFinite(milliseconds),
  [Kind.PAGE]: value => isTuple(value, isCount, isCount, isCount),
  [Kind.PUBLISHING]: value => isTuple(value, isCount, isCount, isCurrent => typeof isCurrent === 'boolean'),
  [Kind.CLEAN]: (_, node) => isCount(node),
  [Kind.ATTRIBUTES]: value =>
    isRecord(value) &&
    isCount(value.directory) &&
    (value.segment === '' || isName(value.segment)) &&
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
    typeof value.exists === 'boolean'
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

function isPlainEntry(value: unknown): boolean {
  if (value === null) return true
  if (!isRecord(value)) return false
  try {
    fromPlain(value)
    return true
  } catch {
    return false
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

/** Of a file, and the segment that stands for one. */
function isName(value: unknown): boolean {
  return isText(value) && /^(?!\.{0,2}$)[^/\0]+$/s.test(value)
}

/** Never the root, and never out of it. */
function isKey(value: unknown): boolean {
  return isText(value) && value.split('/').every(isName)
}

function isTime(value: unknown): boolean {
  return isRecord(value) && Number.isSafeInteger(value.sec) && isCount(value.nsec)
}

function isRange(value: unknown): boolean {
  return isTuple(value, isCount, isCount) && (value as number[])[0]! <= (value as number[])[1]!
}

function isTuple(value: unknown, ...checks: readonly ((part: unknown) => boolean)[]): boolean {
  return Array.isArray(value) && value.length === checks.length && checks.every((check, i) => check(value[i]))
}

function isList(value: unknown, check: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(check)
}

function isOptional(value: unknown, check: (value: unknown) => boolean): boolean {
  return value === undefined || check(value)
}

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
