// Decides whether two looks at a key found the same version of an object: for cached bytes, conflicts, the journal's replay,
// sidecars, and sessions that another process or host continues.
//
// ETags decide if both looks have one. They are compared weakly (RFC 9110, 8.8.3.2): Apache's mod_dav sends `W/"x"` for a
// file that was written within the last second, and `"x"` for the same bytes afterwards. A weak ETag alone promises only
// equivalent content, so the modification times must agree too. Without ETags the modification times decide, compared at
// the coarser of their two granularities.

import type { Time } from '../attributes/time.ts'
import type { ObjectInfo } from './storage.ts'

/** What distinguishes versions; a service may lack the ETag or the time. */
export type ObjectVersion = Pick<ObjectInfo, 'size' | 'etag' | 'mtime'>

/** `unknown` if the sizes agree and nothing else can be compared. */
export type Comparison = 'same' | 'different' | 'unknown'

export function compareVersions(a: ObjectVersion, b: ObjectVersion): Comparison {
  if (a.size !== b.size) return 'different'
  const times = compareCoarsely(a.mtime, b.mtime)
  if (a.etag === undefined || b.etag === undefined) return times
  if (!isSameEtag(a.etag, b.etag)) return 'different'
  return (isWeak(a.etag) || isWeak(b.etag)) && times === 'different' ? 'different' : 'same'
}

/** True if bytes of version `a` may be used for version `b`. If a service reports only sizes, equal sizes are enough. */
export function isSameVersion(a: ObjectVersion, b: ObjectVersion): boolean {
  const comparison = compareVersions(a, b)
  return comparison === 'same' || (comparison === 'unknown' && isVersionBlind(a) && isVersionBlind(b))
}

/** False only if the found object, or its absence, certainly differs from what was expected. */
export function mayBeVersion(expected: ObjectInfo | undefined, found: ObjectInfo | undefined): boolean {
  if (expected === undefined || found === undefined) return expected === found
  return expected.kind === found.kind && compareVersions(expected, found) !== 'different'
}

/** True if the service reports only a size, so that a change to another version of that size is invisible. */
export function isVersionBlind({ etag, mtime }: ObjectVersion): boolean {
  return etag === undefined && mtime === undefined
}

/** The ETag for If-Match, which compares strongly: a weak one never matches (RFC 9110, 13.1.1). */
export function strongEtag(etag: string | undefined): string | undefined {
  return etag === undefined || isWeak(etag) ? undefined : etag
}

/** A version as a text, which a sidecar stores with the times that belong to the version. */
export function versionName({ size, etag, mtime }: ObjectVersion): string {
  if (etag !== undefined) return opaqueTag(etag)
  return mtime === undefined ? String(size) : `${size}@${mtime.sec}.${mtime.nsec}`
}

/** True if `name` is the version's name. Earlier releases stored weak ETags as they came. */
export function isVersionNamed(version: ObjectVersion, name: string): boolean {
  return versionName(version) === opaqueTag(name)
}

/** Compares weakly. */
export function isSameEtag(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && b !== undefined && opaqueTag(a) === opaqueTag(b)
}

function isWeak(etag: string): boolean {
  return etag.startsWith('W/')
}

function opaqueTag(etag: string): string {
  return isWeak(etag) ? etag.slice(2) : etag
}

function compareCoarsely(a: Time | undefined, b: Time | undefined): Comparison {
  if (a === undefined || b === undefined) return 'unknown'
  const unit = Math.max(granularity(a), granularity(b))
  const isSame = a.sec === b.sec && Math.floor(a.nsec / unit) === Math.floor(b.nsec / unit)
  return isSame ? 'same' : 'different'
}

/** The granularity of a time, in nanoseconds. A fine time that happens to be round counts as a coarser one. */
function granularity({ nsec }: Time): number {
  return [1e9, 1e6, 1e3].find(unit => nsec % unit === 0) ?? 1
}
