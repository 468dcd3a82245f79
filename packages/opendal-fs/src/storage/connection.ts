// The operators through which a storage is asked, all made from one. OpenDAL reads credentials once and keeps them, while they
// expire or are rotated: when the service refuses them, a new operator is made, which reads them again.

import { type Operator, RetryLayer, TimeoutLayer } from './binding.ts'
import type { RetryPolicy } from './deadline.ts'
import { type Refusal, refusalOf } from './service-answer.ts'

export interface ConnectionOptions {
  readonly timeoutMs: number
  /** What the parts of an upload that are under way at once may take beyond that. */
  readonly uploadMs: number
  /** Of each part. */
  readonly retries: RetryPolicy
  readonly renewOperator: RenewOperator | undefined
}

/**
 * Makes another operator on the same place with the credentials that can be read now.
 * @param mayGuess make it also if nobody can tell whether the credentials are other ones
 * @returns undefined if the credentials are the same, or cannot be read
 */
export type RenewOperator = (mayGuess: boolean) => Operator | undefined

/** The pause between two guesses. It doubles while the service keeps refusing the credentials. */
const FIRST_PAUSE_MS = 5_000
const LONGEST_PAUSE_MS = 600_000
/** The least time between two comparisons of the credentials for objects that the service refuses a known caller. */
const COMPARISON_PAUSE_MS = 1_000

export class Connection {
  readonly #options: ConnectionOptions
  #plain: Operator
  #patient: Operator
  #uploader: Operator
  #pauseMs = FIRST_PAUSE_MS
  #generation = 0
  #noGuessBefore = 0
  #noComparisonBefore = 0

  constructor(operator: Operator, options: ConnectionOptions) {
    this.#options = options
    this.#patient = operator
    this.#plain = this.#limited(operator)
    this.#uploader = this.#uploading(operator)
  }

  /** With the time limit of every operation. */
  get plain(): Operator {
    return this.#plain
  }

  /** Without a limit inside. */
  get patient(): Operator {
    return this.#patient
  }

  /** For objects that are written in parts. */
  get uploader(): Operator {
    return this.#uploader
  }

  /** Counts the operators so far. */
  get generation(): number {
    return this.#generation
  }

  /** Calls, and once more with a new operator if the service refuses the credentials and there are others. */
  async call<T>(work: (operator: Operator) => Promise<T>): Promise<T> {
    const { generation } = this
    try {
      return await work(this.#plain)
    } catch (error) {
      if (!this.renew(error, generation)) throw error
    }
    try {
      const result = await work(this.#plain)
      this.#pauseMs = FIRST_PAUSE_MS
      return result
    } catch (error) {
      // A known caller is refused something: the credentials are good.
      if (isOfObject(refusalOf(error))) this.#pauseMs = FIRST_PAUSE_MS
      throw error
    }
  }

  /**
   * To be called when a call has failed.
   * @param generation of the operator that was called
   * @returns true if the call may succeed now, with another operator
   */
  renew(error: unknown, generation: number): boolean {
    const refusal = refusalOf(error)
    if (refusal === undefined || refusal === 'object') return false
    // Another call was faster.
    if (generation !== this.#generation) return true
    const { renewOperator } = this.#options
    const now = Date.now()
    const mayGuess = refusal !== 'access' && now >= this.#noGuessBefore
    if (refusal === 'access' && now < this.#noComparisonBefore) return false
    this.#noComparisonBefore = now + COMPARISON_PAUSE_MS
    const operator = renewOperator?.(mayGuess)
    if (operator === undefined) return false
    if (mayGuess) {
      this.#noGuessBefore = now + this.#pauseMs
      if (refusal === 'credentials') this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS)
    }
    this.#generation++
    this.#patient = operator
    this.#plain = this.#limited(operator)
    this.#uploader = this.#uploading(operator)
    return true
  }

  #limited(operator: Operator): Operator {
    return operator.layer(timeLimit(this.#options.timeoutMs))
  }

  #uploading(operator: Operator): Operator {
    const { timeoutMs, uploadMs, retries } = this.#options
    const uploader = operator.layer(timeLimit(timeoutMs + uploadMs))
    return retries.attempts === 1 ? uploader : uploader.layer(repeating(retries))
  }
}

function isOfObject(refusal: Refusal | undefined): boolean {
  return refusal === 'access' || refusal === 'object'
}

type Layer = Parameters<Operator['layer']>[0]

function timeLimit(milliseconds: number): Layer {
  const layer = new TimeoutLayer()
  layer.timeout = milliseconds
  layer.ioTimeout = milliseconds
  return layer.build()
}

function repeating({ attempts, firstDelayMs, maxDelayMs }: RetryPolicy): Layer {
  const layer = new RetryLayer()
  layer.maxTimes = attempts - 1
  layer.minDelay = firstDelayMs
  layer.maxDelay = maxDelayMs
  layer.jitter = true
  return layer.build()
}
