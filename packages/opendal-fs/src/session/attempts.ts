// Requests that change names or the like, each noted with what it found before it changes anything. One that comes again,
// because the process that began it was killed, then knows its own work from somebody else's: the directory that is in the way
// of a MKDIR is the one that the first attempt made.

import type { RequestContext } from '@ovfs/fuse-proto'
import type { LoggedAttempt } from './log-entries.ts'
import type { SessionRecord } from './session-record.ts'

/** Of earlier ones; more cannot be in flight. Those that were answered are among them, and are never asked for. */
const MOST_EARLIER = 1 << 16

export class Attempts {
  readonly #record: SessionRecord | undefined
  readonly #earlier = new Map<number, LoggedAttempt>()

  constructor(record: SessionRecord | undefined) {
    this.#record = record
  }

  /** What an earlier process has begun, by `unique`. */
  resume(earlier: Iterable<readonly [unique: number, attempt: LoggedAttempt]>): void {
    for (const [unique, attempt] of [...earlier].slice(-MOST_EARLIER)) {
      this.#earlier.set(unique, attempt)
      this.#record?.attempt(unique, attempt)
    }
  }

  /** The session is over: the numbers of the next one's requests begin anew, and are of other requests. */
  end(): void {
    this.#earlier.clear()
    this.#record?.endAttempts()
  }

  /**
   * @param look says what is there: a number of the task's own choice
   * @param task is given what `look` said when the request came for the first time, if this is not the first time
   */
  async run<T>(
    { unique = 0 }: RequestContext,
    look: () => Promise<number>,
    task: (found: number | undefined) => Promise<T>,
  ): Promise<T> {
    const record = this.#record
    if (record === undefined || unique <= 0) return task(undefined)
    const earlier = this.#earlier.get(unique)
    if (earlier === undefined) record.attempt(unique, { found: await look() })
    try {
      return await task(earlier?.found)
    } finally {
      this.#earlier.delete(unique)
      record.attempted(unique)
    }
  }
}
