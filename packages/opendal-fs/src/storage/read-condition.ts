// Reads of one version of an object (If-Match). OpenDAL knows which protocols have that. Some S3 gateways ignore it and give whatever
// version is there; others answer 400 or 501. Both show only when it is sent, and then the caller has to look after each read.

import type { Capability } from './binding.ts'
import type { ServiceTraits } from './service-traits.ts'
import { strongEtag } from './version.ts'
import { mayRefuseCondition } from './write-condition.ts'

export class ConditionalReads {
  readonly #capability: Capability
  readonly #traits: ServiceTraits
  readonly #onRefused: () => void

  /** @param onRefused told once that the server turns out to refuse the condition */
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
   * Reads with the condition if the server takes it. If it refuses that, reads again without it, and if this succeeds the condition
   * is not sent any more. A server that has taken it once does not refuse it.
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
      // The server refuses the read for another reason; or nothing can be said yet.
      throw mayRefuseCondition(error) ? refusal : error
    }
    if (this.#traits.readCondition === 'unknown') {
      this.#traits.readCondition = 'refused'
      this.#onRefused()
    }
    return result
  }
}
