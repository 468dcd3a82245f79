// The log of a session, read: what was true of each subject when the process was killed. No storage is asked here.

import type { SessionEntry } from '@ovfs/fuse-proto'
import { timeOf } from '../attributes/time.ts'
import type { ObjectVersion } from '../storage/version.ts'
import { RangeSet } from '../writes/range-set.ts'
import { requireShape } from './entry-shapes.ts'
import {
  Kind,
  type LoggedAttempt,
  type LoggedAttributes,
  type LoggedDirectory,
  type LoggedDirty,
  type LoggedFile,
  type LoggedNode,
  type LoggedShown,
} from './log-entries.ts'

/** A node with its lookup count. */
export interface CountedNode extends LoggedNode {
  readonly lookups: number
}

/** Unpublished changes of a file, entry by entry. */
export class DirtyLog {
  state: LoggedDirty
  readonly written = new RangeSet()
  readonly pages: Map<number, number>
  size: number
  milliseconds: number | undefined
  /** What a publication that was begun may have put into the storage; `intact` is what was not written again since. */
  publishing: { readonly size: number; readonly intact: RangeSet } | undefined

  constructor(state: LoggedDirty, earlier: DirtyLog | undefined) {
    this.state = state
    this.size = state.size
    this.pages = new Map(state.pages)
    for (const [start, end] of state.written) this.written.add(start, end)
    if (state.publishing === undefined) return
    this.publishing = earlier?.publishing ?? { size: state.publishing, intact: new RangeSet() }
    keepOnly(this.publishing.intact, this.written)
  }

  wrote(start: number, end: number, milliseconds: number): void {
    this.written.add(start, end)
    this.publishing?.intact.remove(start, end)
    this.size = Math.max(this.size, end)
    this.milliseconds = milliseconds
  }

  /** @param isCurrent what is published is what there is now, and nothing older */
  begins(size: number, isCurrent: boolean): void {
    const intact = new RangeSet()
    if (isCurrent) for (const [start, end] of this.written) intact.add(start, Math.min(end, size))
    this.publishing = { size, intact }
  }

  /** As a dirty file takes it over. */
  get whole(): LoggedDirty {
    const { state, size, milliseconds, written, pages } = this
    const mtime = milliseconds === undefined ? state.mtime : timeOf(milliseconds)
    return { ...state, size, mtime, written: [...written], pages: [...pages] }
  }
}

export class LoggedSession {
  lastId = 0
  lastHandle = 0
  readonly nodes = new Map<number, CountedNode>()
  readonly files = new Map<number, LoggedFile>()
  readonly directories = new Map<number, LoggedDirectory>()
  readonly listings = new Map<number, string[]>()
  /** By node: the versions of which the guest has bytes, if known. */
  readonly shown = new Map<number, ObjectVersion>()
  readonly failures = new Map<number, readonly [code: string, message: string]>()
  readonly dirty = new Map<number, DirtyLog>()
  /** By directory and segment. */
  readonly attributes = new Map<number, Map<string, LoggedAttributes>>()
  readonly attempts = new Map<number, LoggedAttempt>()

  /** Throws if an entry has not the shape that its kind has. */
  constructor(entries: readonly SessionEntry[]) {
    for (const entry of entries) {
      requireShape(entry)
      this.#read(entry)
    }
    for (const id of this.nodes.keys()) this.lastId = Math.max(this.lastId, id)
    for (const fh of [...this.files.keys(), ...this.directories.keys()])
      this.lastHandle = Math.max(this.lastHandle, fh)
  }

  get isEmpty(): boolean {
    return this.nodes.size === 0
  }

  #read({ kind, value, first, second }: SessionEntry): void {
    switch (kind) {
      case Kind.LAST: {
        const [id, fh] = value as [number, number]
        this.lastId = Math.max(this.lastId, id)
        this.lastHandle = Math.max(this.lastHandle, fh)
        return
      }
      case Kind.NODE: {
        const node = value as LoggedNode
        this.nodes.set(node.id, { ...node, lookups: first })
        return
      }
      case Kind.FILE:
        this.files.set((value as LoggedFile).fh, value as LoggedFile)
        return
      case Kind.DIRECTORY:
        this.directories.set((value as LoggedDirectory).fh, value as LoggedDirectory)
        return
      case Kind.CLOSED:
        this.lastHandle = Math.max(this.lastHandle, first)
        this.files.delete(first)
        this.directories.delete(first)
        this.failures.delete(first)
        return
      case Kind.FAILED:
        this.failures.set(first, value as [string, string])
        return
      case Kind.SHOWN: {
        const { node, version } = value as LoggedShown
        if (version === undefined) this.shown.delete(node)
        else this.shown.set(node, version)
        return
      }
      case Kind.LISTING: {
        const [id, names] = value as [number, string[]]
        this.listings.set(id, [...names])
        return
      }
      case Kind.LISTED: {
        const [id, name] = value as [number, string]
        this.listings.get(id)?.push(name)
        return
      }
      case Kind.DIRTY: {
        const state = value as LoggedDirty
        this.dirty.set(state.node, new DirtyLog(state, this.dirty.get(state.node)))
        return
      }
      case Kind.WROTE: {
        const [node, start] = value as [number, number]
        this.dirty.get(node)?.wrote(start, first, second)
        return
      }
      case Kind.PAGE: {
        const [node, index, place] = value as [number, number, number]
        this.dirty.get(node)?.pages.set(index, place)
        return
      }
      case Kind.PUBLISHING: {
        const [node, size, isCurrent] = value as [number, number, boolean]
        this.dirty.get(node)?.begins(size, isCurrent)
        return
      }
      case Kind.CLEAN:
        this.dirty.delete(first)
        return
      case Kind.ATTRIBUTES: {
        const change = value as LoggedAttributes
        const changes = this.attributes.get(change.directory) ?? new Map<string, LoggedAttributes>()
        changes.set(change.segment, change)
        this.attributes.set(change.directory, changes)
        return
      }
      case Kind.SETTLED:
        this.attributes.delete(first)
        return
      case Kind.ATTEMPT:
        this.attempts.set(first, value as LoggedAttempt)
    }
  }
}

/** Takes from `ranges` what is not in `others`. */
function keepOnly(ranges: RangeSet, others: RangeSet): void {
  for (const [start, end] of [...ranges]) {
    for (let at = start; at < end; ) {
      const pieceEnd = others.pieceEnd(at, end)
      if (!others.has(at)) ranges.remove(at, pieceEnd)
      at = pieceEnd
    }
  }
}
