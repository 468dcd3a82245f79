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

  completed(chain: Chain): void {
    if (this.#waits.length === 0) return
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
