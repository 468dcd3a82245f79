// The life of a session that outlives the process: what an earlier one left is taken over before anything is asked, and what is
// left at the end stays for the next, or is removed if there is no guest to go on with.

import { readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { FsError, type NodeId } from '@ovfs/fuse-proto'
import type { Handles } from '../files/handles.ts'
import { StateError } from '../journal/state-error.ts'
import type { Tree } from '../names/tree.ts'
import type { SessionKeeping, Settings } from '../options.ts'
import type { Publisher } from '../writes/publication.ts'
import type { KeptPages } from '../writes/staging-pages.ts'
import type { Attempts } from './attempts.ts'
import { LoggedSession } from './logged-session.ts'
import { SessionResume } from './session-resume.ts'

/** A file of bytes that the log names is not there, or is none. */
const GONE = new Set(['ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP', 'ENXIO'])

interface Parts {
  readonly tree: Tree
  readonly handles: Handles
  readonly publisher: Publisher
  readonly attempts: Attempts
}

export class KeptFileSystem {
  readonly #keeping: SessionKeeping
  readonly #pages: KeptPages
  readonly #settings: Settings
  readonly #parts: Parts
  #resumed: SessionResume | undefined
  /** FORGETs, as node and count: see `forget`. */
  readonly #forgets: number[] = []

  constructor(keeping: SessionKeeping, pages: KeptPages, settings: Settings, parts: Parts) {
    this.#keeping = keeping
    this.#pages = pages
    this.#settings = settings
    this.#parts = parts
  }

  /** There is a guest that may go on with another process. */
  get isLive(): boolean {
    const { tree, handles } = this.#parts
    return (
      this.#keeping.log.isKept && (tree.table.count > 1 || handles.files.size + handles.directories.size > 0)
    )
  }

  /** Puts what the log says in place. Throws StateError DAMAGED. */
  async build(): Promise<SessionResume> {
    const { tree, handles, publisher, attempts } = this.#parts
    try {
      const session = new LoggedSession(this.#keeping.log.earlier)
      const resumed = new SessionResume(session, tree, handles, publisher, () => this.#keeping.log.begin())
      await resumed.build(this.#pages)
      for (const inode of tree.table.values())
        if (inode.file?.detachedKey !== undefined) tree.table.aside.add(inode)
      attempts.resume(session.attempts)
      await this.#sweep(session)
      this.#resumed = resumed
      return resumed
    } catch (cause) {
      throw this.#asDamage(cause)
    } finally {
      // Whatever became of it, this process has not died of it.
      this.#keeping.log.understood()
    }
  }

  /** Asks the storage about what was put in place. Throws StateError DAMAGED if that made no sense. */
  async settle(): Promise<void> {
    try {
      await this.#resumed?.settle()
    } catch (cause) {
      throw this.#asDamage(cause)
    }
  }

  /** What the host or the storage refuses it may grant next time; a session that makes no sense would make none then either. */
  #asDamage(cause: unknown): unknown {
    const isDamage =
      cause instanceof TypeError ||
      cause instanceof RangeError ||
      GONE.has((cause as NodeJS.ErrnoException).code ?? '')
    if (!isDamage || cause instanceof FsError) return cause
    const { message } = cause as Error
    const text = `${this.#keeping.folder.path}: the session cannot be gone on with: ${message}`
    return new StateError('DAMAGED', text, 'EIO', { cause })
  }

  /** From now on changes are written down. */
  begin(): void {
    const { tree, publisher } = this.#parts
    tree.attributes.resumed()
    for (const inode of this.#resumed?.abandoned() ?? []) {
      // The storage layer has reported what failed; write-back and the end of the session try again.
      publisher.settle(inode)?.catch(() => undefined)
    }
    this.#resumed = undefined
  }

  /**
   * Takes a FORGET. It counts a moment later, when the queue has shown the guest that it was taken: one that comes again after a
   * kill would count twice, and a count must never be too low.
   */
  forget(node: NodeId, nlookup: number): void {
    if (this.#forgets.length === 0) setImmediate(() => this.flush())
    this.#forgets.push(node, nlookup)
  }

  flush(): void {
    const { table } = this.#parts.tree
    for (let i = 0; i < this.#forgets.length; i += 2)
      table.forget(this.#forgets[i] as NodeId, this.#forgets[i + 1]!)
    this.#forgets.length = 0
  }

  /** The guest is gone, or begins anew. */
  end(): void {
    this.flush()
    this.#parts.attempts.end()
  }

  close(): void {
    const { log } = this.#keeping
    if (this.isLive || this.#parts.publisher.unpublished().length > 0) log.close()
    else {
      log.discard()
      this.#pages.remove()
    }
  }

  /** Files of bytes that no session has any more. Another folder than ours may be shared with others. */
  async #sweep({ dirty }: LoggedSession): Promise<void> {
    const { path } = this.#keeping.folder
    if (this.#settings.stagingDir !== path) return
    const used = new Set(Array.from(dirty.values(), ({ state }) => state.file))
    for (const name of await readdir(path))
      if (name.startsWith('ovfs-') && !used.has(name)) await unlink(join(path, name))
  }
}
