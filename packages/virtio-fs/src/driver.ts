// The guest's place, without a guest: a vhost-user front-end with memory of its own, the driver side of a hiprio and a
// request queue, and a FUSE client on top. Works with any virtio-fs daemon. For tests, tours and benchmarks.

import { closeSync } from 'node:fs'
import { FuseClient, type FuseTransport } from '@ovfs/fuse-proto'
import {
  FrontendMemory,
  type FrontendRing,
  FrontendSession,
  type InflightMemory,
  type RingLayout,
} from '@ovfs/vhost-user'
import {
  DriverQueue,
  type GuestBuffer,
  GuestMemory,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
  type VirtqueueError,
} from '@ovfs/virtqueue'

export interface VirtioFsDriverOptions {
  /** Descriptors of each queue; default 256. */
  readonly queueSize?: number
  /** Requests of `client` in flight; more wait. Each takes a little over 1 MiB of guest memory. Default 8. */
  readonly slots?: number
  /** What `session.saveState()` gave with another daemon: the device goes on from there. */
  readonly state?: Uint8Array
  /**
   * Requests wait for `reconnect` when the daemon goes away, as those of a guest do whose monitor reconnects: the record of what
   * is in flight is kept. Needs INFLIGHT_SHMFD. Default false.
   */
  readonly reconnects?: boolean
  /** Guest memory besides, for the caller's own buffers, in bytes. */
  readonly spareBytes?: number
}

/** One queue: the ring in memory and the descriptors that go with it, which change with each connection. */
export interface DriverRing {
  readonly queue: DriverQueue
  readonly layout: RingLayout
  frontend: FrontendRing
}

/** A range of guest memory as both sides see it. */
export interface GuestRange extends GuestBuffer {
  readonly bytes: Uint8Array
}

const PAGE = 4096
const HIPRIO = 0
const REQUESTS = 1
/** READ and WRITE of 1 MiB, with room for headers, names and listings. */
const SLOT_BYTES = 1024 * 1024 + 64 * 1024
const TABLE_ENTRIES = 512
const OUT_HEADER_SIZE = 16
/** Like a PC: a region at the bottom, and one above 4 GiB. */
const LOW_ADDRESS = 0x10_0000
const HIGH_ADDRESS = 0x1_0000_0000

const INDIRECT = 1n << BigInt(VIRTIO_RING_F_INDIRECT_DESC)
const EVENT_IDX = 1n << BigInt(VIRTIO_RING_F_EVENT_IDX)

const pages = (bytes: number) => Math.ceil(bytes / PAGE) * PAGE

interface Waiting {
  readonly slot: GuestRange
  readonly reply: Uint8Array
  resolve(reply: Uint8Array): void
  reject(error: unknown): void
}

export class VirtioFsDriver {
  readonly client: FuseClient
  /** Guest memory that nothing uses yet. */
  readonly spare: GuestRange
  readonly requests: DriverRing
  readonly hiprio: DriverRing
  /** For what a monitor does besides: logging, stopping, saving. Another one after `reconnect`. */
  session: FrontendSession
  readonly memory: FrontendMemory
  readonly #indirect: boolean
  #inflight: InflightMemory | undefined
  readonly #freeSlots: GuestRange[]
  readonly #slotWaiters: (() => void)[] = []
  readonly #waiting = new Map<DriverQueue, Map<number, Waiting>>()
  #failure: unknown

  private constructor(parts: {
    session: FrontendSession
    memory: FrontendMemory
    indirect: boolean
    inflight: InflightMemory | undefined
    slots: GuestRange[]
    spare: GuestRange
    hiprio: DriverRing
    requests: DriverRing
  }) {
    this.session = parts.session
    this.memory = parts.memory
    this.#indirect = parts.indirect
    this.#inflight = parts.inflight
    this.#freeSlots = parts.slots
    this.spare = parts.spare
    this.hiprio = parts.hiprio
    this.requests = parts.requests
    const transport: FuseTransport = { submit: (request, capacity) => this.submit(request, capacity) }
    this.client = new FuseClient(transport)
    for (const ring of [this.hiprio, this.requests]) {
      this.#waiting.set(ring.queue, new Map())
      void this.#serveCalls(ring)
    }
  }

  /** Connects to a daemon and starts both queues; the FUSE session is begun by `client.init()`. */
  static async connect(socketPath: string, options: VirtioFsDriverOptions = {}): Promise<VirtioFsDriver> {
    const { queueSize = 256, slots = 8, spareBytes = 0, reconnects = false } = options
    const ringBytes = pages(DriverQueue.bytesNeeded(queueSize, TABLE_ENTRIES))
    const session = FrontendSession.connect(socketPath)
    const frontendMemory = new FrontendMemory([
      { guestAddress: LOW_ADDRESS, size: 2 * ringBytes },
      { guestAddress: HIGH_ADDRESS, size: slots * SLOT_BYTES + pages(spareBytes) },
    ])
    try {
      const { features } = await session.handshake()
      if (options.state) await session.loadState(options.state)
      const inflight = reconnects ? await session.createInflight(2, queueSize) : undefined
      if (inflight) await session.useInflight(inflight)
      await session.addMemory(frontendMemory)
      const memory = new GuestMemory()
      for (const region of frontendMemory.regions) memory.addRegion(region)
      const indirect = (features & INDIRECT) !== 0n
      const eventIdx = (features & EVENT_IDX) !== 0n
      const start = async (index: number): Promise<DriverRing> => {
        const address = LOW_ADDRESS + index * ringBytes
        let frontend: FrontendRing | undefined
        const queue = new DriverQueue(memory, {
          size: queueSize,
          address,
          eventIdx,
          tableEntries: indirect ? TABLE_ENTRIES : 0,
          onError: (_error: VirtqueueError) => frontend?.close(),
        })
        const guestAddress = (user: number) => address + (user - queue.ring.descAddress)
        const layout = {
          index,
          size: queueSize,
          descAddress: address,
          availAddress: guestAddress(queue.ring.availAddress),
          usedAddress: guestAddress(queue.ring.usedAddress),
        }
        frontend = await session.startRing(layout)
        return { queue, layout, frontend }
      }
      const hiprio = await start(HIPRIO)
      const requests = await start(REQUESTS)
      const high = frontendMemory.regions[1]?.pieces[0] as ArrayBuffer
      const range = (offset: number, length: number): GuestRange => ({
        address: HIGH_ADDRESS + offset,
        length,
        bytes: new Uint8Array(high, offset, length),
      })
      return new VirtioFsDriver({
        session,
        memory: frontendMemory,
        indirect,
        inflight,
        slots: Array.from({ length: slots }, (_, i) => range(i * SLOT_BYTES, SLOT_BYTES)),
        spare: range(slots * SLOT_BYTES, spareBytes),
        hiprio,
        requests,
      })
    } catch (error) {
      session.close()
      frontendMemory.close()
      throw error
    }
  }

  /**
   * Goes on with another daemon, which takes again what the last one has not answered. Memory, rings and requests are those of
   * before.
   */
  async reconnect(socketPath: string): Promise<void> {
    if (this.#inflight === undefined) throw new Error('the driver was not connected to reconnect')
    this.session.close()
    const session = FrontendSession.connect(socketPath)
    try {
      await session.handshake()
      await session.useInflight(this.#inflight)
      await session.addMemory(this.memory)
      this.session = session
      for (const ring of [this.hiprio, this.requests]) {
        ring.frontend = await session.startRing(ring.layout)
        void this.#serveCalls(ring)
      }
    } catch (error) {
      session.close()
      throw error
    }
  }

  /** Sends one request, each part in a descriptor of its own, and resolves to the bytes that the device wrote. */
  async submit(request: readonly Uint8Array[], replyCapacity: number): Promise<Uint8Array> {
    const slot = await this.#takeSlot()
    // The memory may have been unmapped between the slot's release and this turn.
    if (this.#failure !== undefined) throw this.#failure
    const readable: GuestBuffer[] = []
    let used = 0
    for (const part of request) {
      if (part.byteLength === 0) continue
      if (used + part.byteLength > slot.length) throw this.#tooLong(slot, used + part.byteLength)
      slot.bytes.set(part, used)
      readable.push({ address: slot.address + used, length: part.byteLength })
      used += part.byteLength
    }
    if (used + replyCapacity > slot.length) throw this.#tooLong(slot, used + replyCapacity)
    const header = Math.min(replyCapacity, OUT_HEADER_SIZE)
    const writable = [
      { address: slot.address + used, length: header },
      { address: slot.address + used + header, length: replyCapacity - header },
    ].filter(buffer => buffer.length > 0)
    const ring = replyCapacity === 0 ? this.hiprio : this.requests
    return new Promise((resolve, reject) => {
      const head = ring.queue.add(readable, writable, this.#indirect)
      if (head < 0) {
        this.#giveBack(slot)
        reject(new Error(`no descriptor is free in a queue of ${ring.queue.size}`))
        return
      }
      const reply = slot.bytes.subarray(used, used + replyCapacity)
      this.#waiting.get(ring.queue)?.set(head, { slot, reply, resolve, reject })
      ring.queue.publish()
      // Whoever serves the ring next looks at it first.
      if (ring.queue.kickNeeded() && !ring.frontend.closed) ring.frontend.kick()
    })
  }

  /** Leaves at once, as a virtual machine monitor does that ends. What is in flight is rejected. */
  async close(): Promise<void> {
    this.#fail(new Error('the driver was closed'))
    this.session.close()
    this.memory.close()
    if (this.#inflight !== undefined) closeSync(this.#inflight.fd)
    this.#inflight = undefined
  }

  async #takeSlot(): Promise<GuestRange> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure
      const slot = this.#freeSlots.pop()
      if (slot) return slot
      await new Promise<void>(resolve => this.#slotWaiters.push(resolve))
    }
  }

  #giveBack(slot: GuestRange): void {
    this.#freeSlots.push(slot)
    this.#slotWaiters.shift()?.()
  }

  #tooLong(slot: GuestRange, length: number): Error {
    this.#giveBack(slot)
    return new RangeError(`a request with its reply takes ${length} bytes, at most ${slot.length} fit`)
  }

  /** Collects replies whenever the device calls, until the session ends. Never rejects. */
  async #serveCalls({ queue, frontend }: DriverRing): Promise<void> {
    const { session } = this
    for (;;) {
      const seen = frontend.calls
      do queue.collect((head, written) => this.#finish(queue, head, written))
      while (queue.broken === undefined && queue.enableInterrupts())
      // A ring that was stopped has returned everything before.
      if (this.#failure !== undefined || (frontend.closed && session.endedBy === undefined)) return
      if (queue.broken !== undefined) return this.#fail(queue.broken)
      await frontend.called(seen)
      if (session.endedBy === undefined) continue
      if (this.#inflight === undefined) this.#fail(session.endedBy)
      return
    }
  }

  #finish(queue: DriverQueue, head: number, written: number): void {
    const waiting = this.#waiting.get(queue)?.get(head)
    if (!waiting) return
    this.#waiting.get(queue)?.delete(head)
    const reply = waiting.reply.slice(0, written)
    this.#giveBack(waiting.slot)
    waiting.resolve(reply)
  }

  #fail(error: unknown): void {
    this.#failure ??= error
    for (const waiting of this.#waiting.values()) {
      for (const { reject } of waiting.values()) reject(this.#failure)
      waiting.clear()
    }
    for (const wake of this.#slotWaiters.splice(0)) wake()
  }
}
