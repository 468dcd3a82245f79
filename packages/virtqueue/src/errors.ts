// What can be wrong with guest memory, with a ring, or with how this package is used. The `code` is stable; the message
// is for people. Trouble that the other side of a ring causes is never thrown: it marks the ring broken and is reported
// through `onError` (device-queue.ts, driver-queue.ts). What the caller does wrong is thrown.

/** Reported through `onError`: what the driver did wrong, found by the device side. */
export type DriverFault =
  | 'AVAIL_JUMP'
  | 'BAD_HEAD'
  | 'HEAD_IN_FLIGHT'
  | 'BAD_NEXT'
  | 'LOOP'
  | 'TOO_LONG'
  | 'READABLE_AFTER_WRITABLE'
  | 'OUT_OF_MEMORY_RANGE'
  | 'INDIRECT_NOT_NEGOTIATED'
  | 'INDIRECT_WITH_NEXT'
  | 'INDIRECT_LENGTH'
  | 'NESTED_INDIRECT'

/** Reported through `onError`: what the device did wrong, found by the driver side. */
export type DeviceFault = 'USED_JUMP' | 'BAD_USED_ID' | 'USED_LENGTH'

/** Thrown: a region or ring that cannot be used, or a wrong call. */
export type UsageFault =
  | 'REGION_INVALID'
  | 'REGION_OVERLAP'
  | 'REGION_UNKNOWN'
  | 'RING_SIZE'
  | 'RING_ALIGNMENT'
  | 'RING_NOT_MAPPED'
  | 'INFLIGHT_INVALID'
  | 'BIG_ENDIAN_HOST'
  | 'NOT_IN_FLIGHT'
  | 'BAD_CHAIN'

export type VirtqueueErrorCode = DriverFault | DeviceFault | UsageFault

export class VirtqueueError extends Error {
  override readonly name = 'VirtqueueError'
  readonly code: VirtqueueErrorCode

  constructor(code: VirtqueueErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}
