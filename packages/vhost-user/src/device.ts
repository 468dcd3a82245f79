// What a vhost-user back-end asks of the device that it serves, whatever its type. The session (backend-session.ts) speaks
// the protocol; the device sees guest memory come and go and rings start, kick and stop.

/** A region of guest memory, mapped into this process. Pieces are at most 1 GiB: an ArrayBuffer is limited to 4 GiB on Node 20. */
export interface MappedRegion {
  /** Guest-physical address of the first byte. */
  readonly guestAddress: number
  /** The front-end's virtual address of the first byte; ring addresses are in this space. */
  readonly userAddress: number
  /** Bytes. */
  readonly size: number
  /** Consecutive views of the mapping, each but the last 1 GiB long. Touching one after `release` is a segmentation fault. */
  readonly pieces: readonly ArrayBuffer[]
}

/** A ring that has everything it needs to run. Addresses are the front-end's, as in SET_VRING_ADDR. */
export interface RingConfig {
  readonly index: number
  /** Number of descriptors, a power of two. */
  readonly size: number
  readonly descAddress: number
  readonly availAddress: number
  readonly usedAddress: number
  /** Next index in the available ring to process. */
  readonly base: number
}

export interface VhostUserDevice {
  /** Virtio feature bits offered, without VHOST_USER_F_PROTOCOL_FEATURES. */
  readonly features: bigint
  /** How many rings the device can serve. */
  readonly queueCount: number
  /** The driver's choice among the features; may come again while rings run. */
  setFeatures(features: bigint): void
  /** Throws if the device cannot take the region (overlap, too many). */
  addRegion(region: MappedRegion): void
  /**
   * Nothing new may touch the region from now on. The session unmaps it when the promise settles, or at once if none is
   * returned.
   */
  removeRegion(region: MappedRegion): void | Promise<void>
  /**
   * The ring may be used from now on. `notify` tells the driver that there are used buffers (one system call); `fail`
   * signals the ring's err descriptor, for a ring that the driver broke. Throws if the addresses are not in guest memory.
   */
  startRing(ring: RingConfig, notify: () => void, fail: () => void): void
  /** The driver says there are available buffers; also called once after a ring starts. Cheap if there are none. */
  kickRing(index: number): void
  /** No new buffers are taken from now on. Resolves, once all taken ones are returned, to the next index to process. */
  stopRing(index: number): number | Promise<number>
  /** The guest memory is about to vanish (connection closed, new owner): drop everything, touch nothing. */
  reset(): void
}
