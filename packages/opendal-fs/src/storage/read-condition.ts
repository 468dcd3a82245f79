// Reads of one version of an object (If-Match). OpenDAL knows which protocols have this condition. Some S3 gateways ignore it and
// return any version; others answer 400 or 501. Both show only when a condition is sent. On such a gateway the caller must look at
// the object after each read.

import type { Capability } from './binding.ts'
import type { ServiceTraits } from './service-traits.ts'
import { strongEtag } from './version.ts'
import { mayRefuseCondition } from './write-condition.ts'

export class ConditionalReads {
  readonly #capability: Capability
  readonly #traits: ServiceTraits
  readonly #onRefused: () => void

  /** @param onRefused called once, if the server refuses the condition */
  constructor(capability: Capability, traits: ServiceTraits, onRefused: () => void) {
    this.#capability = capability
    this.#traits = traits
    this.#onRefused = onRefused
  }

  /** True if the condition is sent. */
  get areSent(): boolean {
    return this.#capability.readWithIfMatch && this.#traits.readCondition !== 'refused'
  }

  /**
   * Reads with the condition. If the server refuses it, reads again without it. If that succeeds, the condition is never sent
   * again. A server that has accepted the condition once does not refuse it later.
   */
  async run<T>(etag: string | undefined, read: (options: { ifMatch?: string }) => Promise<T>): Promise<T> {
    const ifMatch = this.areSent ? strongEtag(etag) : undefined
    if (ifMatch === undefined) return read({})
    let refusal: unknown
    try {
      const result = await read({ ifMatch })
      if (this.#traits.readCondition === 'unknown') this.#traits.readCondition = 'works'
      return result
    } catch (error) {
      if (this.#traits.readCondition === 'works' || !mayRefuseCondition(error)) throw error
      refusal = error
    }
    let result: T
    try {
      result = await read({})
    } catch (error) {
      // The condition was not the reason, or the reason is unknown: the next read tries the condition again.
      throw mayRefuseCondition(error) ? refusal : error
    }
    if (this.#traits.readCondition === 'unknown') {
      this.#traits.readCondition = 'refused'
      this.#onRefused()
    }
    return result
  }
}
