// Which chains of a split ring a device has taken and not yet returned, in memory that outlives the device's process: a
// successor takes them again, in the order in which they were first taken. The layout is vhost-user's for split rings.
//
// A process may end between any two stores, so their order is what makes the record true. A chain is marked before the handler
// sees it. A batch of completed chains is linked before the used index tells the driver of it, and unmarked afterwards; so
// the distance between the recorded used index and the ring's is what was published and not yet unmarked.

import { VirtqueueError } from './errors.ts'

/** le64 features, le16 version, le16 desc_num, le16 last_batch_head, le16 used_idx. */
const HEADER_SIZE = 16
/** u8 inflight, 5 bytes of padding, le16 next, le64 counter. */
const ENTRY_SIZE = 16
const ALIGNMENT = 64
const VERSION = 1

/** Offsets in 16-bit units. */
const VERSION_AT = 4
const DESC_NUM_AT = 5
const LAST_BATCH_HEAD_AT = 6
const USED_IDX_AT = 7
const NEXT_AT = 3

/** Bytes for a ring of `size` descriptors. */
export function inflightRingBytes(size: number): number {
  return Math.ceil((HEADER_SIZE + ENTRY_SIZE * size) / ALIGNMENT) * ALIGNMENT
}

export class InflightRing {
  readonly #size: number
  readonly #bytes: Uint8Array
  readonly #halves: Uint16Array
  readonly #words: Uint32Array
  /** Order of taking. */
  #counter = 0

  /** @param bytes at least `inflightRingBytes(size)`, at a multiple of 4 in its buffer; all zero if new */
  constructor(bytes: Uint8Array, size: number) {
    if (bytes.byteLength < inflightRingBytes(size) || bytes.byteOffset % 4 !== 0) {
      throw new VirtqueueError(
        'INFLIGHT_INVALID',
        `${bytes.byteLength} bytes for a ring of ${size} descriptors`,
      )
    }
    this.#size = size
    this.#bytes = bytes
    this.#halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 1)
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2)
  }

  /**
   * The heads to take again, in order, for a ring whose used index is `usedIndex`; undefined if nothing is recorded, and then
   * the record begins now. Throws INFLIGHT_INVALID: the record lies in shared memory, and may say anything.
   */
  recover(usedIndex: number): number[] | undefined {
    const version = this.#halves[VERSION_AT]!
    if (version === 0) {
      this.#bytes.fill(0)
      this.#halves[DESC_NUM_AT] = this.#size
      this.#halves[USED_IDX_AT] = usedIndex
      Atomics.store(this.#halves, VERSION_AT, VERSION)
      return undefined
    }
    const descriptors = this.#halves[DESC_NUM_AT]!
    if (version !== VERSION || descriptors !== this.#size) {
      throw invalid(`version ${version} for ${descriptors} descriptors, in a ring of ${this.#size}`)
    }
    if (!this.settle(usedIndex))
      throw invalid(`the chains used last, up to index ${usedIndex}, are not linked`)
    const taken: { head: number; counter: number }[] = []
    for (let head = 0; head < this.#size; head++) {
      if (this.#bytes[HEADER_SIZE + head * ENTRY_SIZE] === 0) continue
      const at = (HEADER_SIZE + head * ENTRY_SIZE + 8) >>> 2
      taken.push({ head, counter: this.#words[at]! + this.#words[at + 1]! * 0x1_0000_0000 })
    }
    taken.sort((a, b) => a.counter - b.counter)
    const last = taken.at(-1)?.counter ?? 0
    this.#counter = Number.isSafeInteger(last) ? last : 0
    return taken.map(({ head }) => head)
  }

  /** Before the chain is handled. */
  take(head: number): void {
    const at = (HEADER_SIZE + head * ENTRY_SIZE + 8) >>> 2
    const counter = ++this.#counter
    this.#words[at] = counter >>> 0
    this.#words[at + 1] = (counter / 0x1_0000_0000) >>> 0
    Atomics.store(this.#bytes, HEADER_SIZE + head * ENTRY_SIZE, 1)
  }

  /** The chain is in the used ring, and the driver cannot see it yet. */
  link(head: number): void {
    this.#halves[((HEADER_SIZE + head * ENTRY_SIZE) >>> 1) + NEXT_AT] = this.#halves[LAST_BATCH_HEAD_AT]!
    Atomics.store(this.#halves, LAST_BATCH_HEAD_AT, head)
  }

  /**
   * The driver sees everything up to `usedIndex`: the chains linked since the last time are no more in flight. False if the
   * links make no sense: somebody else has written to the record, which is his loss, for the ring itself is sound.
   */
  settle(usedIndex: number): boolean {
    const batch = (usedIndex - this.#halves[USED_IDX_AT]!) & 0xffff
    if (batch > this.#size) return false
    let head = this.#halves[LAST_BATCH_HEAD_AT]!
    for (let i = 0; i < batch; i++) {
      if (head >= this.#size) return false
      Atomics.store(this.#bytes, HEADER_SIZE + head * ENTRY_SIZE, 0)
      head = this.#halves[((HEADER_SIZE + head * ENTRY_SIZE) >>> 1) + NEXT_AT]!
    }
    Atomics.store(this.#halves, USED_IDX_AT, usedIndex)
    return true
  }

  /** The ring has stopped with nothing in flight: who starts it next says where it begins. */
  forget(): void {
    Atomics.store(this.#halves, VERSION_AT, 0)
  }
}

function invalid(what: string): VirtqueueError {
  return new VirtqueueError('INFLIGHT_INVALID', `the record of chains in flight: ${what}`)
}
