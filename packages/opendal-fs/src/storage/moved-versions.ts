// The versions of objects before and after a move by copies, and the interface through which sidecars are updated to them.

import type { ObjectInfo } from './storage.ts'
import { versionName } from './version.ts'

/** One object, before and after its move. */
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
  /** The sidecar at `to` may have been updated already, or may be another client's: take newer entries from the one at `from`. */
  readonly merges: boolean
}

/** Updates sidecars to the versions of the copies. */
export interface SidecarMover {
  /** The sidecar's segment in every directory. */
  readonly segment: string
  carry(move: SidecarMove): Promise<void>
}

/** True if the copy is another version, so that a sidecar's entry for the old version must be updated. */
export function hasOtherVersion({ before, after }: MovedVersion): boolean {
  return versionName(before) !== versionName(after)
}

/** Groups by directory, and in each by segment. A directory's path ends with a slash; that of the moved directory itself is empty. */
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
