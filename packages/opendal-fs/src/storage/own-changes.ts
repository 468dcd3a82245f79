// Remembers when this host last changed an object in a directory. On services with real directories, storing or deleting any object
// changes the modification time of its directory. The guest must not see that for sidecars or for the new bytes of a file.

import { type Time, timeOf } from '../attributes/time.ts'

/** The largest number of directories that are remembered. */
const MOST = 10_000

export class OwnChanges {
  readonly #times = new Map<string, number>()

  /** To be called when the service has answered a change. @param key of the object, or of a directory with its slash */
  made(key: string): void {
    const directory = key.slice(0, key.lastIndexOf('/', key.length - 2) + 1)
    this.#times.delete(directory)
    if (this.#times.size >= MOST) this.#times.delete(this.#times.keys().next().value!)
    // The service may store finer times than Date.now(), so round up.
    this.#times.set(directory, Date.now() + 1)
  }

  /** @param directory its key with the slash; empty for the root */
  last(directory: string): Time | undefined {
    const time = this.#times.get(directory)
    return time === undefined ? undefined : timeOf(time)
  }
}
