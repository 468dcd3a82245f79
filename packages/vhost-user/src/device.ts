// What a vhost-user back-end asks of the device that it serves, whatever its type. The session (backend-session.ts) speaks
// the protocol; the device sees guest memory come and go and rings start, kick and stop.

/** A region of guest memory, mapped into this process. Pieces are at most 1 GiB: an ArrayBuffer is limited to 4 GiB on Node 20. */
export interface MappedRegion {
  /** Guest-physical address of the first byte, a multiple of 4096. */
  readonly guestAddress: number
  /** The front-end's virtual address of the first byte, a multiple of 4096; ring addresses are in this space. */
  readonly userAddress: number
  /** Bytes. */
  readonly size: number
  /**
   * Consecutive views of the mapping, each but the last 1 GiB long. Touching one after `removeRegion` or `reset` has settled
   * is a segmentation fault.
   */
  readonly pieces: readonly ArrayBuffer[]
}

/** A ring that has everything it needs to run. Addresses are the front-end's, as in SET_VRING_ADDR. */
export interface RingConfig {
  readonly index: number
  /** Number of descriptors, a power of two. */
  readonly size: number
  /** A multiple of 16. */
  readonly descAddress: number
  /** A multiple of 2. */
  readonly availAddress: number
  /** A multiple of 4. */
  readonly usedAddress: number
  /**
   * Next index in the available ring to process. Undefined for a ring that ran in a process before this one: it goes on after
   * what is in the used ring and in its record of buffers in flight. Those buffers are due at once, even if the ring is not
   * kicked because it is disabled.
   */
  readonly base?: number
  /**
   * Shared memory that outlives this process, `inflightBytes(size)` of it, for the device's record of buffers in flight. If it is
   * not all zero, it is the record of a predecessor, from which the ring goes on; `base` means nothing then. It may be touched
   * until the ring has stopped or the device is reset, and its contents are untrusted.
   */
  readonly inflight?: Uint8Array
}

/** The device's configuration space, as the driver sees it. */
export interface ConfigSpace {
  /** All of it, as it is now: at most 256 bytes. */
  read(): Uint8Array
  /**
   * The driver has written, or a migration brings what the device had elsewhere. Throws if a byte cannot be changed that way;
   * without this method none can.
   */
  write?(offset: number, bytes: Uint8Array, migration: boolean): void
}

/** Where a device marks what it writes to guest memory while a live migration copies it. */
export interface DirtyLogArea {
  /**
   * One bit for each 4096 bytes of guest-physical addresses, lowest bit first; to be set with an atomic OR after the write. What
   * lies beyond is not watched.
   */
  readonly bitmap: Uint8Array
  /** By ring: the guest-physical address at which writes to its used ring are marked; undefined if they are not to be. */
  readonly usedRings: readonly (number | undefined)[]
  /** To be called after bits were set, if the front-end wants to know. Does not throw. */
  readonly marked: (() => void) | undefined
}

/** What a device may tell the front-end by itself. */
export interface FrontendChannel {
  /**
   * The configuration space has changed: the driver is interrupted to read it again. Resolves when the front-end has taken
   * note, if it says so. Rejects if the front-end refuses or leaves.
   */
  configChanged(): Promise<void>
}

/** The optional members are asked for by protocol features, which are offered if the device has the member. */
export interface VhostUserDevice {
  /** Virtio feature bits offered, without VHOST_USER_F_PROTOCOL_FEATURES. */
  readonly features: bigint
  /** How many rings the device can serve. */
  readonly queueCount: number
  /** The driver's choice among the features; may come again while rings run. */
  setFeatures(features: bigint): void
  /**
   * Throws if the device cannot take the region. Regions never overlap; rings that run may lie in the new one from now on, and
   * are kicked.
   */
  addRegion(region: MappedRegion): void
  /**
   * Nothing new may touch the region from now on; a ring in it stays started and idles until its memory is back. The session
   * unmaps the region when the promise settles, or at once if none is returned.
   */
  removeRegion(region: MappedRegion): void | Promise<void>
  /**
   * The ring may be used from now on. `notify` tells the driver that there are used buffers (one system call). `fail` says
   * that the ring is broken beyond use: it is kicked no more until it is started again, and the front-end is told. Throws if
   * the addresses are not in guest memory.
   *
   * For a ring that goes on, a promise may be returned that resolves when the buffers are returned that were in flight. A process
   * that ends before is taken for one that they have ended.
   */
  startRing(ring: RingConfig, notify: () => void, fail: (error: unknown) => void): void | Promise<void>
  /**
   * Take the ring's available buffers: now, and at no other time, because a ring may be disabled between two kicks and then
   * keeps its buffers. True if some are left for another turn; the session kicks again, once the event loop went round.
   * Also called after a ring starts, is enabled again, or may have its memory back. Cheap if there is nothing. An exception is
   * a broken ring, as with `fail`.
   */
  kickRing(index: number): boolean
  /**
   * No new buffers are taken from now on. Resolves, once all taken ones are returned, to the next index to process. The
   * virtual machine stands still meanwhile, so the device must bound the time; a rejection ends the session.
   */
  stopRing(index: number): number | Promise<number>
  /**
   * The device is as new: no features, no rings, no regions, and nothing touches guest memory any more once this returns or
   * its promise settles. It comes when the connection ends, when a new owner takes it over, and when the driver resets the
   * device; in the last case the regions that still exist are added again.
   */
  reset(): void | Promise<void>
  /** CONFIG. Front-ends that keep the space themselves, as QEMU does for virtio-fs, want a device without it. */
  readonly config?: ConfigSpace
  /**
   * LOG_SHMFD: mark every write in this area from now on, and in no other; undefined: in none. Comes with each change, also
   * while rings run, and holds for rings that start later. After it returns, or after a reset, the area of before may vanish.
   */
  setLog?(area: DirtyLogArea | undefined): void
  /**
   * DEVICE_STATE, together with `loadState`: everything that a device elsewhere needs to go on where this one has stopped, in a
   * format of the device's own. All rings are stopped; if the migration fails they start again here.
   */
  saveState?(): Uint8Array | Promise<Uint8Array>
  /**
   * What `saveState` gave elsewhere. Rejects if it makes no sense: the bytes are untrusted. May come before features and memory.
   */
  loadState?(state: Uint8Array): void | Promise<void>
  /** INFLIGHT_SHMFD: bytes that the record of one ring of that size takes, a multiple of 64. */
  inflightBytes?(size: number): number
  /** BACKEND_REQ: the front-end listens from now on, or no more. Also survives `reset`. */
  connectFrontend?(channel: FrontendChannel | undefined): void
}
