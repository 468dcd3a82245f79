// Decides which handles may still read a file: a handle shows the bytes of one version, or fails with ESTALE. Only versions that
// another client has stored make a handle stale. All handles see what this guest writes and publishes, as on a local disk.

/** The number of a handle that was stale already in the daemon before, or on the host before. */
export const STALE = -1

export class ShownVersion {
  /** Counts the versions of other clients that have replaced the file's. A handle stores the number at which it was opened. */
  number = 0
  #staleBelow = 0
  /**
   * The guest may have bytes of the current version: from a read, from its own write, or in its page cache from an earlier open. All
   * handles of the file share that page cache.
   */
  isShown = false

  /** Another client has replaced the version. */
  replaced(): void {
    this.number++
    if (this.isShown) this.#staleBelow = this.number
    this.isShown = false
  }

  /** @param opened the number at which the handle was opened */
  isStale(opened: number): boolean {
    return opened < this.#staleBelow
  }
}
