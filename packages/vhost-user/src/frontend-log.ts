// The dirty log as a front-end owns it: shared memory in which the back-end marks the pages that it writes, and from which the
// front-end takes the marks while a migration goes on.

import { closeFd } from './sys/libc.ts'
import { Mapping } from './sys/mapping.ts'
import { createMemFd } from './sys/memfd.ts'

const PAGE_SIZE = 4096
/** Bytes of the file before the log, so that a back-end that forgets the offset is found out. */
const LEAD = 0x1000

export class FrontendLog {
  /** Owned by this object; lent to the back-end. */
  readonly fd: number
  readonly mmapOffset = LEAD
  /** Bytes. */
  readonly mmapSize: number
  readonly #mapping: Mapping
  readonly #bitmap: Uint8Array

  /** @param end first guest-physical address that is not watched */
  constructor(end: number) {
    // Whole 64-bit words, as front-ends harvest them.
    this.mmapSize = Math.ceil(end / PAGE_SIZE / 64) * 8
    this.fd = createMemFd('dirty-log', LEAD + this.mmapSize)
    try {
      this.#mapping = new Mapping({ fd: this.fd, offset: LEAD, size: this.mmapSize })
    } catch (error) {
      closeFd(this.fd)
      throw error
    }
    this.#bitmap = new Uint8Array(this.#mapping.pieces[0]!)
  }

  /** Takes all marks away; guest-physical page numbers, in order. */
  take(): number[] {
    const pages: number[] = []
    for (let byte = 0; byte < this.#bitmap.length; byte++) {
      const bits = Atomics.exchange(this.#bitmap, byte, 0)
      for (let bit = 0; bit < 8; bit++) if ((bits >> bit) & 1) pages.push(byte * 8 + bit)
    }
    return pages
  }

  close(): void {
    this.#mapping.unmap()
    closeFd(this.fd)
  }
}
