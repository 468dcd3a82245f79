// Who waits for chains in flight to be completed, because the memory that they reach into is to go.

import type { Chain } from './chain.ts'

interface Wait {
  readonly chains: Set<Chain>
  readonly resolve: () => void
}

export class Releases {
  #waits: Wait[] = []

  /** Resolves when all of them have been completed. */
  after(chains: Set<Chain>): Promise<void> {
    return new Promise(resolve => this.#waits.push({ chains, resolve }))
  }

  /** Asked for each chain: `completed` allocates, even where nobody waits. */
  get awaited(): boolean {
    return this.#waits.length > 0
  }

  completed(chain: Chain): void {
    this.#waits = this.#waits.filter(({ chains, resolve }) => {
      chains.delete(chain)
      if (chains.size > 0) return true
      resolve()
      return false
    })
  }

  /** No chain will be completed any more. */
  abandon(): void {
    for (const { resolve } of this.#waits) resolve()
    this.#waits = []
  }
}
