// The operators through which a storage is asked, all made from one. Credentials end, and what OpenDAL has read of them once it
// keeps: when the service refuses them, a new operator is asked for, which reads them again.

import { type Operator, RetryLayer, TimeoutLayer } from './binding.ts'
import type { RetryPolicy } from './deadline.ts'
import { isRefusal } from './storage-error.ts'

export interface ConnectionOptions {
  readonly timeoutMs: number
  /** What the parts of an upload that are under way at once may take beyond that. */
  readonly uploadMs: number
  /** Of each part. */
  readonly retries: RetryPolicy
  /** Another operator on the same place, with what credentials there are now; undefined if there is nothing new to try. */
  readonly renewOperator: (() => Operator | undefined) | undefined
}

/** A service that refuses everything is not asked with new operators all the time: between two there is this, and ever more. */
const FIRST_PAUSE_MS = 5_000
const LONGEST_PAUSE_MS = 600_000

export class Connection {
  readonly #options: ConnectionOptions
  #plain: Operator
  #patient: Operator
  #uploader: Operator
  #pauseMs = FIRST_PAUSE_MS
  #notBefore = 0

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

  /** Calls, and once more with a new operator if the service refuses the one that there is. */
  async call<T>(work: (operator: Operator) => Promise<T>): Promise<T> {
    const used = this.#plain
    try {
      return await work(used)
    } catch (error) {
      // Another call may have been faster.
      if (!isRefusal(error) || (used === this.#plain && !this.#renew())) throw error
    }
    const result = await work(this.#plain)
    this.#pauseMs = FIRST_PAUSE_MS
    return result
  }

  #renew(): boolean {
    const { renewOperator } = this.#options
    const now = Date.now()
    if (renewOperator === undefined || now < this.#notBefore) return false
    this.#notBefore = now + this.#pauseMs
    this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS)
    const operator = renewOperator()
    if (operator === undefined) return false
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
