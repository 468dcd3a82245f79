// What every virtio device over vhost-user has in common: guest memory that comes and goes, and rings over it. A device
// type adds what it does with a chain, in one function.

import type { ConfigSpace, MappedRegion, RingConfig, VhostUserDevice } from '@ovfs/vhost-user'
import {
  type Chain,
  DeviceQueue,
  GuestMemory,
  inflightRingBytes,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
} from '@ovfs/virtqueue'

const VIRTIO_F_VERSION_1 = 32
const bit = (number: number) => 1n << BigInt(number)

export interface RingDeviceOptions {
  readonly queueCount: number
  /** Feature bits of the device type; those of the rings are added. */
  readonly features?: bigint
  /** The configuration space, if the device type has one. */
  readonly config?: Uint8Array
  /** Serves one buffer of the driver; calls `chain.complete` now or later. */
  readonly handle: (chain: Chain, queue: number) => void
}

export class RingDevice implements VhostUserDevice {
  readonly features: bigint
  readonly queueCount: number
  readonly config?: ConfigSpace
  readonly #handlers: readonly ((chain: Chain) => void)[]
  readonly #memory = new GuestMemory()
  readonly #queues = new Map<number, DeviceQueue>()
  #driverFeatures = 0n

  constructor({ queueCount, features = 0n, config, handle }: RingDeviceOptions) {
    const ringFeatures = bit(VIRTIO_RING_F_EVENT_IDX) | bit(VIRTIO_RING_F_INDIRECT_DESC)
    this.features = features | ringFeatures | bit(VIRTIO_F_VERSION_1)
    this.queueCount = queueCount
    if (config) this.config = { read: () => config }
    this.#handlers = Array.from({ length: queueCount }, (_, queue) => chain => handle(chain, queue))
  }

  setFeatures(features: bigint): void {
    this.#driverFeatures = features
  }

  addRegion(region: MappedRegion): void {
    this.#memory.addRegion(region)
  }

  removeRegion(region: MappedRegion): Promise<void> | void {
    this.#memory.removeRegion(region)
    const releases = [...this.#queues.values()].map(queue => queue.release(region))
    if (releases.some(release => release !== undefined)) return Promise.all(releases).then(() => undefined)
  }

  startRing(ring: RingConfig, notify: () => void, fail: (error: unknown) => void): void {
    const eventIdx = (this.#driverFeatures & bit(VIRTIO_RING_F_EVENT_IDX)) !== 0n
    const indirect = (this.#driverFeatures & bit(VIRTIO_RING_F_INDIRECT_DESC)) !== 0n
    const queue = new DeviceQueue(this.#memory, { ...ring, eventIdx, indirect, notify, onError: fail })
    this.#queues.set(ring.index, queue)
    // What a predecessor had taken, and nothing more: the ring may be disabled.
    if (ring.base === undefined) queue.drain(this.#handlers[ring.index]!, 0)
  }

  inflightBytes(size: number): number {
    return inflightRingBytes(size)
  }

  kickRing(index: number): boolean {
    return this.#queues.get(index)?.drain(this.#handlers[index]!) ?? false
  }

  async stopRing(index: number): Promise<number> {
    const queue = this.#queues.get(index)
    const base = (await queue?.stop()) ?? 0
    if (this.#queues.get(index) === queue) this.#queues.delete(index)
    return base
  }

  reset(): void {
    for (const queue of this.#queues.values()) queue.detach()
    this.#queues.clear()
    for (const region of [...this.#memory.regions]) this.#memory.removeRegion(region)
    this.#driverFeatures = 0n
  }
}
