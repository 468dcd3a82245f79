// Which of its handles may still read a file: one open description shows one version, or fails with ESTALE. Only versions that
// somebody else put in place count. What this guest writes and publishes is seen by all its handles, as on a local disk.

/** The number of a handle that another process found stale. */
export const STALE = -1

export class ShownVersion {
  /** Versions of others that have replaced what the file was. A handle remembers the number at which it was opened. */
  number = 0
  #staleBelow = 0
  /**
   * The guest may have bytes of the present version: given to a read, taken from a write, or in its page cache since an earlier
   * open. All handles of the file share that page cache.
   */
  isShown = false

  /** Another version of somebody else is in place. */
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
