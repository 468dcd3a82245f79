// The guest's place at a virtio block device (virtio 1.2, 5.2), without a guest: our front-end and our driver queue, for any
// vhost-user-blk back-end.

import { FrontendMemory, type FrontendRing, FrontendSession } from '@ovfs/vhost-user'
import { DriverQueue, GuestMemory } from '@ovfs/virtqueue'

export const SECTOR = 512
const PAGE = 4096
const RING_SIZE = 128
/** Requests in flight, each with this much room for data. */
const SLOTS = 16
const SLOT = 0x20000
const HEADER_SIZE = 16
/** Where a slot's status byte is; the data starts a page on. */
const STATUS_AT = 64
const EVENT_IDX = 1n << 29n
const VERSION_1 = 1n << 32n
const PROTOCOL_FEATURES = 1n << 30n
const F_FLUSH = 1n << 9n

export class BlockError extends Error {
  override name = 'BlockError'
  /** VIRTIO_BLK_S_IOERR 1, VIRTIO_BLK_S_UNSUPP 2. */
  readonly status: number

  constructor(status: number) {
    super(`the device answered with status ${status}`)
    this.status = status
  }
}

export class BlockDriver {
  /** Bytes. */
  readonly capacity: number
  readonly #session: FrontendSession
  readonly #memory: FrontendMemory
  readonly #queue: DriverQueue
  readonly #ring: FrontendRing
  readonly #bytes: Buffer
  readonly #slots = Array.from({ length: SLOTS }, (_, i) => PAGE * 16 + i * SLOT)
  readonly #waiting = new Map<number, () => void>()

  static async connect(socketPath: string): Promise<BlockDriver> {
    const session = FrontendSession.connect(socketPath)
    const memory = new FrontendMemory([{ guestAddress: 0, size: PAGE * 16 + SLOTS * SLOT }])
    const { features } = await session.handshake({
      features: VERSION_1 | PROTOCOL_FEATURES | EVENT_IDX | F_FLUSH,
      protocolFeatures: ['MQ', 'REPLY_ACK', 'CONFIGURE_MEM_SLOTS', 'CONFIG'],
    })
    // struct virtio_blk_config starts with le64 capacity, in sectors.
    const config = Buffer.from(await session.readConfig(0, 60))
    const capacity = Number(config.readBigUInt64LE(0)) * SECTOR
    await session.addMemory(memory)
    const guest = new GuestMemory()
    for (const region of memory.regions) guest.addRegion(region)
    const queue = new DriverQueue(guest, {
      size: RING_SIZE,
      address: 0,
      eventIdx: (features & EVENT_IDX) !== 0n,
      onError: error => {
        throw error
      },
    })
    const place = (user: number) => user - queue.ring.descAddress
    const ring = await session.startRing({
      index: 0,
      size: RING_SIZE,
      descAddress: 0,
      availAddress: place(queue.ring.availAddress),
      usedAddress: place(queue.ring.usedAddress),
    })
    return new BlockDriver(session, memory, queue, ring, capacity)
  }

  private constructor(
    session: FrontendSession,
    memory: FrontendMemory,
    queue: DriverQueue,
    ring: FrontendRing,
    capacity: number,
  ) {
    this.#session = session
    this.#memory = memory
    this.#queue = queue
    this.#ring = ring
    this.capacity = capacity
    this.#bytes = Buffer.from(memory.regions[0]!.pieces[0] as ArrayBuffer)
    void this.#serveCalls()
  }

  /** `length` is at most 64 KiB. Throws BlockError. */
  async read(offset: number, length: number): Promise<Buffer> {
    return this.#request(0, offset, undefined, length)
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    await this.#request(1, offset, data, 0)
  }

  async flush(): Promise<void> {
    await this.#request(4, 0, undefined, 0)
  }

  /** A request of any type, with data to the device or room for data from it. */
  async request(type: number, room: number): Promise<Buffer> {
    return this.#request(type, 0, undefined, room)
  }

  /** Takes the ring back from the device and hands it over again, as a monitor does that stops and continues. */
  async pause(): Promise<void> {
    await this.#session.request('SET_VRING_ENABLE', { index: 0, num: 0 })
    await this.#session.request('SET_VRING_ENABLE', { index: 0, num: 1 })
  }

  close(): void {
    this.#session.close()
    this.#memory.close()
  }

  async #request(type: number, offset: number, data: Uint8Array | undefined, room: number): Promise<Buffer> {
    const slot = this.#slots.pop()
    if (slot === undefined) throw new Error(`more than ${SLOTS} requests in flight`)
    const bytes = this.#bytes
    bytes.writeUInt32LE(type, slot)
    bytes.writeUInt32LE(0, slot + 4)
    bytes.writeBigUInt64LE(BigInt(offset / SECTOR), slot + 8)
    bytes[slot + STATUS_AT] = 0xff
    const body = slot + PAGE
    if (data) bytes.set(data, body)
    const readable = [{ address: slot, length: HEADER_SIZE }]
    if (data) readable.push({ address: body, length: data.byteLength })
    const writable = [{ address: slot + STATUS_AT, length: 1 }]
    if (room > 0) writable.unshift({ address: body, length: room })
    const head = this.#queue.add(readable, writable)
    await new Promise<void>(resolve => {
      this.#waiting.set(head, resolve)
      this.#queue.publish()
      if (this.#queue.kickNeeded()) this.#ring.kick()
    })
    const status = bytes[slot + STATUS_AT] as number
    const answer = Buffer.from(bytes.subarray(body, body + room))
    this.#slots.push(slot)
    if (status !== 0) throw new BlockError(status)
    return answer
  }

  async #serveCalls(): Promise<void> {
    while (this.#session.endedBy === undefined) {
      const seen = this.#ring.calls
      do {
        this.#queue.collect(head => {
          this.#waiting.get(head)?.()
          this.#waiting.delete(head)
        })
      } while (this.#queue.enableInterrupts())
      await this.#ring.called(seen)
    }
  }
}
