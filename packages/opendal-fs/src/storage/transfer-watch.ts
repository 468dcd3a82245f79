// Decides how long a transfer may take. OpenDAL does not report the progress of a request, and on a slow line a large object takes
// many time limits. So a transfer goes on while the service answers any request. If the service has answered no request for one time
// limit, one cheap request tests whether it still answers.

import { withDeadline } from './deadline.ts'

/** The slowest useful line, in bytes per second: sets the upper bound of a transfer by its size. */
const SLOWEST_LINE = 32 << 10
/** The longest delay that Node's timers take, in milliseconds. */
const LONGEST_DELAY_MS = 2 ** 31 - 1

export interface Transfer {
  /** Bytes that go through this host. */
  readonly bytes: number
  /** How long the service's own work on them may take, in milliseconds. */
  readonly serviceMs?: number
}

export class TransferWatch {
  readonly #limitMs: number
  readonly #graceMs: number
  readonly #ask: () => Promise<boolean>
  #lastAnswer = Number.NEGATIVE_INFINITY
  /** Bytes of all transfers under way: they share the line. */
  #underWay = 0
  #asking: Promise<boolean> | undefined

  /**
   * @param graceMs how much longer than its own time limit an operation is waited for
   * @param ask sends one cheap request; false if the service did not answer it
   */
  constructor(limitMs: number, graceMs: number, ask: () => Promise<boolean>) {
    this.#limitMs = limitMs
    this.#graceMs = graceMs
    this.#ask = ask
  }

  /** To be called when the service has answered a request, with success or an error. */
  answered(): void {
    this.#lastAnswer = performance.now()
  }

  /** The longest that a transfer which begins now may take, in milliseconds. */
  longestMs({ bytes, serviceMs = 0 }: Transfer, underWay = this.#underWay + bytes): number {
    return this.#limitMs + serviceMs + (underWay / SLOWEST_LINE) * 1000
  }

  /**
   * Settles as `work` does, or rejects when the service no longer answers, or when the upper bound has passed.
   * @param late makes the error. If the service `answers`, the milliseconds are those of the whole transfer, else those of its silence
   */
  run<T>(
    work: Promise<T>,
    transfer: Transfer,
    late: (milliseconds: number, answers: boolean) => Error,
  ): Promise<T> {
    const begun = performance.now()
    this.#underWay += transfer.bytes
    let mostUnderWay = this.#underWay
    let timer: NodeJS.Timeout | undefined
    let settled = false

    return new Promise<T>((resolve, reject) => {
      const end = () => {
        settled = true
        clearTimeout(timer)
        this.#underWay -= transfer.bytes
      }
      const fail = (milliseconds: number, answers: boolean) => {
        end()
        reject(late(Math.round(milliseconds), answers))
      }
      const look = async () => {
        // What arrived while this process was busy counts.
        await new Promise(setImmediate)
        if (settled) return
        mostUnderWay = Math.max(mostUnderWay, this.#underWay)
        const now = performance.now()
        const bound = begun + this.longestMs(transfer, mostUnderWay) + this.#graceMs
        if (now >= bound) return fail(now - begun, true)
        const heard = Math.max(begun, this.#lastAnswer)
        if (now - heard >= this.#limitMs && !(await this.#answers())) {
          if (!settled) fail(performance.now() - heard, false)
          return
        }
        if (settled) return
        const next = Math.min(bound, Math.max(begun, this.#lastAnswer) + this.#limitMs) - performance.now()
        timer = setTimeout(look, Math.min(Math.max(1, next), LONGEST_DELAY_MS))
      }
      timer = setTimeout(look, Math.min(this.#limitMs, LONGEST_DELAY_MS))
      work.then(
        value => {
          if (settled) return
          end()
          resolve(value)
        },
        error => {
          if (settled) return
          end()
          reject(error)
        },
      )
    })
  }

  /** Sends one request for all transfers that wait for the outcome. */
  #answers(): Promise<boolean> {
    this.#asking ??= withDeadline(this.#ask(), this.#limitMs + this.#graceMs, () => new Error('no answer'))
      .catch(() => false)
      .then(answers => {
        if (answers) this.answered()
        this.#asking = undefined
        return answers
      })
    return this.#asking
  }
}
