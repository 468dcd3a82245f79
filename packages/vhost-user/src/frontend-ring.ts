// One ring as its front-end sees it: the descriptors that the driver kicks and is called with. What lies in the ring's memory
// is the driver's business.

import { createEventFd, drainEventFd, signalEventFd } from './sys/eventfd.ts'
import { FdPoll } from './sys/fd-poll.ts'
import { closeFd } from './sys/libc.ts'

/** Where a driver has laid a ring, in guest-physical addresses. */
export interface RingLayout {
  readonly index: number
  /** Number of descriptors, a power of two. */
  readonly size: number
  readonly descAddress: number
  readonly availAddress: number
  readonly usedAddress: number
  /** Next available index for the device to process: 0 at first, later what stopping gave. */
  readonly base?: number
}

export interface RingCallbacks {
  /** The device says that there are used buffers; it may do so while the ring is still being started. */
  readonly onCall?: () => void
  /** The device says that the ring is broken. */
  readonly onError?: () => void
  /** What a callback threw. */
  readonly failed: (error: unknown) => void
}

export class FrontendRing {
  readonly index: number
  /** Owned by this object and lent to the back-end. */
  readonly kickFd: number
  readonly callFd: number
  readonly errFd: number
  readonly #polls: readonly FdPoll[]
  #calls = 0
  #waiters: (() => void)[] = []
  #broken = false
  #closed = false

  constructor(index: number, { onCall, onError, failed }: RingCallbacks) {
    this.index = index
    this.kickFd = createEventFd()
    this.callFd = createEventFd()
    this.errFd = createEventFd()
    const called = () => {
      if (!drainEventFd(this.callFd)) return
      this.#calls++
      for (const wake of this.#waiters.splice(0)) wake()
      onCall?.()
    }
    const erred = () => {
      if (!drainEventFd(this.errFd)) return
      this.#broken = true
      onError?.()
    }
    this.#polls = [
      new FdPoll(this.callFd, { readable: true }, { ready: called, failed }),
      new FdPoll(this.errFd, { readable: true }, { ready: erred, failed }),
    ]
  }

  /** How often the device has called, as far as this process has noticed. */
  get calls(): number {
    return this.#calls
  }

  /** The device has said that it cannot go on with the ring. */
  get broken(): boolean {
    return this.#broken
  }

  /** The ring was stopped, or its session is over: no call will come any more. */
  get closed(): boolean {
    return this.#closed
  }

  /** Tells the device that there are available buffers. One system call. */
  kick(): void {
    signalEventFd(this.kickFd)
  }

  /**
   * Resolves when the device has called more often than `seen` times. Read `calls` before looking at the used ring, and no
   * call is missed. Resolves too when the ring is closed.
   */
  async called(seen: number = this.#calls): Promise<void> {
    while (this.#calls <= seen && !this.#closed) {
      await new Promise<void>(resolve => this.#waiters.push(resolve))
    }
  }

  /** Closes the descriptors. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    for (const poll of this.#polls) poll.close()
    for (const fd of [this.kickFd, this.callFd, this.errFd]) closeFd(fd)
    for (const wake of this.#waiters.splice(0)) wake()
  }
}
