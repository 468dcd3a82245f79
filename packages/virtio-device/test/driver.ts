// The driver of any device, with one request at a time on each queue: a front-end with memory of its own.

import { FrontendMemory, type FrontendRing, FrontendSession, type InflightMemory } from '@ovfs/vhost-user'
import { DriverQueue, GuestMemory } from '@ovfs/virtqueue'

const SIZE = 16
const RING_BYTES = 0x1000
const BUFFERS = 0x8000
const BUFFER_BYTES = 0x1000
const MEMORY = 0x20_000

interface Queue {
  readonly driver: DriverQueue
  frontend: FrontendRing
}

export class Driver {
  readonly session: FrontendSession
  readonly memory: FrontendMemory
  readonly features: bigint
  readonly #bytes: Buffer
  readonly #queues: Queue[]

  private constructor(
    session: FrontendSession,
    memory: FrontendMemory,
    features: bigint,
    drivers: readonly DriverQueue[],
  ) {
    this.session = session
    this.memory = memory
    this.features = features
    this.#bytes = Buffer.from(memory.regions[0]!.pieces[0] as ArrayBuffer)
    this.#queues = drivers.map(driver => ({ driver, frontend: undefined as never }))
  }

  /** @param before the driver whose memory and rings this one goes on with, over a new connection */
  static async connect(
    path: string,
    queues: number,
    { before, inflight }: { before?: Driver; inflight?: InflightMemory } = {},
  ): Promise<Driver> {
    const session = FrontendSession.connect(path)
    const memory = before?.memory ?? new FrontendMemory([{ guestAddress: 0, size: MEMORY }])
    const { features } = await session.handshake()
    if (inflight !== undefined) await session.useInflight(inflight)
    await session.addMemory(memory)
    const guest = new GuestMemory()
    for (const region of memory.regions) guest.addRegion(region)
    const drivers = Array.from(
      { length: queues },
      (_, index) =>
        before?.driverOf(index) ??
        new DriverQueue(guest, {
          size: SIZE,
          address: index * RING_BYTES,
          eventIdx: true,
          onError: () => session.close(),
        }),
    )
    const driver = new Driver(session, memory, features, drivers)
    for (const index of drivers.keys()) await driver.start(index)
    return driver
  }

  async start(index: number, base = 0): Promise<void> {
    const queue = this.#queues[index]!
    const { ring } = queue.driver
    const address = index * RING_BYTES
    queue.frontend = await this.session.startRing({
      index,
      size: SIZE,
      base,
      descAddress: address,
      availAddress: address + ring.availAddress - ring.descAddress,
      usedAddress: address + ring.usedAddress - ring.descAddress,
    })
  }

  driverOf(index: number): DriverQueue {
    return this.#queues[index]!.driver
  }

  stop(index: number): Promise<number> {
    return this.session.stopRing(this.#queues[index]!.frontend)
  }

  isBroken(index: number): boolean {
    return this.#queues[index]!.frontend.broken
  }

  /** Puts one request on a queue, and does not wait. */
  put(index: number, text: string, room: number): void {
    const { driver, frontend } = this.#queues[index]!
    const at = BUFFERS + 2 * index * BUFFER_BYTES
    const length = this.#bytes.write(text, at)
    const readable = length > 0 ? [{ address: at, length }] : []
    driver.add(readable, [{ address: at + BUFFER_BYTES, length: room }], false)
    driver.publish()
    frontend.kick()
  }

  /** What the device wrote for the request that is under way on a queue. */
  async answer(index: number): Promise<Buffer> {
    const { driver, frontend } = this.#queues[index]!
    const at = BUFFERS + (2 * index + 1) * BUFFER_BYTES
    for (;;) {
      const seen = frontend.calls
      let answer: Buffer | undefined
      driver.collect((_, written) => {
        answer = Buffer.from(this.#bytes.subarray(at, at + written))
      })
      if (answer !== undefined) return answer
      if (frontend.closed) throw new Error('the ring was closed')
      if (!driver.enableInterrupts()) await frontend.called(seen)
    }
  }

  ask(index: number, text: string, room: number): Promise<Buffer> {
    this.put(index, text, room)
    return this.answer(index)
  }

  /** Leaves without a word. The memory stays if a successor goes on with it. */
  close({ keepMemory = false } = {}): void {
    this.session.close()
    if (!keepMemory) this.memory.close()
  }
}
