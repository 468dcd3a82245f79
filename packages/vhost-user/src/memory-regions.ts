// The back-end's table of guest memory: checks what the front-end announces, maps it, tells the device, and unmaps only what
// the device has let go of. Regions overlap neither in guest-physical nor in the front-end's address space.

import { type BigIntStats, fstatSync } from 'node:fs'
import type { Infer } from '@ovfs/cstruct'
import type { MappedRegion, VhostUserDevice } from './device.ts'
import { VhostUserError } from './errors.ts'
import type { MemoryRegion } from './payloads.ts'
import { Mapping } from './sys/mapping.ts'
import { sealUnlessGuarded } from './sys/memfd.ts'
import type { FdName, FdNames, InheritedFds, SavedRegion } from './takeover/saved-session.ts'

/** Answer to GET_MAX_MEM_SLOTS: what the kernel's own vhost back-ends allow too. */
export const MAX_MEMORY_SLOTS = 509

const PAGE_SIZE = 4096

export type RegionDescription = Infer<typeof MemoryRegion>

/** A mapped region, with what tells whether the front-end announces the same memory again. */
interface Entry extends MappedRegion {
  readonly mmapOffset: number
  readonly file: BigIntStats
  readonly mapping: Mapping
  /** Under which its file is kept for a successor, if it is. */
  readonly fdName: FdName | undefined
}

export class MemoryRegions {
  readonly #device: VhostUserDevice
  readonly #failed: (error: unknown) => void
  readonly #names: FdNames | undefined
  /** Hears that the front-end has shortened a memory file in use: nothing in the region can be believed any more. */
  onLost: (error: VhostUserError) => void = () => undefined
  #entries: Entry[] = []
  /** Removed regions that the device still uses. */
  readonly #leaving = new Set<Promise<void>>()

  /** `failed` hears what goes wrong after a removal, when there is nobody left to throw to. */
  constructor(device: VhostUserDevice, failed: (error: unknown) => void, names?: FdNames) {
    this.#device = device
    this.#failed = failed
    this.#names = names
  }

  get count(): number {
    return this.#entries.length
  }

  /** ADD_MEM_REG. The descriptor is lent. Waits only if too many removed regions are still in use. */
  async add(description: RegionDescription, fd: number): Promise<void> {
    if (this.#entries.length >= MAX_MEMORY_SLOTS) {
      throw new VhostUserError('BAD_MEMORY', `there are ${MAX_MEMORY_SLOTS} memory regions already`)
    }
    requireSane(description)
    requireNoOverlap(description, this.#entries)
    if (this.#leaving.size >= MAX_MEMORY_SLOTS) await Promise.all(this.#leaving)
    this.#admit(this.#map(description, fd))
  }

  /** REM_MEM_REG: the region with the same addresses and size, wherever it lies in its file. */
  remove(description: RegionDescription): void {
    const { guestAddress, userAddress, size } = description
    const at = this.#entries.findIndex(
      entry =>
        entry.guestAddress === guestAddress && entry.userAddress === userAddress && entry.size === size,
    )
    const entry = this.#entries[at]
    if (!entry) {
      throw new VhostUserError(
        'BAD_MEMORY',
        `no memory region of ${size} bytes at 0x${guestAddress.toString(16)}`,
      )
    }
    this.#entries.splice(at, 1)
    this.#dismiss(entry)
  }

  /**
   * SET_MEM_TABLE: exactly these regions from now on. Memory that is announced again as it was stays mapped and untouched. If
   * anything is wrong with the table, the old one stays. The descriptors, in the order of the regions, are lent.
   */
  async replace(table: readonly RegionDescription[], fdOf: (index: number) => number): Promise<void> {
    for (const [i, description] of table.entries()) {
      requireSane(description)
      requireNoOverlap(description, table.slice(0, i))
    }
    if (this.#leaving.size >= MAX_MEMORY_SLOTS) await Promise.all(this.#leaving)
    const next: Entry[] = []
    const fresh: Entry[] = []
    try {
      for (const [i, description] of table.entries()) {
        const fd = fdOf(i)
        const same = this.#entries.find(entry => isSame(entry, description, fd))
        const entry = same ?? this.#map(description, fd)
        if (!same) fresh.push(entry)
        next.push(entry)
      }
    } catch (error) {
      for (const entry of fresh) entry.mapping.unmap()
      throw error
    }
    const old = this.#entries
    this.#entries = next.filter(entry => !fresh.includes(entry))
    for (const entry of old) if (!next.includes(entry)) this.#dismiss(entry)
    for (const [i, entry] of fresh.entries()) {
      try {
        this.#admit(entry)
      } catch (error) {
        for (const rest of fresh.slice(i + 1)) rest.mapping.unmap()
        throw error
      }
    }
  }

  /** Tells a device that has just been reset about the regions that exist. */
  announce(): void {
    for (const entry of this.#entries) this.#tell(entry)
  }

  /** For a successor; every file is kept. */
  save(): SavedRegion[] {
    return this.#entries.map(({ guestAddress, userAddress, size, mmapOffset, fdName }) => {
      return { guestAddress, userAddress, size, mmapOffset, fd: fdName! }
    })
  }

  /** What a predecessor had mapped. */
  restore(regions: readonly SavedRegion[], fds: InheritedFds): void {
    for (const { fd, ...description } of regions) {
      requireSane(description)
      requireNoOverlap(description, this.#entries)
      this.#admit(this.#map(description, fds.peek(fd)))
    }
  }

  /** Lets go of all regions without a reset of the device. */
  async leave(): Promise<void> {
    for (const entry of this.#entries.splice(0)) this.#dismiss(entry)
    await Promise.all(this.#leaving)
  }

  /** The device has been reset and has let go of everything: unmaps it all. */
  async clear(): Promise<void> {
    await Promise.all(this.#leaving)
    for (const entry of this.#entries.splice(0)) entry.mapping.unmap()
  }

  #map({ guestAddress, userAddress, size, mmapOffset }: RegionDescription, fd: number): Entry {
    // Before the file's size is looked at, so that what is seen then stays true where it can.
    sealUnlessGuarded(fd)
    const file = fstatSync(fd, { bigint: true })
    const lost = () => {
      const message = `the memory file behind guest address 0x${guestAddress.toString(16)} has become shorter`
      this.onLost(new VhostUserError('BAD_MEMORY', message))
    }
    const mapping = new Mapping({ fd, offset: mmapOffset, size, lost })
    const fdName = this.#names?.nameOf(fd)
    return { guestAddress, userAddress, size, mmapOffset, file, mapping, pieces: mapping.pieces, fdName }
  }

  #admit(entry: Entry): void {
    try {
      this.#tell(entry)
    } catch (error) {
      entry.mapping.unmap()
      throw error
    }
    this.#entries.push(entry)
  }

  #tell(entry: Entry): void {
    try {
      this.#device.addRegion(entry)
    } catch (cause) {
      throw new VhostUserError('DEVICE', 'the device did not take a memory region', { cause })
    }
  }

  #dismiss(entry: Entry): void {
    const released = this.#device.removeRegion(entry)
    if (!released) {
      entry.mapping.unmap()
      return
    }
    const leaving = released
      .then(() => entry.mapping.unmap())
      // A region that the device fails to release stays mapped: unmapping memory in use would kill the process.
      .catch(cause => {
        this.#failed(new VhostUserError('DEVICE', 'the device did not release a memory region', { cause }))
      })
      .finally(() => this.#leaving.delete(leaving))
    this.#leaving.add(leaving)
  }
}

function requireSane({ guestAddress, userAddress, size, mmapOffset }: RegionDescription): void {
  if (size === 0) throw new VhostUserError('BAD_MEMORY', 'a memory region of no bytes')
  for (const [name, start] of Object.entries({ guestAddress, userAddress, mmapOffset })) {
    if (!Number.isSafeInteger(start + size)) {
      throw new VhostUserError('BAD_MEMORY', `a memory region ends beyond what its ${name} can say`)
    }
    // Atomic access to ring indices needs views that are aligned as the guest sees them.
    if (start % PAGE_SIZE !== 0) {
      throw new VhostUserError(
        'BAD_MEMORY',
        `the ${name} 0x${start.toString(16)} of a memory region is not page-aligned`,
      )
    }
  }
}

function requireNoOverlap(
  region: RegionDescription,
  others: readonly { guestAddress: number; userAddress: number; size: number }[],
): void {
  for (const other of others) {
    for (const space of ['guestAddress', 'userAddress'] as const) {
      if (region[space] < other[space] + other.size && other[space] < region[space] + region.size) {
        const at = `0x${region[space].toString(16)}`
        throw new VhostUserError('BAD_MEMORY', `the memory region with ${space} ${at} overlaps another`)
      }
    }
  }
}

/** Whether the announced region is the mapped one: same addresses, and same bytes of the same file. */
function isSame(entry: Entry, description: RegionDescription, fd: number): boolean {
  if (
    entry.guestAddress !== description.guestAddress ||
    entry.userAddress !== description.userAddress ||
    entry.size !== description.size ||
    entry.mmapOffset !== description.mmapOffset
  ) {
    return false
  }
  const file = fstatSync(fd, { bigint: true })
  return entry.file.dev === file.dev && entry.file.ino === file.ino
}
