// Time limits and second attempts for operations that cannot be cancelled: an OpenDAL promise may stay pending for ever.

import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Settles as `work` does. When the time is over, rejects with the error that `late` makes, and ignores the later outcome of `work`.
 * An answer that arrived while this process was busy is not late.
 */
export function withDeadline<T>(work: Promise<T>, milliseconds: number, late: () => Error): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let settled = false
    const timer = setTimeout(() => {
      // Before this runs, the event loop handles answers that have already arrived.
      setImmediate(() => {
        if (!settled) reject(late())
      })
    }, milliseconds)
    const settle = () => {
      settled = true
      clearTimeout(timer)
    }
    work.then(
      value => {
        settle()
        resolve(value)
      },
      error => {
        settle()
        reject(error)
      },
    )
  })
}

export interface RetryPolicy {
  /** Attempts in all, at least 1. */
  readonly attempts: number
  /** Before the second attempt, in milliseconds; doubles from one to the next. */
  readonly firstDelayMs: number
  readonly maxDelayMs: number
}

/**
 * Tries until it succeeds, fails for good, or the attempts are used up; then rejects with the last error.
 */
export async function withRetries<T>(
  policy: RetryPolicy,
  attempt: () => Promise<T>,
  mayRetry: (error: unknown) => boolean,
): Promise<T> {
  let delay = policy.firstDelayMs
  for (let made = 1; ; made++) {
    try {
      return await attempt()
    } catch (error) {
      if (made >= policy.attempts || !mayRetry(error)) throw error
    }
    // Full jitter: clients that failed together do not come back together.
    await sleep(Math.random() * delay)
    delay = Math.min(delay * 2, policy.maxDelayMs)
  }
}
