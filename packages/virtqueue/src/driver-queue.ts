// The driver side of one split ring, for front-ends, tests and benches: lays the ring out in guest memory, makes buffers
// available and collects used ones. The device may be hostile: what it writes is checked, and nothing that the device
// could have changed is trusted, so descriptors and free lists are kept in memory of our own too.

import { VirtqueueError, type VirtqueueErrorCode } from './errors.ts'
import type { GuestMemory } from './guest-memory.ts'
import {
  availRingBytes,
  checkRing,
  DESCRIPTOR_SIZE,
  descTableBytes,
  needEvent,
  RING_HEADER_SIZE,
  type RingAddresses,
  resolveRing,
  USED_ENTRY_SIZE,
  usedRingBytes,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_WRITE,
  VIRTQ_USED_F_NO_NOTIFY,
} from './ring-layout.ts'

/** A range of guest-physical addresses. */
export interface GuestBuffer {
  readonly address: number
  readonly length: number
}

export interface DriverQueueOptions {
  /** Number of descriptors: a power of two, 1 to 32768. */
  readonly size: number
  /** Guest-physical address of `DriverQueue.bytesNeeded` bytes for the ring, a multiple of 16, within one piece. */
  readonly address: number
  /** VIRTIO_RING_F_EVENT_IDX was negotiated. */
  readonly eventIdx: boolean
  /** Entries of the indirect table that each head has, or 0 if VIRTIO_RING_F_INDIRECT_DESC was not negotiated. */
  readonly tableEntries?: number
  /** Both indices start here, as after a restart; default 0. */
  readonly base?: number
  /** Called once, when the device breaks the ring. Must not throw. */
  readonly onError: (error: VirtqueueError) => void
}

const FREE = 0
const AVAILABLE = 1
/** Between its used element and the end of the `collect` callback. */
const RETURNED = 2

function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment
}

function layout(size: number, tableEntries: number) {
  const avail = descTableBytes(size)
  const used = alignUp(avail + availRingBytes(size), 4)
  const tables = alignUp(used + usedRingBytes(size), DESCRIPTOR_SIZE)
  return { avail, used, tables, end: tables + size * tableEntries * DESCRIPTOR_SIZE }
}

export class DriverQueue {
  /** Where the parts are, for the device side or SET_VRING_ADDR. */
  readonly ring: RingAddresses
  readonly #eventIdx: boolean
  readonly #tableEntries: number
  readonly #onError: (error: VirtqueueError) => void
  readonly #view: DataView
  readonly #halves: Uint16Array
  readonly #descAt: number
  readonly #tablesAt: number
  /** Guest-physical address of the first indirect table. */
  readonly #tablesAddress: number
  /** Index of the flags in #halves. */
  readonly #availAt: number
  readonly #usedAt: number
  readonly #usedElements: number

  #nextAvail: number
  #publishedAvail: number
  /** The available index at the last decision whether to kick. */
  #decidedAvail: number
  #nextUsed: number
  #interrupts = true

  /** Free descriptors as a list through #next; a chain in flight is one too. */
  #firstFree = 0
  #freeDescriptors: number
  readonly #next: Uint16Array
  /** By head: its state, how many descriptors of the ring it has, how many bytes the device may write. */
  readonly #state: Uint8Array
  readonly #count: Uint16Array
  readonly #room: Float64Array
  #inFlight = 0
  #broken: VirtqueueError | undefined

  /** Bytes of guest memory that a ring takes. */
  static bytesNeeded(size: number, tableEntries = 0): number {
    return layout(size, tableEntries).end
  }

  /** Throws RING_SIZE, RING_ALIGNMENT or RING_NOT_MAPPED. Clears the ring's memory. */
  constructor(memory: GuestMemory, options: DriverQueueOptions) {
    const { size, address, tableEntries = 0, base = 0 } = options
    const { avail, used, tables, end } = layout(size, tableEntries)
    const userAddress = memory.userAddressOf(address)
    const piece = userAddress === undefined ? undefined : memory.pieceAt(userAddress, end)
    if (userAddress === undefined || piece === undefined) {
      const range = `0x${address.toString(16)}+${end}`
      throw new VirtqueueError('RING_NOT_MAPPED', `${range} is not, or not in one piece, in guest memory`)
    }
    this.ring = {
      size,
      descAddress: userAddress,
      availAddress: userAddress + avail,
      usedAddress: userAddress + used,
    }
    checkRing(this.ring)
    const parts = resolveRing(memory, this.ring)
    if (parts === undefined)
      throw new VirtqueueError('RING_ALIGNMENT', 'the ring is at an odd offset in its piece')
    const start = parts.desc.offset
    piece.bytes.fill(0, start, start + end)
    this.#view = piece.view
    this.#halves = piece.halves
    this.#descAt = start
    this.#tablesAt = start + tables
    this.#tablesAddress = address + tables
    this.#availAt = (start + avail) / 2
    this.#usedAt = (start + used) / 2
    this.#usedElements = start + used + RING_HEADER_SIZE
    this.#eventIdx = options.eventIdx
    this.#tableEntries = tableEntries
    this.#onError = options.onError

    this.#nextAvail = base & 0xffff
    this.#publishedAvail = this.#nextAvail
    this.#decidedAvail = this.#nextAvail
    this.#nextUsed = this.#nextAvail
    Atomics.store(this.#halves, this.#availAt + 1, this.#nextAvail)
    Atomics.store(this.#halves, this.#usedAt + 1, this.#nextUsed)
    this.#freeDescriptors = size
    this.#next = Uint16Array.from({ length: size }, (_, i) => i + 1)
    this.#state = new Uint8Array(size)
    this.#count = new Uint16Array(size)
    this.#room = new Float64Array(size)
    this.enableInterrupts()
  }

  get size(): number {
    return this.ring.size
  }

  /** Descriptors of the ring that no buffer uses. */
  get freeDescriptors(): number {
    return this.#freeDescriptors
  }

  /** Buffers given to `add` or `resubmit` and not yet collected. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** What the device did wrong; nothing is collected any more then. */
  get broken(): VirtqueueError | undefined {
    return this.#broken
  }

  /**
   * Writes a chain and puts it into the available ring, to be seen by the device at the next `publish`. Returns its head,
   * or -1 if there are not enough free descriptors. With `indirect` the chain takes one descriptor of the ring.
   * Throws BAD_CHAIN if no ring of this shape could hold it.
   */
  add(readable: readonly GuestBuffer[], writable: readonly GuestBuffer[], indirect = false): number {
    const buffers = readable.length + writable.length
    const limit = indirect ? this.#tableEntries : this.size
    if (buffers === 0 || buffers > limit) {
      throw new VirtqueueError('BAD_CHAIN', `a chain of ${buffers} buffers, need 1 to ${limit}`)
    }
    const needed = indirect ? 1 : buffers
    if (needed > this.#freeDescriptors) return -1
    const head = this.#firstFree
    const table = indirect ? this.#tablesAt + head * this.#tableEntries * DESCRIPTOR_SIZE : this.#descAt
    let index = indirect ? 0 : head
    let room = 0
    for (let i = 0; i < buffers; i++) {
      const isWritable = i >= readable.length
      const buffer = isWritable ? writable[i - readable.length]! : readable[i]!
      if (isWritable) room += buffer.length
      const isLast = i === buffers - 1
      const next = indirect ? i + 1 : this.#next[index]!
      const flags = (isWritable ? VIRTQ_DESC_F_WRITE : 0) | (isLast ? 0 : VIRTQ_DESC_F_NEXT)
      this.#writeDescriptor(table, index, buffer.address, buffer.length, flags, isLast ? 0 : next)
      index = next
    }
    if (indirect) {
      const address = this.#tablesAddress + head * this.#tableEntries * DESCRIPTOR_SIZE
      index = this.#next[head]!
      this.#writeDescriptor(this.#descAt, head, address, buffers * DESCRIPTOR_SIZE, VIRTQ_DESC_F_INDIRECT, 0)
    }
    this.#firstFree = index
    this.#freeDescriptors -= needed
    this.#count[head] = needed
    this.#room[head] = room
    this.#makeAvailable(head)
    return head
  }

  /** Within the callback of `collect`: makes the same buffers available once more, instead of freeing them. */
  resubmit(head: number): void {
    if (this.#state[head] !== RETURNED) {
      throw new VirtqueueError('NOT_IN_FLIGHT', `head ${head} is not being collected`)
    }
    this.#makeAvailable(head)
  }

  /** Shows the device everything added since the last time. */
  publish(): void {
    if (this.#publishedAvail === this.#nextAvail) return
    Atomics.store(this.#halves, this.#availAt + 1, this.#nextAvail)
    this.#publishedAvail = this.#nextAvail
  }

  /** After `publish`: whether the device asked to be kicked for what was published since the last question. */
  kickNeeded(): boolean {
    const before = this.#decidedAvail
    const after = this.#publishedAvail
    if (before === after) return false
    this.#decidedAvail = after
    // 2.7.10: the available index was stored by Atomics, so this load does not pass it.
    if (this.#eventIdx) return needEvent(this.#loadUsed(2 + this.size * 4), after, before)
    return (this.#loadUsed(0) & VIRTQ_USED_F_NO_NOTIFY) === 0
  }

  /**
   * Hands every used buffer to `handle`: its head and how many bytes the device wrote. Its descriptors are free
   * afterwards unless `handle` resubmits it. Returns the count.
   */
  collect(handle: (head: number, written: number) => void): number {
    if (this.#broken !== undefined) return 0
    const usedIndex = this.#loadUsed(1)
    const count = (usedIndex - this.#nextUsed) & 0xffff
    // 2.7.8: the device returns only what was made available.
    if (count > this.#inFlight) {
      return this.#fail('USED_JUMP', `${count} buffers used, ${this.#inFlight} in flight`, 0)
    }
    const mask = this.size - 1
    for (let i = 0; i < count; i++) {
      const at = this.#usedElements + (this.#nextUsed & mask) * USED_ENTRY_SIZE
      const head = this.#view.getUint32(at, true)
      const written = this.#view.getUint32(at + 4, true)
      if (head >= this.size || this.#state[head] !== AVAILABLE) {
        return this.#fail('BAD_USED_ID', `used id ${head} is not in flight`, i)
      }
      if (written > this.#room[head]!) {
        return this.#fail(
          'USED_LENGTH',
          `head ${head}: ${written} bytes written where ${this.#room[head]} fit`,
          i,
        )
      }
      this.#nextUsed = (this.#nextUsed + 1) & 0xffff
      this.#inFlight--
      this.#state[head] = RETURNED
      handle(head, written)
      if (this.#state[head] === RETURNED) this.#free(head)
    }
    if (this.#eventIdx) this.#writeUsedEvent()
    return count
  }

  /**
   * Asks for a notification when the next buffer is used. Returns true if one is already waiting to be collected: it may
   * have come before the device could see that it should notify.
   */
  enableInterrupts(): boolean {
    this.#interrupts = true
    if (this.#eventIdx) this.#writeUsedEvent()
    else Atomics.store(this.#halves, this.#availAt, 0)
    return this.#loadUsed(1) !== this.#nextUsed
  }

  /** For a driver that polls. With event-idx a notification may still come every 65535 buffers. */
  disableInterrupts(): void {
    this.#interrupts = false
    if (this.#eventIdx) this.#writeUsedEvent()
    else Atomics.store(this.#halves, this.#availAt, VIRTQ_AVAIL_F_NO_INTERRUPT)
  }

  #writeUsedEvent(): void {
    const event = this.#interrupts ? this.#nextUsed : (this.#nextUsed - 1) & 0xffff
    Atomics.store(this.#halves, this.#availAt + 2 + this.size, event)
  }

  #loadUsed(half: number): number {
    return Atomics.load(this.#halves, this.#usedAt + half)
  }

  #makeAvailable(head: number): void {
    this.#state[head] = AVAILABLE
    this.#halves[this.#availAt + 2 + (this.#nextAvail & (this.size - 1))] = head
    this.#nextAvail = (this.#nextAvail + 1) & 0xffff
    this.#inFlight++
  }

  #free(head: number): void {
    let last = head
    for (let i = 1; i < this.#count[head]!; i++) last = this.#next[last]!
    this.#next[last] = this.#firstFree
    this.#firstFree = head
    this.#freeDescriptors += this.#count[head]!
    this.#state[head] = FREE
  }

  #writeDescriptor(
    table: number,
    index: number,
    address: number,
    length: number,
    flags: number,
    next: number,
  ): void {
    const at = table + index * DESCRIPTOR_SIZE
    this.#view.setUint32(at, address, true)
    this.#view.setUint32(at + 4, address / 0x1_0000_0000, true)
    this.#view.setUint32(at + 8, length, true)
    this.#view.setUint16(at + 12, flags, true)
    this.#view.setUint16(at + 14, next, true)
  }

  #fail(code: VirtqueueErrorCode, what: string, collected: number): number {
    this.#broken = new VirtqueueError(code, `used index ${this.#nextUsed}: ${what}`)
    this.#onError(this.#broken)
    return collected
  }
}
