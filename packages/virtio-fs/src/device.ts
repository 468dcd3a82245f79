// The virtio-fs device (virtio 1.2, 5.11) as a vhost-user back-end sees it: the only place where vhost-user, virtqueues and
// FUSE meet. All rings, hiprio included, feed one FUSE server: any opcode is taken on any queue.

import type { FuseErrorReport, FuseHandler } from '@ovfs/fuse-proto'
import { FuseServer } from '@ovfs/fuse-proto'
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
import { fsConfigSpace } from './config-space.ts'

const VIRTIO_F_VERSION_1 = 32n
const INDIRECT = 1n << BigInt(VIRTIO_RING_F_INDIRECT_DESC)
const EVENT_IDX = 1n << BigInt(VIRTIO_RING_F_EVENT_IDX)

/** Chains taken from one ring before the others, and the event loop, have their turn. */
const CHAINS_PER_TURN = 1024

export interface VirtioFsDeviceOptions {
  readonly handler: FuseHandler
  /** Rings, the hiprio queue included; at least 2. */
  readonly queueCount: number
  /**
   * The name that the guest mounts, for monitors that ask the device for it; up to 36 bytes. QEMU has a tag of its own, and
   * warns of a device that has one too.
   */
  readonly tag?: string
  /** A request failed for a reason that is not an errno. The guest was told EIO. */
  readonly onRequestError: (report: FuseErrorReport) => void
  /** Given a line for each request and its answer. */
  readonly onTrace?: (line: string) => void
}

export class VirtioFsDevice implements VhostUserDevice {
  readonly features = INDIRECT | EVENT_IDX | (1n << VIRTIO_F_VERSION_1)
  readonly queueCount: number
  readonly config?: ConfigSpace
  readonly saveState?: () => Promise<Uint8Array>
  readonly loadState?: (state: Uint8Array) => Promise<void>
  readonly #memory = new GuestMemory()
  readonly #queues: (DeviceQueue | undefined)[]
  readonly #fuse: FuseServer
  readonly #handle: (chain: Chain) => void
  #driverFeatures = 0n
  #log: DirtyLog | undefined
  #logArea: DirtyLogArea | undefined

  constructor(options: VirtioFsDeviceOptions) {
    this.queueCount = options.queueCount
    this.#queues = new Array(options.queueCount).fill(undefined)
    const { handler, tag, onRequestError, onTrace } = options
    if (tag !== undefined) {
      const space = fsConfigSpace(tag, options.queueCount - 1)
      this.config = { read: () => space }
    }
    this.#fuse = new FuseServer(handler, {
      onError: onRequestError,
      ...(onTrace && { trace: { now: () => performance.now(), line: onTrace } }),
    })
    this.#handle = chain => this.#fuse.handle(chain)
    if (handler.save && handler.restore) {
      this.saveState = () => this.#fuse.save()
      this.loadState = state => this.#fuse.restore(state)
    }
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

  startRing(ring: RingConfig, notify: () => void, fail: (error: unknown) => void): void {
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
    if (ring.base === undefined) queue.drain(this.#handle, 0)
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
    return this.#queues[index]?.drain(this.#handle, CHAINS_PER_TURN) ?? false
  }

  stopRing(index: number): number | Promise<number> {
    const queue = this.#queues[index]
    if (queue === undefined) return 0
    const base = queue.stop()
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
    // Never rejects. A next session's FUSE_INIT waits for it, this connection need not.
    void this.#fuse.end()
  }

  /** Ends the FUSE session; resolves when the handler has. Never rejects. */
  end(): Promise<void> {
    return this.#fuse.end()
  }
}
