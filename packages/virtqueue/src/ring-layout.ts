// The split ring as bytes (virtio 1.2, 2.7): sizes, offsets and flags of its three parts, and where a part lies in guest
// memory. Ring fields are little-endian and so must the host be: the 16-bit indices go through Atomics on a Uint16Array,
// which has the order of the host.

import { VirtqueueError } from './errors.ts'
import type { GuestMemory, MemoryPiece } from './guest-memory.ts'

/** le64 addr at 0, le32 len at 8, le16 flags at 12, le16 next at 14. */
export const DESCRIPTOR_SIZE = 16
export const VIRTQ_DESC_F_NEXT = 1
export const VIRTQ_DESC_F_WRITE = 2
export const VIRTQ_DESC_F_INDIRECT = 4

export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1
export const VIRTQ_USED_F_NO_NOTIFY = 1

/** Virtio feature bit numbers that change how a split ring is read. */
export const VIRTIO_RING_F_INDIRECT_DESC = 28
export const VIRTIO_RING_F_EVENT_IDX = 29

/** Both rings: le16 flags at 0, le16 idx at 2, entries at 4, then le16 used_event or avail_event. */
export const RING_HEADER_SIZE = 4
export const AVAIL_ENTRY_SIZE = 2
/** le32 id at 0, le32 len at 4. */
export const USED_ENTRY_SIZE = 8

export const MAX_RING_SIZE = 32768

/** Where the three parts of a ring are, in the front-end's address space, as in the vhost-user message SET_VRING_ADDR. */
export interface RingAddresses {
  /** Number of descriptors: a power of two, 1 to 32768. */
  readonly size: number
  readonly descAddress: number
  readonly availAddress: number
  readonly usedAddress: number
}

export function descTableBytes(size: number): number {
  return DESCRIPTOR_SIZE * size
}

export function availRingBytes(size: number): number {
  return RING_HEADER_SIZE + AVAIL_ENTRY_SIZE * size + 2
}

export function usedRingBytes(size: number): number {
  return RING_HEADER_SIZE + USED_ENTRY_SIZE * size + 2
}

/** One part of a ring in mapped memory. */
export interface RingPart {
  readonly piece: MemoryPiece
  /** Where the part starts in its piece, in bytes: a multiple of 4 for descriptors and used ring, of 2 for the other. */
  readonly offset: number
}

export interface RingParts {
  readonly desc: RingPart
  readonly avail: RingPart
  readonly used: RingPart
}

function resolvePart(
  memory: GuestMemory,
  address: number,
  byteLength: number,
  alignment: number,
): RingPart | undefined {
  const piece = memory.pieceAt(address, byteLength)
  if (piece === undefined) return undefined
  const offset = address - piece.userStart
  return offset % alignment === 0 ? { piece, offset } : undefined
}

/** The parts in mapped memory, or undefined if one of them is not wholly there, in one piece and aligned in it. */
export function resolveRing(memory: GuestMemory, ring: RingAddresses): RingParts | undefined {
  const desc = resolvePart(memory, ring.descAddress, descTableBytes(ring.size), 4)
  const avail = resolvePart(memory, ring.availAddress, availRingBytes(ring.size), 2)
  const used = resolvePart(memory, ring.usedAddress, usedRingBytes(ring.size), 4)
  return desc && avail && used && { desc, avail, used }
}

function isAligned(address: number, alignment: number): boolean {
  return Number.isSafeInteger(address) && address >= 0 && address % alignment === 0
}

/** Throws RING_SIZE, RING_ALIGNMENT or BIG_ENDIAN_HOST. */
export function checkRing(ring: RingAddresses): void {
  // 2.7: the queue size is a power of two, at most 32768.
  if (!(ring.size >= 1 && ring.size <= MAX_RING_SIZE) || (ring.size & (ring.size - 1)) !== 0) {
    throw new VirtqueueError(
      'RING_SIZE',
      `a ring of ${ring.size} descriptors: need a power of two, 1 to 32768`,
    )
  }
  // 2.7: alignment of the descriptor table 16, available ring 2, used ring 4.
  if (
    !isAligned(ring.descAddress, 16) ||
    !isAligned(ring.availAddress, 2) ||
    !isAligned(ring.usedAddress, 4)
  ) {
    const addresses = [ring.descAddress, ring.availAddress, ring.usedAddress].map(a => `0x${a.toString(16)}`)
    throw new VirtqueueError(
      'RING_ALIGNMENT',
      `ring parts at ${addresses.join(', ')}: need multiples of 16, 2, 4`,
    )
  }
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1) {
    throw new VirtqueueError('BIG_ENDIAN_HOST', 'split rings are little-endian and this host is not')
  }
}

/**
 * 2.7.7.2 and 2.7.10: whether moving an index from `before` to `after` passes `event`, so that the other side asked to be
 * told. All three are free-running 16-bit indices.
 */
export function needEvent(event: number, after: number, before: number): boolean {
  return ((after - event - 1) & 0xffff) < ((after - before) & 0xffff)
}
