// Guest memory as a front-end owns it: one memory file, cut into regions that lie where the caller says in guest-physical
// space. The front-end's own addresses are made up, and the regions do not start at the beginning of the file, so that a
// back-end that mixes up the three address spaces is found out.

import type { MappedRegion } from './device.ts'
import { closeFd } from './sys/libc.ts'
import { Mapping } from './sys/mapping.ts'
import { createMemFd } from './sys/memfd.ts'

export interface RegionLayout {
  /** A multiple of 4096. */
  readonly guestAddress: number
  /** Bytes, a multiple of 4096. */
  readonly size: number
  /** A multiple of 4096; by default the guest address at an arbitrary distance. */
  readonly userAddress?: number
}

export interface FrontendRegion extends MappedRegion {
  /** Where the region starts in the memory file. */
  readonly mmapOffset: number
}

/** Like a virtual address of a front-end on x86-64: far from any guest-physical address, below 2^47. */
const USER_BASE = 0x7f00_0000_0000
/** Bytes of the file that belong to no region. */
const LEAD = 0x1000

export class FrontendMemory {
  /** Owned by this object; lent to the back-end with each region. */
  readonly fd: number
  readonly regions: readonly FrontendRegion[]
  readonly #mappings: Mapping[] = []
  #closed = false

  constructor(layout: readonly RegionLayout[]) {
    const total = layout.reduce((sum, { size }) => sum + size, LEAD)
    this.fd = createMemFd('guest-memory', total)
    const regions: FrontendRegion[] = []
    let mmapOffset = LEAD
    try {
      for (const { guestAddress, size, userAddress = USER_BASE + guestAddress } of layout) {
        const mapping = new Mapping({ fd: this.fd, offset: mmapOffset, size })
        this.#mappings.push(mapping)
        regions.push({ guestAddress, userAddress, size, mmapOffset, pieces: mapping.pieces })
        mmapOffset += size
      }
    } catch (error) {
      this.close()
      throw error
    }
    this.regions = regions
  }

  /** The caller promises that nothing in this process touches the pieces any more. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const mapping of this.#mappings.splice(0)) mapping.unmap()
    closeFd(this.fd)
  }
}
