// What virtio devices over vhost-user have in common, whatever their type: guest memory that comes and goes, and split rings
// over it that start, drain and stop, with the record of what is in flight and the log of what is written. A device type adds
// what it does with a chain.

import type { ConfigSpace, DirtyLogArea, MappedRegion, RingConfig, VhostUserDevice } from '@ovfs/vhost-user'
import {
  type Chain,
  DeviceQueue,
  DirtyLog,
  GuestMemory,
  inflightRingBytes,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
} from '@ovfs/virtqueue'

const VIRTIO_F_VERSION_1 = 32
const bit = (number: number) => 1n << BigInt(number)
const INDIRECT = bit(VIRTIO_RING_F_INDIRECT_DESC)
const EVENT_IDX = bit(VIRTIO_RING_F_EVENT_IDX)

/** Chains taken from one ring before the others, and the event loop, have their turn. */
const CHAINS_PER_TURN = 1024

/**
 * Serves one buffer of the driver: reads `chain.readable`, writes `chain.writable`, and calls `chain.complete` with the bytes
 * written, once, now or later, in any order. An exception breaks the ring.
 */
export type ChainHandler = (chain: Chain) => void

export interface VirtioDeviceOptions {
  /** Virtqueues of the device type, all that a driver may use. */
  readonly queueCount: number
  /** Feature bits of the device type; those of the rings and VIRTIO_F_VERSION_1 are added. */
  readonly features?: bigint
  /** The configuration space, if the device type has one and its monitors ask the device for it. */
  readonly config?: ConfigSpace | undefined
  /** Asked once for each queue. */
  readonly handlerOf: (queue: number) => ChainHandler
}

/** A device type with more to it is a subclass: for example with `saveState` and `loadState`, or with a `reset` of its own. */
export class VirtioDevice implements VhostUserDevice {
  readonly features: bigint
  readonly queueCount: number
  readonly config?: ConfigSpace
  readonly #handlers: readonly ChainHandler[]
  readonly #memory = new GuestMemory()
  readonly #queues: (DeviceQueue | undefined)[]
  /** Rings that stop from now on go on in another process, by the record of what is in flight: nobody is told their bases. */
  protected keepsRecords = false
  #driverFeatures = 0n
  #log: DirtyLog | undefined
  #logArea: DirtyLogArea | undefined

  constructor({ queueCount, features = 0n, config, handlerOf }: VirtioDeviceOptions) {
    this.features = features | INDIRECT | EVENT_IDX | bit(VIRTIO_F_VERSION_1)
    this.queueCount = queueCount
    if (config !== undefined) this.config = config
    this.#handlers = Array.from({ length: queueCount }, (_, queue) => handlerOf(queue))
    this.#queues = new Array(queueCount).fill(undefined)
  }

  /** The driver's choice among `features`. */
  get driverFeatures(): bigint {
    return this.#driverFeatures
  }

  setFeatures(features: bigint): void {
    this.#driverFeatures = features
  }

  addRegion(region: MappedRegion): void {
    this.#memory.addRegion(region)
  }

  removeRegion(region: MappedRegion): void | Promise<void> {
    this.#memory.removeRegion(region)
    const releases = this.#queues.flatMap(queue => queue?.release(region) ?? [])
    if (releases.length > 0) return Promise.all(releases).then(() => undefined)
  }

  startRing(ring: RingConfig, notify: () => void, fail: (error: unknown) => void): void | Promise<void> {
    const queue = new DeviceQueue(this.#memory, {
      ...ring,
      eventIdx: (this.#driverFeatures & EVENT_IDX) !== 0n,
      indirect: (this.#driverFeatures & INDIRECT) !== 0n,
      notify,
      onError: fail,
    })
    queue.setLog(this.#log, this.#logArea?.usedRings[ring.index])
    this.#queues[ring.index] = queue
    // What a predecessor had taken, and nothing more: the ring may be disabled.
    if (ring.base !== undefined) return
    queue.drain(this.#handlers[ring.index]!, 0)
    return queue.returned()
  }

  inflightBytes(size: number): number {
    return inflightRingBytes(size)
  }

  setLog(area: DirtyLogArea | undefined): void {
    this.#logArea = area
    this.#log = area && new DirtyLog(area.bitmap, area.marked)
    for (const [index, queue] of this.#queues.entries()) queue?.setLog(this.#log, area?.usedRings[index])
  }

  kickRing(index: number): boolean {
    return this.#queues[index]?.drain(this.#handlers[index]!, CHAINS_PER_TURN) ?? false
  }

  stopRing(index: number): number | Promise<number> {
    const queue = this.#queues[index]
    if (queue === undefined) return 0
    const base = queue.stop(this.keepsRecords)
    if (typeof base === 'number') {
      this.#queues[index] = undefined
      return base
    }
    return base.then(settled => {
      if (this.#queues[index] === queue) this.#queues[index] = undefined
      return settled
    })
  }

  reset(): void {
    for (const queue of this.#queues) queue?.detach()
    this.#queues.fill(undefined)
    for (const region of [...this.#memory.regions]) this.#memory.removeRegion(region)
    this.#driverFeatures = 0n
    this.setLog(undefined)
  }
}
