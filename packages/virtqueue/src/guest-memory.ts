// Guest memory as seen by this process: regions of guest-physical addresses, each mapped as one or more ArrayBuffers
// ("pieces", because an ArrayBuffer has a size limit). A range of addresses may straddle pieces and adjacent regions and
// then becomes several spans. Addresses are numbers: above 2^53-1 there is no region, so a descriptor's 64-bit address
// that does not fit a number exactly can never translate.

import { VirtqueueError } from './errors.ts'
import type { Spans } from './spans.ts'

/** A region of guest memory, mapped into this process. */
export interface MemoryRegion {
  /** Guest-physical address of the first byte. */
  readonly guestAddress: number
  /** The front-end's virtual address of the first byte; the addresses of rings are in this space. */
  readonly userAddress: number
  /** Bytes. */
  readonly size: number
  /** Consecutive views of the mapping, together `size` bytes, each shorter than 2 GiB. */
  readonly pieces: readonly ArrayBufferLike[]
}

/** One ArrayBuffer of guest memory with the views of it that are ever needed, made once. */
export interface MemoryPiece {
  readonly region: MemoryRegion
  readonly guestStart: number
  /** First address after the piece. */
  readonly guestEnd: number
  readonly userStart: number
  readonly view: DataView
  readonly bytes: Uint8Array
  /** For descriptors. */
  readonly words: Uint32Array
  /** For Atomics on the 16-bit fields of rings. */
  readonly halves: Uint16Array
}

/** Offsets into a piece are kept as 32-bit integers on the hot path. */
const MAX_PIECE = 2 ** 31 - 1

function isAddress(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}

function overlaps(a: number, b: number, aSize: number, bSize: number): boolean {
  return a < b + bSize && b < a + aSize
}

/** Outlives the piece's region, as a chain in flight does that reaches into it. */
const guestStarts = new WeakMap<Uint8Array, number>()

/** Guest-physical address of the first byte of a piece, by its `bytes`. */
export function guestStartOf(bytes: Uint8Array): number {
  return guestStarts.get(bytes)!
}

function makePieces(region: MemoryRegion): MemoryPiece[] {
  let offset = 0
  return region.pieces.map(buffer => {
    const guestStart = region.guestAddress + offset
    const userStart = region.userAddress + offset
    const bytes = new Uint8Array(buffer)
    guestStarts.set(bytes, guestStart)
    offset += buffer.byteLength
    return {
      region,
      guestStart,
      guestEnd: guestStart + buffer.byteLength,
      userStart,
      view: new DataView(buffer),
      bytes,
      words: new Uint32Array(buffer, 0, buffer.byteLength >>> 2),
      halves: new Uint16Array(buffer, 0, buffer.byteLength >>> 1),
    }
  })
}

const NO_PIECE = makePieces({ guestAddress: 0, userAddress: 0, size: 0, pieces: [new ArrayBuffer(0)] })[0]!

const RECENT_SLOTS = 64

/** Pieces are large, 1 GiB where a region is, so the GiB of an address nearly always tells its piece. */
function recentSlot(address: number): number {
  return (address / 0x4000_0000) & (RECENT_SLOTS - 1)
}

export class GuestMemory {
  /** Grows with every change of the regions; what holds on to a piece looks again when this differs. */
  generation = 0
  /** In the order of guest addresses. */
  #pieces: MemoryPiece[] = []
  readonly #regions: MemoryRegion[] = []
  /** By address: where the last one in the same GiB, or in one 64 GiB away from it, was found. */
  readonly #recent: MemoryPiece[] = new Array(RECENT_SLOTS).fill(NO_PIECE)

  get regions(): readonly MemoryRegion[] {
    return this.#regions
  }

  /** Throws REGION_INVALID, or REGION_OVERLAP if any guest or user address is already taken. */
  addRegion(region: MemoryRegion): void {
    const { guestAddress, userAddress, size, pieces } = region
    const where = `region of ${size} bytes at 0x${guestAddress.toString(16)}`
    if (!isAddress(guestAddress) || !isAddress(userAddress) || !isAddress(size) || size === 0) {
      throw new VirtqueueError(
        'REGION_INVALID',
        `${where}: addresses and size must be safe integers, size not 0`,
      )
    }
    if (!isAddress(guestAddress + size) || !isAddress(userAddress + size)) {
      throw new VirtqueueError('REGION_INVALID', `${where} ends above the largest exact number`)
    }
    if (pieces.some(piece => piece.byteLength === 0 || piece.byteLength > MAX_PIECE)) {
      throw new VirtqueueError('REGION_INVALID', `${where}: a piece must have 1 to ${MAX_PIECE} bytes`)
    }
    const mapped = pieces.reduce((sum, piece) => sum + piece.byteLength, 0)
    if (mapped !== size) {
      throw new VirtqueueError('REGION_INVALID', `${where} has pieces of ${mapped} bytes together`)
    }
    for (const other of this.#regions) {
      if (
        overlaps(guestAddress, other.guestAddress, size, other.size) ||
        overlaps(userAddress, other.userAddress, size, other.size)
      ) {
        const otherWhere = `0x${other.guestAddress.toString(16)} (${other.size} bytes)`
        throw new VirtqueueError('REGION_OVERLAP', `${where} overlaps the region at ${otherWhere}`)
      }
    }
    this.#regions.push(region)
    this.#pieces = [...this.#pieces, ...makePieces(region)].sort((a, b) => a.guestStart - b.guestStart)
    this.#changed()
  }

  /**
   * Forgets a region: nothing translates into it from now on. Spans made before still reach it, so unmap it only when no
   * queue holds a chain in it (`DeviceQueue.release`). Throws REGION_UNKNOWN.
   */
  removeRegion(region: Pick<MemoryRegion, 'guestAddress' | 'userAddress' | 'size'>): void {
    const index = this.#regions.findIndex(
      known =>
        known.guestAddress === region.guestAddress &&
        known.userAddress === region.userAddress &&
        known.size === region.size,
    )
    const known = this.#regions[index]
    if (known === undefined) {
      throw new VirtqueueError(
        'REGION_UNKNOWN',
        `no region of ${region.size} bytes at 0x${region.guestAddress.toString(16)}`,
      )
    }
    this.#regions.splice(index, 1)
    this.#pieces = this.#pieces.filter(piece => piece.region !== known)
    this.#changed()
  }

  /**
   * Appends the spans of [address, address + length), guest-physical, to `into`. Returns false, and appends nothing, if
   * any byte of it is not mapped. A length of 0 is fine anywhere and appends nothing.
   */
  translate(address: number, length: number, into: Spans): boolean {
    const hit = this.#recent[recentSlot(address)]!
    if (address >= hit.guestStart && address + length <= hit.guestEnd && length > 0) {
      // `| 0` keeps the array of offsets one of small integers; a subtraction of doubles would not.
      into.append(hit.view, hit.bytes, (address - hit.guestStart) | 0, length)
      return true
    }
    return this.#translateAcross(address, length, into)
  }

  /** The piece that holds all of [address, address + length), guest-physical, or undefined. */
  pieceOf(address: number, length: number): MemoryPiece | undefined {
    const piece = this.#find(address)
    return piece !== undefined && address + length <= piece.guestEnd ? piece : undefined
  }

  /** The same as `translate` for addresses of the front-end. */
  translateUser(address: number, length: number, into: Spans): boolean {
    const count = into.count
    const byteLength = into.byteLength
    let at = address
    let left = length
    while (left > 0) {
      const piece = this.#findUser(at)
      if (piece === undefined) {
        into.count = count
        into.byteLength = byteLength
        return false
      }
      const offset = at - piece.userStart
      const part = Math.min(left, piece.bytes.length - offset)
      into.push(piece.view, piece.bytes, offset | 0, part)
      at += part
      left -= part
    }
    return true
  }

  /** The piece that holds all of [userAddress, userAddress + length), or undefined. */
  pieceAt(userAddress: number, length: number): MemoryPiece | undefined {
    const piece = this.#findUser(userAddress)
    if (piece === undefined || userAddress - piece.userStart + length > piece.bytes.length) return undefined
    return piece
  }

  /** The front-end's address of a guest-physical address, or undefined if it is not mapped. */
  userAddressOf(guestAddress: number): number | undefined {
    const piece = this.#find(guestAddress)
    return piece === undefined ? undefined : piece.userStart + (guestAddress - piece.guestStart)
  }

  #translateAcross(address: number, length: number, into: Spans): boolean {
    const count = into.count
    const byteLength = into.byteLength
    let at = address
    let left = length
    while (left > 0) {
      const piece = this.#find(at)
      if (piece === undefined) {
        into.count = count
        into.byteLength = byteLength
        return false
      }
      const part = Math.min(left, piece.guestEnd - at)
      into.push(piece.view, piece.bytes, (at - piece.guestStart) | 0, part)
      at += part
      left -= part
    }
    return true
  }

  #find(address: number): MemoryPiece | undefined {
    const hit = this.#recent[recentSlot(address)]!
    if (address >= hit.guestStart && address < hit.guestEnd) return hit
    const pieces = this.#pieces
    let low = 0
    let high = pieces.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (pieces[middle]!.guestEnd <= address) low = middle + 1
      else high = middle
    }
    const piece = pieces[low]
    if (piece === undefined || piece.guestStart > address) return undefined
    this.#recent[recentSlot(address)] = piece
    return piece
  }

  #findUser(address: number): MemoryPiece | undefined {
    for (const piece of this.#pieces) {
      if (address >= piece.userStart && address < piece.userStart + piece.bytes.length) return piece
    }
    return undefined
  }

  #changed(): void {
    this.generation++
    this.#recent.fill(NO_PIECE)
  }
}
