// Dirty logging as the session sees it: the log's memory, whether it is switched on (VHOST_F_LOG_ALL), and for which used
// rings. The device is told of every change, and of the log's end before it is unmapped.

import type { Infer } from '@ovfs/cstruct'
import type { DirtyLogArea, VhostUserDevice } from './device.ts'
import { VhostUserError } from './errors.ts'
import type { Log } from './payloads.ts'
import { requireEventFd, signalEventFd } from './sys/eventfd.ts'
import { closeForeignFd } from './sys/foreign-fd.ts'
import { closeFd } from './sys/libc.ts'
import { MAX_PIECE_SIZE, Mapping } from './sys/mapping.ts'
import { sealUnlessGuarded } from './sys/memfd.ts'
import type { FdNames, InheritedFds, SavedLog, SavedMemory } from './takeover/saved-session.ts'

const NO_FD = -1

export class DirtyLogging {
  readonly #device: VhostUserDevice
  readonly #report: (error: VhostUserError) => void
  readonly #usedRings: (number | undefined)[]
  readonly #names: FdNames | undefined
  #mapping: Mapping | undefined
  /** Where the log is, if it is kept for a successor. */
  #memory: SavedMemory | undefined
  #on = false
  #fd = NO_FD

  constructor(device: VhostUserDevice, report: (error: VhostUserError) => void, names?: FdNames) {
    this.#names = names
    this.#device = device
    this.#report = report
    this.#usedRings = new Array(device.queueCount).fill(undefined)
  }

  /** SET_LOG_BASE: from now on this log, instead of another. The descriptor is lent. */
  replace({ mmapSize, mmapOffset }: Infer<typeof Log>, fd: number): void {
    if (mmapSize > MAX_PIECE_SIZE) throw new VhostUserError('BAD_MEMORY', `a dirty log of ${mmapSize} bytes`)
    sealUnlessGuarded(fd)
    const mapping = new Mapping({ fd, offset: mmapOffset, size: mmapSize })
    const old = this.#mapping
    this.#mapping = mapping
    const name = this.#names?.nameOf(fd)
    this.#memory = name === undefined ? undefined : { fd: name, mmapSize, mmapOffset }
    this.#tell()
    old?.unmap()
  }

  /** SET_LOG_FD; takes the descriptor over. */
  setSignal(fd: number): void {
    try {
      requireEventFd(fd)
    } catch (error) {
      closeForeignFd(fd)
      throw error
    }
    this.#closeSignal()
    this.#fd = fd
    this.#tell()
  }

  /** VHOST_F_LOG_ALL among the features that the front-end has set. */
  switch(on: boolean): void {
    if (this.#on === on) return
    this.#on = on
    this.#tell()
  }

  /** VHOST_VRING_F_LOG of SET_VRING_ADDR. */
  setUsedRing(index: number, address: number | undefined): void {
    if (this.#usedRings[index] === address) return
    this.#usedRings[index] = address
    if (this.#on) this.#tell()
  }

  /** For a successor. */
  save(): SavedLog {
    const signal = this.#names?.nameOf(this.#fd)
    return {
      on: this.#on,
      usedRings: this.#usedRings.map(address => address ?? null),
      ...(this.#memory && { memory: this.#memory }),
      ...(signal !== undefined && { signal }),
    }
  }

  /** What a predecessor had; before any ring is started. */
  restore({ on, usedRings, memory, signal }: SavedLog, fds: InheritedFds): void {
    for (const [index, address] of usedRings.entries()) this.#usedRings[index] = address ?? undefined
    this.#on = on
    if (signal !== undefined) this.#fd = fds.take(signal)
    if (memory) this.replace(memory, fds.peek(memory.fd))
  }

  /** The session is over, and the device has been reset: it has let go of the log. */
  clear(): void {
    this.#on = false
    this.#usedRings.fill(undefined)
    this.#closeSignal()
    this.#mapping?.unmap()
    this.#mapping = undefined
    this.#memory = undefined
  }

  #closeSignal(): void {
    if (this.#fd !== NO_FD) closeFd(this.#fd)
    this.#fd = NO_FD
  }

  #tell(): void {
    this.#device.setLog?.(this.#on && this.#mapping ? this.#area(this.#mapping) : undefined)
  }

  #area({ pieces }: Mapping): DirtyLogArea {
    return {
      bitmap: new Uint8Array(pieces[0]!),
      usedRings: [...this.#usedRings],
      marked: this.#fd === NO_FD ? undefined : () => this.#signal(),
    }
  }

  #signal(): void {
    if (this.#fd === NO_FD) return
    try {
      signalEventFd(this.#fd)
    } catch (cause) {
      this.#closeSignal()
      this.#report(
        new VhostUserError('BAD_DESCRIPTORS', 'nothing can be written to the log descriptor', { cause }),
      )
    }
  }
}
