// The part of a split ring that belongs to the device: used elements and their index, and the two fields with which the
// device says whether it wants kicks. The device's only writes to a ring are here.
//
// Both indices are stored and loaded with Atomics, which are sequentially consistent: what was written before an index is
// visible no later than the index, and a load after it is a load after a full barrier, if it is one of Atomics too. A plain load
// would pass the store on arm64.

import type { DirtyLog } from './dirty-log.ts'
import type { InflightRing } from './inflight-ring.ts'
import {
  needEvent,
  RING_HEADER_SIZE,
  type RingParts,
  USED_ENTRY_SIZE,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_USED_F_NO_NOTIFY,
} from './ring-layout.ts'

const NO_HALVES: Uint16Array = new Uint16Array(0)
const NO_WORDS: Uint32Array = new Uint32Array(0)

export class UsedRing {
  readonly #size: number
  readonly #eventIdx: boolean
  readonly #inflight: InflightRing | undefined
  /** `#used[#usedAt]` is the flags of the used ring, `#elements[#elementsAt]` the id of its first element. */
  #used = NO_HALVES
  #usedAt = 0
  #elements = NO_WORDS
  #elementsAt = 0
  /** `#avail[#availAt]` is the flags of the available ring. */
  #avail = NO_HALVES
  #availAt = 0

  /** Next used index to write; elements from #published on are not yet visible to the driver. */
  #next = 0
  #published = 0
  /** The used index at the last decision whether to notify; -1 before the first one. */
  #decided = -1

  /** Where writes to the ring are marked, and the guest-physical address that they are marked at. */
  #log: DirtyLog | undefined
  #logAddress = 0

  constructor(size: number, eventIdx: boolean, inflight: InflightRing | undefined) {
    this.#size = size
    this.#eventIdx = eventIdx
    this.#inflight = inflight
  }

  /** The ring is here from now on; undefined: nowhere, and then only `unpublished` may be asked. */
  map(parts: RingParts | undefined): void {
    this.#used = parts?.used.piece.halves ?? NO_HALVES
    this.#usedAt = (parts?.used.offset ?? 0) / 2
    this.#elements = parts?.used.piece.words ?? NO_WORDS
    this.#elementsAt = ((parts?.used.offset ?? 0) + RING_HEADER_SIZE) / 4
    this.#avail = parts?.avail.piece.halves ?? NO_HALVES
    this.#availAt = (parts?.avail.offset ?? 0) / 2
  }

  setLog(log: DirtyLog | undefined, address: number): void {
    this.#log = log
    this.#logAddress = address
  }

  /** Goes on where the ring in memory stands. */
  resume(): void {
    this.#next = Atomics.load(this.#used, this.#usedAt + 1)
    this.#published = this.#next
  }

  /** Next used index to write. */
  get index(): number {
    return this.#next
  }

  /** Elements that the driver cannot see yet. */
  get unpublished(): number {
    return (this.#next - this.#published) & 0xffff
  }

  push(head: number, length: number): void {
    const slot = this.#next & (this.#size - 1)
    const at = this.#elementsAt + slot * (USED_ENTRY_SIZE / 4)
    this.#elements[at] = head
    this.#elements[at + 1] = length
    if (this.#log !== undefined) this.#mark(RING_HEADER_SIZE + slot * USED_ENTRY_SIZE, USED_ENTRY_SIZE)
    this.#next = (this.#next + 1) & 0xffff
    if (this.#inflight !== undefined) this.#inflight.link(head)
  }

  /** Shows the driver all elements. */
  publish(): void {
    Atomics.store(this.#used, this.#usedAt + 1, this.#next)
    this.#published = this.#next
    if (this.#inflight !== undefined) this.#inflight.settle(this.#next)
    if (this.#log !== undefined) this.#mark(2, 2)
  }

  /** After `publish`: whether the driver asked to be notified of what was published since the last question. */
  notifyNeeded(): boolean {
    const before = this.#decided
    const after = this.#published
    if (before === after || (before === -1 && after === 0)) return false
    this.#decided = after
    // 2.7.7.2: the driver's wish is loaded after the index was stored, not before.
    if (!this.#eventIdx) return (Atomics.load(this.#avail, this.#availAt) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0
    // A predecessor of this queue may have ended between publishing and notifying: the first time in any case.
    return (
      before === -1 || needEvent(Atomics.load(this.#avail, this.#availAt + 2 + this.#size), after, before)
    )
  }

  /** 2.7.10: asks for a kick when the chain at `availIndex` becomes available. Look at the index again afterwards. */
  enableKicks(availIndex: number): void {
    if (this.#eventIdx) {
      const offset = RING_HEADER_SIZE + this.#size * USED_ENTRY_SIZE
      Atomics.store(this.#used, this.#usedAt + offset / 2, availIndex)
      if (this.#log !== undefined) this.#mark(offset, 2)
    } else {
      this.#setFlags(0)
    }
  }

  /** With event-idx nothing needs doing: the index at which a kick was asked for falls behind. */
  disableKicks(): void {
    if (!this.#eventIdx) this.#setFlags(VIRTQ_USED_F_NO_NOTIFY)
  }

  #setFlags(flags: number): void {
    Atomics.store(this.#used, this.#usedAt, flags)
    if (this.#log !== undefined) this.#mark(0, 2)
  }

  #mark(offset: number, length: number): void {
    this.#log?.mark(this.#logAddress + offset, length)
  }
}
