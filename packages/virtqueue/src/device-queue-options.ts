// What a device queue is told when a ring starts.

import type { VirtqueueError } from './errors.ts'
import type { RingAddresses } from './ring-layout.ts'

export interface DeviceQueueOptions extends RingAddresses {
  /**
   * Next index in the available ring to process; 0 for a new ring. Undefined for one that another queue has served, perhaps in a
   * process that is no more: then it is what the used ring says, and what is in flight.
   */
  readonly base?: number
  /** VIRTIO_RING_F_EVENT_IDX was negotiated. */
  readonly eventIdx: boolean
  /** VIRTIO_RING_F_INDIRECT_DESC was negotiated. */
  readonly indirect: boolean
  /** Tells the driver that there are used buffers. Must not throw. */
  readonly notify: () => void
  /** Called once, when the driver breaks the ring. Must not throw. */
  readonly onError: (error: VirtqueueError) => void
  /**
   * Most entries of an indirect table. The specification allows as many as the ring has; drivers with small rings are
   * known to send more, so the default is that or 1024, whichever is more. With `size` it bounds the memory that the
   * driver can make a queue use: 32 bytes for each entry of each chain in flight.
   */
  readonly maxChainLength?: number
  /**
   * Memory that outlives this process, `inflightRingBytes(size)` of it, for the record of chains in flight. If it holds the
   * record of a predecessor, those chains are handled again, first, and the ring goes on after them: `base` is ignored.
   */
  readonly inflight?: Uint8Array
}
