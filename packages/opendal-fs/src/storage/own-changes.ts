// When this host last changed something in a directory. Where directories exist by themselves, every object that is stored or deleted
// in one gives it another modification time, also those that a guest never sees: sidecars, and files that are replaced whole.

import { type Time, timeOf } from '../attributes/time.ts'

/** Directories that are remembered. */
const MOST = 10_000

export class OwnChanges {
  readonly #times = new Map<string, number>()

  /** To be called when a change has been answered. @param key of the object, or of a directory with its slash */
  made(key: string): void {
    const directory = key.slice(0, key.lastIndexOf('/', key.length - 2) + 1)
    this.#times.delete(directory)
    if (this.#times.size >= MOST) this.#times.delete(this.#times.keys().next().value!)
    // The directory may have a finer time than this clock.
    this.#times.set(directory, Date.now() + 1)
  }

  /** @param directory its key with the slash; empty for the root */
  last(directory: string): Time | undefined {
    const time = this.#times.get(directory)
    return time === undefined ? undefined : timeOf(time)
  }
}
