// Turns a head index into the spans of its chain, checking what virtio 1.2 section 2.7.5 asks of the driver. The driver
// may rewrite descriptors while they are read: each field is loaded once, and only the loaded values are checked and used.

import { VirtqueueError, type VirtqueueErrorCode } from './errors.ts'
import type { GuestMemory } from './guest-memory.ts'
import {
  DESCRIPTOR_SIZE,
  type RingPart,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
} from './ring-layout.ts'
import { copyFromSpans } from './span-copy.ts'
import { Spans } from './spans.ts'

const NO_WORDS: Uint32Array = new Uint32Array(0)

const DESCRIPTOR_WORDS = DESCRIPTOR_SIZE / 4

/** 2.7.4: the buffers of one chain have at most 2^32 bytes together. */
const MAX_CHAIN_BYTES = 2 ** 32

export interface ChainRules {
  /** Entries of the ring's own descriptor table. */
  readonly size: number
  /** VIRTIO_RING_F_INDIRECT_DESC was negotiated. */
  readonly indirect: boolean
  /** Descriptors in a chain, and entries in an indirect table. */
  readonly maxChainLength: number
}

export class ChainWalker {
  /** Why the last `walk` returned false. */
  fault: VirtqueueError | undefined
  readonly #memory: GuestMemory
  readonly #size: number
  readonly #indirect: boolean
  readonly #maxChainLength: number
  /** The ring's descriptor table: where its first word is. */
  #descWords = NO_WORDS
  #descAt = 0
  /** The indirect table, set by #enterTable. */
  #tableWords = NO_WORDS
  #tableAt = 0
  /** For the copy of a table that does not lie in one piece, or not at a multiple of 4; made when first needed. */
  #copySpans: Spans | undefined
  #copyBytes: Uint8Array | undefined
  #copyWords = NO_WORDS

  constructor(memory: GuestMemory, rules: ChainRules) {
    this.#memory = memory
    this.#size = rules.size
    this.#indirect = rules.indirect
    this.#maxChainLength = rules.maxChainLength
  }

  /** Where the descriptor table is from now on; undefined when it is nowhere, and then `walk` must not be called. */
  setTable(desc: RingPart | undefined): void {
    this.#descWords = desc?.piece.words ?? NO_WORDS
    this.#descAt = (desc?.offset ?? 0) >>> 2
    this.#tableWords = NO_WORDS
    this.#copySpans = undefined
  }

  /**
   * Appends the spans of the chain that starts at `head` (below the ring's size) to `readable` and `writable`. Returns
   * false if the chain breaks a rule: then `fault` says which, and the spans are of no use.
   */
  walk(head: number, readable: Spans, writable: Spans): boolean {
    const memory = this.#memory
    let words = this.#descWords
    let base = this.#descAt
    let entries = this.#size
    let inTable = false
    let index = head
    let visited = 0
    let total = 0
    for (;;) {
      const at = base + index * DESCRIPTOR_WORDS
      const addressLow = words[at]!
      const addressHigh = words[at + 1]!
      const length = words[at + 2]!
      const flagsAndNext = words[at + 3]!
      // Inexact above 2^53, where no region is; so it cannot turn into an address that is mapped.
      const address = addressHigh * 0x1_0000_0000 + addressLow

      if ((flagsAndNext & VIRTQ_DESC_F_INDIRECT) !== 0) {
        // 2.7.5.3.1: no INDIRECT within a table.
        if (inTable) return this.#fail('NESTED_INDIRECT', head, 'an indirect table refers to another one')
        if (!this.#enterTable(head, address, length, flagsAndNext)) return false
        words = this.#tableWords
        base = this.#tableAt
        entries = length / DESCRIPTOR_SIZE
        inTable = true
        index = 0
        visited = 0
        continue
      }

      if ((flagsAndNext & VIRTQ_DESC_F_WRITE) === 0) {
        // 2.7.4.2: all device-readable buffers come before all device-writable ones. Empty ones are no buffers.
        if (writable.count !== 0) {
          return this.#fail(
            'READABLE_AFTER_WRITABLE',
            head,
            `descriptor ${index} is readable, one before it writable`,
          )
        }
        if (!memory.translate(address, length, readable)) return this.#unmapped(head, address, length)
      } else if (!memory.translate(address, length, writable)) {
        return this.#unmapped(head, address, length)
      }

      total += length
      // 2.7.4: limits the bytes, and with them the spans that huge buffers over many pieces make.
      if (total > MAX_CHAIN_BYTES) return this.#fail('TOO_LONG', head, 'its buffers exceed 2^32 bytes')
      if ((flagsAndNext & VIRTQ_DESC_F_NEXT) === 0) return true

      // 2.7.5: `next` stays within the table.
      index = flagsAndNext >>> 16
      if (index >= entries) return this.#fail('BAD_NEXT', head, `next is ${index} of ${entries} descriptors`)
      // 2.7.5.2: no loops. A chain of more steps than there are descriptors visits one twice.
      if (++visited >= entries)
        return this.#fail('LOOP', head, `it does not end within ${entries} descriptors`)
    }
  }

  #enterTable(head: number, address: number, length: number, flags: number): boolean {
    // 2.7.5.3.1: INDIRECT only if the feature was negotiated, and never together with NEXT.
    if (!this.#indirect) return this.#fail('INDIRECT_NOT_NEGOTIATED', head, 'it has an indirect table')
    if ((flags & VIRTQ_DESC_F_NEXT) !== 0)
      return this.#fail('INDIRECT_WITH_NEXT', head, 'INDIRECT and NEXT are both set')
    // 2.7.5.3.2: the table's length is a multiple of the descriptor's; WRITE of the referring descriptor is ignored.
    if (length === 0 || length % DESCRIPTOR_SIZE !== 0) {
      return this.#fail('INDIRECT_LENGTH', head, `an indirect table of ${length} bytes`)
    }
    if (length / DESCRIPTOR_SIZE > this.#maxChainLength) {
      const entries = length / DESCRIPTOR_SIZE
      return this.#fail(
        'TOO_LONG',
        head,
        `an indirect table of ${entries} entries, limit ${this.#maxChainLength}`,
      )
    }
    const piece = this.#memory.pieceOf(address, length)
    const offset = piece === undefined ? 0 : address - piece.guestStart
    if (piece === undefined || offset % 4 !== 0) return this.#copyTable(head, address, length)
    this.#tableWords = piece.words
    this.#tableAt = offset / 4
    return true
  }

  #copyTable(head: number, address: number, length: number): boolean {
    this.#copySpans ??= new Spans()
    if (this.#copyBytes === undefined) {
      this.#copyWords = new Uint32Array(this.#maxChainLength * DESCRIPTOR_WORDS)
      this.#copyBytes = new Uint8Array(this.#copyWords.buffer)
    }
    this.#copySpans.clear()
    if (!this.#memory.translate(address, length, this.#copySpans))
      return this.#unmapped(head, address, length)
    copyFromSpans(this.#copySpans, 0, this.#copyBytes, 0, length)
    this.#tableWords = this.#copyWords
    this.#tableAt = 0
    return true
  }

  #unmapped(head: number, address: number, length: number): false {
    return this.#fail('OUT_OF_MEMORY_RANGE', head, `0x${address.toString(16)}+${length} is not mapped`)
  }

  #fail(code: VirtqueueErrorCode, head: number, what: string): false {
    this.fault = new VirtqueueError(code, `chain ${head}: ${what}`)
    return false
  }
}
