// The memory in which a device records which buffers it has taken and not returned, one block for each ring. The back-end makes
// it, the front-end keeps it, and gives it to the back-end's successor. What is in a block is the device's business.

import type { Infer } from '@ovfs/cstruct'
import { VhostUserError } from './errors.ts'
import type { Inflight } from './payloads.ts'
import { MAX_PIECE_SIZE, Mapping } from './sys/mapping.ts'
import { createMemFd, sealUnlessGuarded } from './sys/memfd.ts'

const MAX_RING_SIZE = 32768

type Description = Infer<typeof Inflight>

function blockBytes({ numQueues, queueSize }: Description, inflightBytes: (size: number) => number): number {
  // Ring indices have 8 bits where rings get their descriptors.
  if (numQueues === 0 || numQueues > 256 || queueSize === 0 || queueSize > MAX_RING_SIZE) {
    throw new VhostUserError('BAD_PAYLOAD', `a record of ${numQueues} rings of ${queueSize} descriptors`)
  }
  return inflightBytes(queueSize)
}

/** GET_INFLIGHT_FD: a new region, all zero; the caller owns the descriptor. */
export function createInflightRegion(
  asked: Description,
  inflightBytes: (size: number) => number,
): { readonly description: Description; readonly fd: number } {
  const mmapSize = blockBytes(asked, inflightBytes) * asked.numQueues
  const fd = createMemFd('inflight', mmapSize)
  const { numQueues, queueSize } = asked
  return { description: { mmapSize, mmapOffset: 0, numQueues, queueSize }, fd }
}

export class InflightRegion {
  readonly #mapping: Mapping
  readonly #block: number
  readonly #numQueues: number
  readonly #queueSize: number
  readonly #inflightBytes: (size: number) => number
  /** Bytes of each ring's block that may have been written to. */
  readonly #used: number[] = []

  /** SET_INFLIGHT_FD; the descriptor is lent. Throws BAD_MEMORY or BAD_PAYLOAD. */
  constructor(description: Description, fd: number, inflightBytes: (size: number) => number) {
    const { mmapSize, mmapOffset, numQueues, queueSize } = description
    this.#block = blockBytes(description, inflightBytes)
    if (mmapSize < this.#block * numQueues || mmapSize > MAX_PIECE_SIZE) {
      throw new VhostUserError('BAD_MEMORY', `${mmapSize} bytes for ${numQueues} records of ${this.#block}`)
    }
    this.#numQueues = numQueues
    this.#queueSize = queueSize
    this.#inflightBytes = inflightBytes
    sealUnlessGuarded(fd)
    this.#mapping = new Mapping({ fd, offset: mmapOffset, size: mmapSize })
  }

  /** The block of a ring; undefined if the region has none for it. */
  record(index: number, size: number): Uint8Array | undefined {
    if (index >= this.#numQueues || size > this.#queueSize) return undefined
    const bytes = this.#inflightBytes(size)
    this.#used[index] = Math.max(bytes, this.#used[index] ?? 0)
    return new Uint8Array(this.#mapping.pieces[0]!, index * this.#block, bytes)
  }

  /** The driver has reset the device: nothing is in flight any more. */
  clear(): void {
    for (const [index, bytes] of this.#used.entries()) {
      if (bytes) new Uint8Array(this.#mapping.pieces[0]!, index * this.#block, bytes).fill(0)
    }
  }

  /** The caller promises that no record is touched any more. */
  unmap(): void {
    this.#mapping.unmap()
  }
}
