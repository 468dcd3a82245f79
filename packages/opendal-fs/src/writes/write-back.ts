// With write-back, a close is acknowledged once the host's disk has the file. The file is published a moment later: many files at
// once, each as it was last closed, except files that have been removed meanwhile. A publication that fails is tried again, and the
// next close or fsync of the file returns its error.

import { isSaved, type SavedFiles } from '../journal/saved-files.ts'
import type { Inode } from '../names/inode.ts'

/** Files that live shorter than this never reach the storage. */
const DELAY_MS = 500
const LONGEST_DELAY_MS = 60_000

interface Waiting {
  readonly timer: NodeJS.Timeout
  readonly delayMs: number
}

export class WriteBack {
  readonly #saved: SavedFiles
  readonly #publish: (inode: Inode) => Promise<void>
  readonly #waiting = new Map<Inode, Waiting>()
  readonly #failures = new WeakMap<Inode, unknown>()

  /** @param publish brings what is saved of a file into the storage, if something is; reports its failures itself */
  constructor(saved: SavedFiles, publish: (inode: Inode) => Promise<void>) {
    this.#saved = saved
    this.#publish = publish
  }

  /**
   * For close(2): resolves once the host's disk has everything that was written to the file.
   * @throws the error of the publication that failed last, once
   */
  settle(inode: Inode): undefined | Promise<void> {
    if (isSaved(inode) && !this.#failures.has(inode)) return undefined
    return this.#settle(inode)
  }

  async #settle(inode: Inode): Promise<void> {
    await this.#save(inode)
    const failed = this.#failures.has(inode)
    const failure = this.#failures.get(inode)
    this.#failures.delete(inode)
    if (failed) throw failure
  }

  /**
   * The same for the release of the last handle. Linux ignores the answer to RELEASE, so a failure is kept for the next close.
   */
  released(inode: Inode): undefined | Promise<void> {
    return isSaved(inode) ? undefined : this.#save(inode)
  }

  async #save(inode: Inode): Promise<void> {
    await this.#saved.save(inode)
    if (!this.#waiting.has(inode)) this.#schedule(inode, DELAY_MS)
  }

  /** The file has been published otherwise, or is gone. */
  forget(inode: Inode): void {
    clearTimeout(this.#waiting.get(inode)?.timer)
    this.#waiting.delete(inode)
    this.#failures.delete(inode)
  }

  #schedule(inode: Inode, delayMs: number): void {
    // Whoever ends the process publishes first, or leaves it to the journal.
    const timer = setTimeout(() => void this.#run(inode, delayMs), delayMs).unref()
    this.#waiting.set(inode, { timer, delayMs })
  }

  async #run(inode: Inode, delayMs: number): Promise<void> {
    try {
      await this.#publish(inode)
      this.#waiting.delete(inode)
      // Closed again while it was being published.
      if (inode.file!.saved !== undefined) this.#schedule(inode, DELAY_MS)
    } catch (error) {
      this.#failures.set(inode, error)
      this.#schedule(inode, Math.min(2 * delayMs, LONGEST_DELAY_MS))
    }
  }

  /** Starts nothing any more. */
  stop(): void {
    for (const { timer } of this.#waiting.values()) clearTimeout(timer)
    this.#waiting.clear()
  }
}
