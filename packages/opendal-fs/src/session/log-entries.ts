// What the log of a session says of this file system: nodes, handles, listings that are being read, unpublished changes and
// attempts. Later entries of a subject take the place of earlier ones. The log is our own and only damage can falsify it; what
// is read is checked for its shape all the same (entry-shapes.ts).

import { FIRST_HANDLER_KIND } from '@ovfs/fuse-proto'
import type { Time } from '../attributes/time.ts'
import type { InodeAttr } from '../names/inode.ts'
import type { ObjectInfo } from '../storage/storage.ts'
import type { ObjectVersion } from '../storage/version.ts'
import type { DirtyState } from '../writes/dirty-record.ts'

export const Kind = {
  /** The largest ids that were given out. */
  LAST: FIRST_HANDLER_KIND,
  /** A node; first number: how often it was looked up. */
  NODE: FIRST_HANDLER_KIND + 1,
  FILE: FIRST_HANDLER_KIND + 2,
  DIRECTORY: FIRST_HANDLER_KIND + 3,
  /** First number: the handle. */
  CLOSED: FIRST_HANDLER_KIND + 4,
  /** The names of a listing, by place; and one more. */
  LISTING: FIRST_HANDLER_KIND + 5,
  LISTED: FIRST_HANDLER_KIND + 6,
  /** Unpublished changes of a file. */
  DIRTY: FIRST_HANDLER_KIND + 7,
  /** Bytes written: from the value's start to the first number, at the milliseconds of the second. */
  WROTE: FIRST_HANDLER_KIND + 8,
  PAGE: FIRST_HANDLER_KIND + 9,
  /** A publication begins: the storage may have from now on what there is. */
  PUBLISHING: FIRST_HANDLER_KIND + 10,
  /** First number: a node that has no unpublished changes any more. */
  CLEAN: FIRST_HANDLER_KIND + 11,
  /** An attribute that its directory's sidecar does not have yet. */
  ATTRIBUTES: FIRST_HANDLER_KIND + 12,
  /** First number: the directory whose sidecar has them all. */
  SETTLED: FIRST_HANDLER_KIND + 13,
  /** First number: the request that begins now. */
  ATTEMPT: FIRST_HANDLER_KIND + 14,
  /** A handle whose writes were lost. */
  FAILED: FIRST_HANDLER_KIND + 15,
  /** The guest has bytes of a file. */
  SHOWN: FIRST_HANDLER_KIND + 16,
} as const

export interface LoggedNode {
  readonly id: number
  /** 0 if it has lost its name. */
  readonly parent: number
  readonly name: string
  readonly mode: number
  readonly segment?: string
  readonly target?: string
  readonly lost?: true
  /** Where the object of a removed file is. */
  readonly aside?: string
  readonly marked?: true
}

export interface LoggedFile {
  readonly fh: number
  readonly node: number
  readonly writable: boolean
  /** Another client has replaced the version of which the guest has bytes. */
  readonly stale?: true
  /** The number of the request that opened it. */
  readonly request?: number
}

/** Which version the guest has bytes of. */
export interface LoggedShown {
  readonly node: number
  /** Undefined if the version is not known, or if the guest no longer has bytes of any version. */
  readonly version?: ObjectVersion
}

/** How far a reader of a directory has come: in a listing, or through all of it. */
export interface LoggedDirectory {
  readonly fh: number
  readonly node: number
  readonly listing?: number | 'done'
  /** The number of the request that opened it. */
  readonly request?: number
}

export interface LoggedDirty extends DirtyState {
  readonly node: number
  readonly attr: InodeAttr
  readonly xattrs?: readonly (readonly [name: string, base64: string])[]
  readonly info?: ObjectInfo
  readonly exists: boolean
  readonly replaced?: ObjectInfo
  /** The size of what a publication may have put into the storage, if one was begun on this version. */
  readonly publishing?: number
}

export interface LoggedAttributes {
  readonly directory: number
  readonly segment: string
  readonly entry: Record<string, unknown> | null
  readonly at: Time
  readonly over: Record<string, unknown> | null
  readonly urgent: boolean
}

/** What a request found before it changed anything. */
export interface LoggedAttempt {
  /** The node that the name stood for; 0 if it was free. */
  readonly found: number
}
