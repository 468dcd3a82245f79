// What another process has to know of a file's unpublished changes, to go on with them when this one is killed.

import type { Time } from '../attributes/time.ts'
import type { Ranges } from './file-map.ts'
import type { StagingPage } from './staging-pages.ts'

/** Told before anybody relies on it. */
export interface PlaceRecord {
  /** Bytes of this piece of the file, PAGE bytes each, are in this page from now on. */
  page(index: number, page: StagingPage): void
  /** They are all in the file of `StagingStore.place` from now on. */
  spilled(): void
}

/** Told at once, before anybody is told of the change. */
export interface DirtyRecord extends PlaceRecord {
  wrote(start: number, end: number, mtime: Time): void
  /** Anything else: `state` is another one now. */
  changed(): void
  /** As `changed`, and the version under it is what was published last. */
  rebased(): void
}

/** Where the bytes of a store are. */
export interface StagingPlace {
  readonly pages: readonly (readonly [index: number, place: number])[]
  /** The file in the budget's directory; undefined while there is none. */
  readonly file: string | undefined
}

/** All that there is of a dirty file beside its bytes and the version under it. */
export interface DirtyState extends StagingPlace {
  readonly size: number
  readonly mtime: Time
  readonly written: Ranges
  /** Undefined if nothing of the version under it shows. */
  readonly base: { readonly end: number; readonly holes: Ranges } | undefined
}
