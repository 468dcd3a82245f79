// A ring in small guest memory with a driver and a device on it, and a way to write a ring by hand, as a hostile driver
// would. Two regions with a hole between them; the first is made of small pieces.

import {
  type Chain,
  copyFromSpans,
  DeviceQueue,
  type DeviceQueueOptions,
  DriverQueue,
  GuestMemory,
  type MemoryRegion,
  type RingAddresses,
  type Spans,
  VirtqueueError,
} from '@ovfs/virtqueue'

export const RING_AT = 0x10_0000
export const RING_REGION_SIZE = 0x10_0000
/** 1 MiB in pieces of 4 KiB, directly followed by LATER_AT. */
export const PIECES_AT = 0x1_0000_0000
export const PIECES_SIZE = 0x10_0000
export const PIECE_SIZE = 0x1000
/** Adjacent to the pieces in guest addresses, not in user addresses. Nothing is mapped after it. */
export const LATER_AT = PIECES_AT + PIECES_SIZE
export const LATER_SIZE = 0x1_0000
const USER = 0x7f00_0000_0000

export function region(
  guestAddress: number,
  userAddress: number,
  size: number,
  pieceSize = size,
): MemoryRegion {
  const pieces = Array.from(
    { length: size / pieceSize },
    () => new Uint8Array(new ArrayBuffer(pieceSize)).fill(0xee).buffer,
  )
  return { guestAddress, userAddress, size, pieces }
}

export function makeMemory() {
  const memory = new GuestMemory()
  const ringRegion = region(RING_AT, USER, RING_REGION_SIZE)
  const piecesRegion = region(PIECES_AT, USER + 0x1000_0000, PIECES_SIZE, PIECE_SIZE)
  const laterRegion = region(LATER_AT, USER + 0x2000_0000, LATER_SIZE)
  memory.addRegion(laterRegion)
  memory.addRegion(ringRegion)
  memory.addRegion(piecesRegion)
  return { memory, ringRegion, piecesRegion, laterRegion }
}

export interface RigOptions {
  readonly size?: number
  readonly eventIdx?: boolean
  readonly indirect?: boolean
  readonly tableEntries?: number
  readonly base?: number
  readonly maxChainLength?: number
}

export function makeRig(options: RigOptions = {}) {
  const { size = 8, eventIdx = false, indirect = true, tableEntries = 8, base = 0 } = options
  const parts = makeMemory()
  const { memory } = parts
  const counts = { notifications: 0 }
  const errors: VirtqueueError[] = []
  const driverErrors: VirtqueueError[] = []
  const driver = new DriverQueue(memory, {
    size,
    address: RING_AT,
    eventIdx,
    tableEntries,
    base,
    onError: error => driverErrors.push(error),
  })
  const limit = options.maxChainLength
  const deviceOptions: DeviceQueueOptions = {
    ...driver.ring,
    base,
    eventIdx,
    indirect,
    notify: () => {
      counts.notifications++
    },
    onError: error => errors.push(error),
    ...(limit === undefined ? {} : { maxChainLength: limit }),
  }
  const device = new DeviceQueue(memory, deviceOptions)
  return { ...parts, driver, device, deviceOptions, counts, errors, driverErrors }
}

/** Writes ring fields directly. All offsets are within the one piece of the ring's region. */
export class RawRing {
  readonly view: DataView
  readonly #ring: RingAddresses
  #available = 0

  constructor(ringRegion: MemoryRegion, ring: RingAddresses) {
    this.view = new DataView(ringRegion.pieces[0]!)
    this.#ring = ring
  }

  get usedAddress(): number {
    return this.#ring.usedAddress
  }

  /** As if this many buffers had been offered before. */
  startAt(index: number): void {
    this.#available = index
  }

  #at(userAddress: number): number {
    return userAddress - USER
  }

  descriptor(index: number, address: number | bigint, length: number, flags: number, next = 0): void {
    this.descriptorAt(this.#at(this.#ring.descAddress) + index * 16, address, length, flags, next)
  }

  /** At an offset in the ring's region, for indirect tables. */
  descriptorAt(at: number, address: number | bigint, length: number, flags: number, next = 0): void {
    this.view.setBigUint64(at, BigInt(address), true)
    this.view.setUint32(at + 8, length, true)
    this.view.setUint16(at + 12, flags, true)
    this.view.setUint16(at + 14, next, true)
  }

  /** Puts a head into the available ring and shows it. */
  offer(head: number): void {
    const at = this.#at(this.#ring.availAddress)
    this.view.setUint16(at + 4 + 2 * (this.#available % this.#ring.size), head, true)
    this.#available = (this.#available + 1) & 0xffff
    this.availIndex = this.#available
  }

  set availFlags(value: number) {
    this.view.setUint16(this.#at(this.#ring.availAddress), value, true)
  }

  set availIndex(value: number) {
    this.view.setUint16(this.#at(this.#ring.availAddress) + 2, value, true)
  }

  set usedEvent(value: number) {
    this.view.setUint16(this.#at(this.#ring.availAddress) + 4 + 2 * this.#ring.size, value, true)
  }

  get usedFlags(): number {
    return this.view.getUint16(this.#at(this.#ring.usedAddress), true)
  }

  get usedIndex(): number {
    return this.view.getUint16(this.#at(this.#ring.usedAddress) + 2, true)
  }

  set usedIndex(value: number) {
    this.view.setUint16(this.#at(this.#ring.usedAddress) + 2, value, true)
  }

  usedElement(slot: number): { id: number; length: number } {
    const at = this.#at(this.#ring.usedAddress) + 4 + slot * 8
    return { id: this.view.getUint32(at, true), length: this.view.getUint32(at + 4, true) }
  }

  setUsedElement(slot: number, id: number, length: number): void {
    const at = this.#at(this.#ring.usedAddress) + 4 + slot * 8
    this.view.setUint32(at, id, true)
    this.view.setUint32(at + 4, length, true)
  }

  get availEvent(): number {
    return this.view.getUint16(this.#at(this.#ring.usedAddress) + 4 + 8 * this.#ring.size, true)
  }
}

export function rawRig(options: RigOptions = {}) {
  const rig = makeRig(options)
  return { ...rig, raw: new RawRing(rig.ringRegion, rig.driver.ring) }
}

export function bytesOf(spans: Spans): Uint8Array {
  const bytes = new Uint8Array(spans.byteLength)
  copyFromSpans(spans, 0, bytes)
  return bytes
}

/** Drains into a list, completing nothing. */
export function takeAll(device: DeviceQueue, budget?: number): Chain[] {
  const chains: Chain[] = []
  device.drain(chain => chains.push(chain), budget)
  return chains
}

/** VIRTQ_DESC_F_WRITE */
export const WRITE = 2

/** Makes buffers of 16 writable bytes available, one for each head. */
export function offerAll(raw: RawRing, ...heads: number[]): void {
  for (const head of heads) {
    raw.descriptor(head, PIECES_AT + head * 64, 16, WRITE)
    raw.offer(head)
  }
}

export function answer(chain: Chain): void {
  chain.complete(chain.writable.byteLength)
}

/** Lets the queued microtasks run. */
export async function turn(): Promise<void> {
  await Promise.resolve()
}

/** The code of the VirtqueueError that `action` throws. */
export function codeOf(action: () => unknown): string | undefined {
  try {
    action()
    return undefined
  } catch (error) {
    if (error instanceof VirtqueueError) return error.code
    throw error
  }
}
