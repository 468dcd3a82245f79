// One buffer that the driver made available: a descriptor chain, seen as a readable and a writable byte stream. Where the
// driver put descriptor boundaries means nothing. A queue has one Chain for each head index and uses it again and again:
// it is yours from the call of the handler until `complete`, and no longer.

import { Spans } from './spans.ts'

/** The queue, as a chain sees it. */
export interface ChainOwner {
  retire(chain: Chain, written: number): void
}

export class Chain {
  /** Index of the first descriptor; the name of the buffer towards the driver. */
  readonly head: number
  /** What the driver sends. Empty after `complete`, and after the memory has been taken away. */
  readonly readable = new Spans()
  /** Where the answer goes. Empty after `complete`, and after the memory has been taken away. */
  readonly writable = new Spans()
  /** Kept by the queue. */
  inFlight = false
  readonly #owner: ChainOwner

  constructor(owner: ChainOwner, head: number) {
    this.#owner = owner
    this.head = head
  }

  /**
   * Gives the buffer back: now or at any later time, in any order among chains, exactly once (else NOT_IN_FLIGHT is
   * thrown). After the queue was detached it does nothing.
   * @param written bytes written from the start of `writable`; more than it holds is reported as what it holds
   */
  complete(written: number): void {
    this.#owner.retire(this, written)
  }
}
