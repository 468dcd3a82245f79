// Readiness of one descriptor on Node's event loop. koffi's poll aborts the process when it is given a descriptor that
// cannot be polled, or one twice; stops all polling when a callback throws; and is collected when nothing refers to it.
// This class stands before all of that. It never owns the descriptor: close the poll first, then the descriptor.

import { setImmediate } from 'node:timers'
import koffi from 'koffi'
import { VhostUserError } from '../errors.ts'
import { checked, closeFd, lastErrno, libc, NativeBuffer, systemCallError } from './libc.ts'

export interface PollInterest {
  readonly readable?: boolean
  readonly writable?: boolean
}

export interface PollHandlers {
  /** Level-triggered: comes again until the descriptor is drained. After an error on the descriptor both are true, once. */
  ready(readable: boolean, writable: boolean): void
  /** What `ready` threw. */
  failed(error: unknown): void
}

interface KoffiEvents {
  readonly readable: boolean
  readonly writable: boolean
  readonly disconnect: boolean
}

const NOTHING: PollInterest = {}

/** Polls in use by descriptor: keeps each reachable, and finds a second poll on one descriptor. */
const polls = new Map<number, FdPoll>()

let isDrainPending = false
const drained = () => {
  isDrainPending = false
}

/**
 * Makes Node run the microtasks and ticks that callbacks of this turn have queued, in the check phase of the same turn. koffi calls
 * back without a callback scope, and since 26.4 Node does not drain these queues then: a resolved promise would wait for the next
 * timer. One immediate serves all callbacks of a turn.
 */
function drainAfterCallbacks(): void {
  if (isDrainPending) return
  isDrainPending = true
  setImmediate(drained)
}

export class FdPoll {
  readonly fd: number
  readonly #handlers: PollHandlers
  #interest: PollInterest
  readonly #handle: ReturnType<typeof koffi.node.poll>
  // The declaration in koffi lacks the status, which is what it passes first.
  readonly #callback: (events: KoffiEvents) => void
  #closed = false

  /** Throws BAD_DESCRIPTORS if the kind of file cannot be polled. */
  constructor(fd: number, interest: PollInterest, handlers: PollHandlers) {
    if (polls.has(fd)) {
      throw new VhostUserError('BAD_DESCRIPTORS', `descriptor ${fd} is polled already`)
    }
    requirePollable(fd)
    this.fd = fd
    this.#handlers = handlers
    this.#interest = interest
    const callback = (status: number, events: KoffiEvents) => this.#dispatch(status, events)
    this.#callback = callback as unknown as (events: KoffiEvents) => void
    // SAFETY: the descriptor is pollable and open; the owner closes it only after close().
    this.#handle = koffi.node.poll(fd, interest, this.#callback)
    polls.set(fd, this)
  }

  /** Waits for something else from now on; may be called at any time before close(). */
  watch(interest: PollInterest): void {
    if (this.#closed) return
    this.#interest = interest
    // SAFETY: the handle is open; starting it again replaces what it waits for.
    this.#handle.start(interest, this.#callback)
  }

  /** No more callbacks until `watch`. */
  pause(): void {
    this.#interest = NOTHING
    // SAFETY: the handle is open; koffi crashes on a closed one.
    if (!this.#closed) this.#handle.stop()
  }

  /** The event loop may end although this poll waits. */
  unref(): void {
    // SAFETY: the handle is open; koffi crashes on a closed one.
    if (!this.#closed) this.#handle.unref()
  }

  /** No callback comes after this; the descriptor may be closed next. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    polls.delete(this.fd)
    // SAFETY: the handle is open, and never used again.
    this.#handle.close()
  }

  /** A negative status ends the poll: the owner meets the error itself by reading and writing, and may get over it. */
  #failed(): void {
    const interest = this.#interest
    this.#handlers.ready(true, true)
    if (this.#interest === interest) this.watch(interest)
  }

  #dispatch(status: number, events: KoffiEvents): void {
    if (this.#closed) return
    drainAfterCallbacks()
    try {
      if (status < 0) this.#failed()
      else this.#handlers.ready(events.readable || events.disconnect, events.writable)
    } catch (error) {
      try {
        this.#handlers.failed(error)
      } catch (failure) {
        // An exception must not leave a poll callback; here it becomes an ordinary uncaught exception.
        queueMicrotask(() => {
          throw failure
        })
      }
    }
  }
}

const EPOLL_CLOEXEC = 0o2000000
const EPOLL_CTL_ADD = 1
/** struct epoll_event: 12 bytes on x86-64, 16 elsewhere; all zero asks for nothing. */
const noEvents = new NativeBuffer(16)

/** Asks a throw-away epoll instance whether it takes the descriptor. Throws BAD_DESCRIPTORS if it does not. */
function requirePollable(fd: number): void {
  // SAFETY: no memory is passed; the descriptor is closed below.
  const epoll = checked('epoll_create1', libc.epollCreate1(EPOLL_CLOEXEC))
  // SAFETY: reads one epoll_event from `noEvents`, which lives as long as this module.
  const result = libc.epollCtl(epoll, EPOLL_CTL_ADD, fd, noEvents.address)
  const errno = result < 0 ? lastErrno() : ''
  closeFd(epoll)
  if (result < 0) throw systemCallError('epoll_ctl', errno, `on descriptor ${fd}`, 'BAD_DESCRIPTORS')
}
