// Holds the operators through which ovfs uses a storage, all derived from one. They differ in their time limits, because OpenDAL ends
// a request only by the limit of its operator. An operator reads credentials once. When the service refuses them because they have
// expired or were rotated, a new operator is made, which reads them again.

import { type Operator, RetryLayer, TimeoutLayer } from './binding.ts'
import type { RetryPolicy } from './deadline.ts'
import { type Refusal, refusalOf } from './service-answer.ts'

export interface ConnectionOptions {
  readonly timeoutMs: number
  /** Of each part of an upload and each page of a listing. */
  readonly retries: RetryPolicy
  readonly renewOperator: RenewOperator | undefined
}

/**
 * Makes a new operator for the same storage, with the current credentials.
 * @param mayGuess make it even if it is unknown whether the credentials have changed
 * @returns undefined if the credentials have not changed, or cannot be read
 */
export type RenewOperator = (mayGuess: boolean) => Operator | undefined

/**
 * The pause between two guesses: new operators that are made without knowing whether the credentials have changed. It doubles while
 * the service keeps refusing the credentials.
 */
const FIRST_PAUSE_MS = 5_000
const LONGEST_PAUSE_MS = 600_000
/** The shortest time between two comparisons of the credentials after refusals of the kind `access`. */
const COMPARISON_PAUSE_MS = 1_000

/** Time limits for transfers are rounded up to powers of this, so that a few operators serve all sizes. */
const LIMIT_STEP = 1.25

const ANOTHER_BUILD =
  'the operator was made by another copy of OpenDAL: make it with the Operator that @ovfs/opendal-fs exports'

/** napi-rs refuses a layer that was made by another native library than the operator. */
function isOfAnotherBuild(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === 'InvalidArg'
}

export class Connection {
  readonly #options: ConnectionOptions
  #operator: Operator
  #plain: Operator
  #lister: Operator
  /** Operators for transfers, by their time limit. */
  readonly #transferring = new Map<number, Operator>()
  #pauseMs = FIRST_PAUSE_MS
  #generation = 0
  #noGuessBefore = 0
  #noComparisonBefore = 0

  constructor(operator: Operator, options: ConnectionOptions) {
    this.#options = options
    this.#operator = operator
    try {
      this.#plain = this.#limited()
    } catch (error) {
      throw isOfAnotherBuild(error) ? new TypeError(ANOTHER_BUILD, { cause: error }) : error
    }
    this.#lister = this.#listing()
  }

  /** With the time limit of a request that moves few bytes. */
  get plain(): Operator {
    return this.#plain
  }

  /** The same limit holds for each page of a listing, and a page that fails is requested again. */
  get lister(): Operator {
    return this.#lister
  }

  /** For a transfer whose caller waits for at most `milliseconds`. */
  transferring(milliseconds: number): Operator {
    const limit = LIMIT_STEP ** Math.ceil(Math.log(milliseconds) / Math.log(LIMIT_STEP))
    const known = this.#transferring.get(limit)
    if (known !== undefined) return known
    const operator = this.#operator.layer(timeLimit(limit))
    this.#transferring.set(limit, operator)
    return operator
  }

  /** For an upload in parts. Each part may take `milliseconds`, including its retries. */
  uploading(milliseconds: number): Operator {
    return this.#repeating(this.#operator).layer(timeLimit(milliseconds))
  }

  /** Counts the operators so far. */
  get generation(): number {
    return this.#generation
  }

  /** Calls `work`. If the service refuses the credentials and a new operator can be made, calls `work` once more. */
  async call<T>(work: () => Promise<T>): Promise<T> {
    const { generation } = this
    try {
      return await work()
    } catch (error) {
      if (!this.renew(error, generation)) throw error
    }
    try {
      const result = await work()
      this.#pauseMs = FIRST_PAUSE_MS
      return result
    } catch (error) {
      // The service knows the caller and refuses only this request: the new credentials are valid.
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
    // Another call has renewed them already.
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
    this.#operator = operator
    this.#plain = this.#limited()
    this.#lister = this.#listing()
    this.#transferring.clear()
    return true
  }

  #limited(): Operator {
    return this.#operator.layer(timeLimit(this.#options.timeoutMs))
  }

  #listing(): Operator {
    return this.#repeating(this.#limited())
  }

  #repeating(operator: Operator): Operator {
    const { retries } = this.#options
    return retries.attempts === 1 ? operator : operator.layer(repeating(retries))
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
