// Split virtqueues over guest memory, both sides.

export { Chain } from './chain.ts'
export { DeviceQueue } from './device-queue.ts'
export type { DeviceQueueOptions } from './device-queue-options.ts'
export { DirtyLog } from './dirty-log.ts'
export { DriverQueue, type DriverQueueOptions, type GuestBuffer } from './driver-queue.ts'
export {
  type DeviceFault,
  type DriverFault,
  type UsageFault,
  VirtqueueError,
  type VirtqueueErrorCode,
} from './errors.ts'
export { GuestMemory, type MemoryPiece, type MemoryRegion } from './guest-memory.ts'
export { inflightRingBytes } from './inflight-ring.ts'
export {
  MAX_RING_SIZE,
  type RingAddresses,
  VIRTIO_RING_F_EVENT_IDX,
  VIRTIO_RING_F_INDIRECT_DESC,
} from './ring-layout.ts'
export { copyFromSpans, copyToSpans, fillSpans } from './span-copy.ts'
export { Spans } from './spans.ts'
