// One ring as the back-end's session sees it: what the front-end has configured, and whether the device runs it. Stopped and
// disabled at first; started by SET_VRING_KICK, stopped by GET_VRING_BASE; the device runs it while it is started, and takes
// buffers while it is enabled too (Ring states). Owns the ring's kick, call and err descriptors.

import type { VhostUserDevice } from './device.ts'
import { VhostUserError } from './errors.ts'
import type { InflightRegion } from './inflight-region.ts'
import { drainEventFd, requireEventFd, signalEventFd } from './sys/eventfd.ts'
import { FdPoll } from './sys/fd-poll.ts'
import { closeForeignFd } from './sys/foreign-fd.ts'
import { closeFd } from './sys/libc.ts'
import type { FdNames, InheritedFds, SavedRing } from './takeover/saved-session.ts'

/** virtio 1.2, 2.7: the queue size is a power of two, at most 32768. */
const MAX_RING_SIZE = 32768
/** How often a ring without a kick descriptor is looked at, in milliseconds. */
const BUSY_POLL_INTERVAL = 1

export interface RingAddresses {
  readonly descAddress: number
  readonly availAddress: number
  readonly usedAddress: number
}

/** virtio 1.2, 2.7: alignment of the three parts of a split ring. */
const ALIGNMENT = { descAddress: 16, availAddress: 2, usedAddress: 4 } as const

const NO_FD = -1

export class Vring {
  readonly index: number
  readonly #device: VhostUserDevice
  readonly #report: (error: VhostUserError) => void
  #size = 0
  #base = 0
  #addresses: RingAddresses | undefined
  #inflight: InflightRegion | undefined
  /** Used where the front-end has brought none. */
  readonly #ownInflight: InflightRegion | undefined
  #started = false
  #enabled = false
  /** The device has been told to run the ring. */
  #running = false
  /** The device cannot go on with the ring; ends when the ring is stopped. */
  #broken = false
  /** The device refused to run the ring as it was configured. */
  #refused = false
  #stopping: Promise<number> | undefined
  #kickFd = NO_FD
  #callFd = NO_FD
  #errFd = NO_FD
  #kickPoll: FdPoll | undefined
  #timer: NodeJS.Timeout | undefined
  /** The device has more buffers to take: kicked again after everybody else on the event loop had their turn. */
  #nextTurn: NodeJS.Immediate | undefined

  constructor(
    index: number,
    device: VhostUserDevice,
    report: (error: VhostUserError) => void,
    ownInflight?: InflightRegion,
  ) {
    this.index = index
    this.#ownInflight = ownInflight
    this.#device = device
    this.#report = report
  }

  get running(): boolean {
    return this.#running
  }

  setSize(size: number): void {
    this.#requireIdle('size')
    if (size < 1 || size > MAX_RING_SIZE || (size & (size - 1)) !== 0) {
      throw this.#bad(`size ${size} is not a power of two up to ${MAX_RING_SIZE}`)
    }
    this.#size = size
    if (!this.#refused) this.#update()
  }

  setBase(base: number): void {
    this.#requireIdle('base')
    // Split ring: bits 0-15 are the next available index, and the others stay zero.
    if (base > 0xffff) throw this.#bad(`base ${base} does not fit in 16 bits`)
    this.#base = base
  }

  /** May come again while the ring runs, to switch logging, but cannot move it. */
  setAddresses(addresses: RingAddresses): void {
    for (const part of ['descAddress', 'availAddress', 'usedAddress'] as const) {
      if (addresses[part] % ALIGNMENT[part] !== 0) {
        throw this.#bad(`${part} 0x${addresses[part].toString(16)} is not a multiple of ${ALIGNMENT[part]}`)
      }
      if (this.#addresses?.[part] !== addresses[part]) this.#requireIdle('addresses')
    }
    this.#addresses = addresses
    // After a refusal the front-end may be halfway through configuring the ring anew: its kick comes last.
    if (!this.#refused) this.#update()
  }

  /** Memory for the record of buffers in flight, from the next start on. */
  setInflight(region: InflightRegion | undefined): void {
    this.#inflight = region
  }

  /** Takes the kick descriptor over and starts the ring; without one the ring is looked at from time to time. */
  setKick(fd: number | undefined): void {
    accept(fd)
    this.#stopListening()
    this.#kickFd = replaceFd(this.#kickFd, fd)
    this.#started = true
    if (this.#running && this.#enabled && !this.#broken) this.#resume()
    else this.#update()
  }

  /** Takes the call descriptor over; without one the driver polls. */
  setCall(fd: number | undefined): void {
    accept(fd)
    this.#callFd = replaceFd(this.#callFd, fd)
    // A notification may have gone to the old descriptor unseen; one too many does no harm.
    this.#notify()
  }

  /** Takes the err descriptor over. */
  setErr(fd: number | undefined): void {
    accept(fd)
    this.#errFd = replaceFd(this.#errFd, fd)
  }

  setEnabled(enabled: boolean): void {
    if (this.#enabled === enabled) return
    this.#enabled = enabled
    if (!this.#running) this.#update()
    else if (enabled && !this.#broken) this.#resume()
    // Kicks wait in the descriptor until the ring is enabled again.
    else this.#stopListening()
  }

  /**
   * Guest memory has changed: a ring that could not be started for want of it may start now, and one that idled because its
   * memory was away may have missed kicks.
   */
  memoryChanged(): void {
    if (!this.#running) this.#update()
    else if (this.#started && this.#enabled && !this.#broken) this.#kick()
  }

  /** GET_VRING_BASE: the next available index to process, once the device has returned what it took. */
  stop(): number | Promise<number> {
    this.#stopListening()
    this.#started = false
    this.#kickFd = replaceFd(this.#kickFd, undefined)
    if (!this.#running) return this.#base
    if (this.#stopping) return this.#stopping
    try {
      const base = this.#device.stopRing(this.index)
      if (typeof base === 'number') return this.#stopped(base)
      this.#stopping = base.then(
        next => this.#stopped(next),
        cause => this.#cannotStop(cause),
      )
      return this.#stopping
    } catch (cause) {
      return this.#cannotStop(cause)
    }
  }

  #stopped(base: number): number {
    this.#stopping = undefined
    this.#running = false
    this.#broken = false
    this.#base = base & 0xffff
    return this.#base
  }

  #cannotStop(cause: unknown): never {
    throw new VhostUserError('DEVICE_LOST', `ring ${this.index} could not be stopped`, { cause })
  }

  /**
   * The device has been reset. Call and err descriptors stay: a front-end sets them once, before the first reset. The base
   * stays too if it is to be asked for yet.
   */
  reset(keepsBase = false): void {
    this.#stopListening()
    this.#kickFd = replaceFd(this.#kickFd, undefined)
    this.#stopping = undefined
    if (!keepsBase) this.#base = 0
    this.#started = false
    this.#enabled = false
    this.#running = false
    this.#broken = false
    this.#refused = false
  }

  /** Stops listening for kicks, without telling the device. */
  silence(): void {
    this.#stopListening()
    this.#broken = true
  }

  /** A new session begins, or none: as at first, all descriptors closed. */
  close(): void {
    this.reset()
    this.#size = 0
    this.#addresses = undefined
    this.#inflight = undefined
    this.#callFd = replaceFd(this.#callFd, undefined)
    this.#errFd = replaceFd(this.#errFd, undefined)
  }

  /** For a successor. */
  save(names: FdNames): SavedRing {
    const [kick, call, err] = [this.#kickFd, this.#callFd, this.#errFd].map(fd => names.nameOf(fd))
    return {
      size: this.#size,
      base: this.#base,
      ...(this.#addresses && { addresses: this.#addresses }),
      started: this.#started,
      enabled: this.#enabled,
      running: this.#running,
      ...(kick !== undefined && { kick }),
      ...(call !== undefined && { call }),
      ...(err !== undefined && { err }),
    }
  }

  /**
   * As a predecessor had it; a ring that ran goes on. Throws BAD_RING if none can have been so, DEVICE if the device does not run
   * it.
   * @returns resolves when what the predecessor had taken is returned
   */
  restore(
    { size, base, addresses, started, enabled, running, kick, call, err }: SavedRing,
    fds: InheritedFds,
  ): void | Promise<void> {
    if (size !== 0) this.setSize(size)
    this.setBase(base)
    if (addresses) this.setAddresses(addresses)
    if (running && (size === 0 || !addresses)) throw this.#bad('it ran without a size or addresses')
    this.#started = started
    this.#enabled = enabled
    const take = (name: string | undefined) => {
      const fd = name === undefined ? undefined : fds.take(name)
      accept(fd)
      return fd ?? NO_FD
    }
    this.#kickFd = take(kick)
    this.#callFd = take(call)
    this.#errFd = take(err)
    if (!running) return
    const earlier = this.#start(undefined)
    if (started && enabled) this.#resume()
    // The predecessor may have ended between publishing and notifying.
    this.#notify()
    return earlier
  }

  #update(): void {
    if (this.#running || !this.#started || !this.#enabled || this.#size === 0 || !this.#addresses) return
    this.#start(this.#base)
    this.#resume()
  }

  /**
   * @param base undefined if the ring goes on where it stood
   * @returns resolves when what was in flight then is returned
   */
  #start(base: number | undefined): void | Promise<void> {
    const { index } = this
    const inflight = this.#inflight?.record(index, this.#size) ?? this.#ownInflight?.record(index, this.#size)
    const ring = {
      ...{ index, size: this.#size, ...this.#addresses! },
      ...(base !== undefined && { base }),
      ...(inflight && { inflight }),
    }
    const notify = () => this.#notify()
    let earlier: void | Promise<void>
    try {
      earlier = this.#device.startRing(ring, notify, cause => this.#fail(cause))
    } catch (cause) {
      this.#refused = true
      this.#signalError()
      throw new VhostUserError('DEVICE', `ring ${index} could not be started`, { cause })
    }
    this.#refused = false
    this.#running = true
    return earlier
  }

  /** Buffers may be there already, with their kick sent long ago: looks once, then waits for kicks. */
  #resume(): void {
    this.#kick()
    if (!this.#broken) this.#listen()
  }

  #listen(): void {
    if (this.#kickFd === NO_FD) {
      this.#timer = setInterval(() => this.#kick(), BUSY_POLL_INTERVAL)
      this.#timer.unref()
      return
    }
    this.#kickPoll = new FdPoll(
      this.#kickFd,
      { readable: true },
      {
        ready: () => {
          if (drainEventFd(this.#kickFd) && this.#device.kickRing(this.index)) this.#kickAgain()
        },
        failed: cause => this.#fail(cause),
      },
    )
  }

  #stopListening(): void {
    this.#kickPoll?.close()
    this.#kickPoll = undefined
    clearInterval(this.#timer)
    this.#timer = undefined
    clearImmediate(this.#nextTurn)
    this.#nextTurn = undefined
  }

  #kick(): void {
    try {
      if (this.#device.kickRing(this.index)) this.#kickAgain()
    } catch (cause) {
      this.#fail(cause)
    }
  }

  #kickAgain(): void {
    if (this.#broken) return
    this.#nextTurn ??= setImmediate(() => {
      this.#nextTurn = undefined
      this.#kick()
    })
  }

  #notify(): void {
    if (this.#callFd === NO_FD || !this.#running) return
    try {
      signalEventFd(this.#callFd)
    } catch (cause) {
      this.#callFd = replaceFd(this.#callFd, undefined)
      this.#report(
        new VhostUserError('BAD_DESCRIPTORS', `ring ${this.index}: nothing can be written to call`, {
          cause,
        }),
      )
    }
  }

  #fail(cause: unknown): void {
    if (!this.#running || this.#broken) return
    this.#broken = true
    this.#stopListening()
    this.#signalError()
    this.#report(new VhostUserError('DEVICE', `ring ${this.index} is broken`, { cause }))
  }

  #signalError(): void {
    if (this.#errFd === NO_FD) return
    try {
      signalEventFd(this.#errFd)
    } catch (cause) {
      this.#errFd = replaceFd(this.#errFd, undefined)
      this.#report(
        new VhostUserError('BAD_DESCRIPTORS', `ring ${this.index}: nothing can be written to err`, { cause }),
      )
    }
  }

  #requireIdle(what: string): void {
    if (this.#running) throw this.#bad(`its ${what} cannot change while it runs`)
  }

  #bad(message: string): VhostUserError {
    return new VhostUserError('BAD_RING', `ring ${this.index}: ${message}`)
  }
}

/** Checks a descriptor that was given to this ring; it is closed if it fails. */
function accept(fd: number | undefined): void {
  if (fd === undefined) return
  try {
    requireEventFd(fd)
  } catch (error) {
    closeForeignFd(fd)
    throw error
  }
}

/** Closes the old descriptor; the new one, which takes its place. */
function replaceFd(old: number, fd: number | undefined): number {
  if (old !== NO_FD) closeFd(old)
  return fd ?? NO_FD
}
