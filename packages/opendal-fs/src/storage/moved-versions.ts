// The versions of objects before and after a move by copies, and what the layer above does with them.

import type { ObjectInfo } from './storage.ts'
import { versionName } from './version.ts'

/** One object, as it was before it was moved and as it is since. */
export interface MovedVersion {
  readonly before: ObjectInfo
  readonly after: ObjectInfo
}

/** By path below the directory that was moved, or by segment in one directory. */
export type MovedVersions = ReadonlyMap<string, MovedVersion>

/** The sidecar of one directory, whose files have been copied. */
export interface SidecarMove {
  /** Keys of the directory, with a slash at the end. */
  readonly from: string
  readonly to: string
  /** The sidecar's copy. */
  readonly copy: ObjectInfo
  /** By segment. */
  readonly versions: MovedVersions
  /** The sidecar at `to` may have been rewritten already, or be another client's: newer entries of the one at `from` count. */
  readonly merges: boolean
}

/** Rewrites sidecars for the copies of the files. */
export interface SidecarMover {
  /** The sidecar's segment in every directory. */
  readonly segment: string
  carry(move: SidecarMove): Promise<void>
}

/** True if something that holds for the version before would not hold for the one after. */
export function hasOtherVersion({ before, after }: MovedVersion): boolean {
  return versionName(before) !== versionName(after)
}

/** By directory, which ends with a slash unless it is the one that was moved, and in each by segment. */
export function groupedByDirectory(versions: MovedVersions): ReadonlyMap<string, MovedVersions> {
  const groups = new Map<string, Map<string, MovedVersion>>()
  for (const [path, moved] of versions) {
    const cut = path.lastIndexOf('/') + 1
    const directory = path.slice(0, cut)
    const group = groups.get(directory) ?? new Map<string, MovedVersion>()
    groups.set(directory, group.set(path.slice(cut), moved))
  }
  return groups
}
