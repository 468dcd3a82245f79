// The state of a device on its way through a pipe (SET_DEVICE_STATE_FD): written or read as the pipe allows, beside the control
// socket. The end of the stream is the end of the state.
//
// Both ends of the pipe may be the peer's, who can make any call on it wait: by taking O_NONBLOCK from it, or by holding it in a
// call of its own. So the calls are made by threads that can wait.

import { read, write } from 'node:fs'
import { VhostUserError } from './errors.ts'
import { FdPoll, type PollInterest } from './sys/fd-poll.ts'
import { closeForeignFd, isPipe, nameOf } from './sys/foreign-fd.ts'
import { setNonBlocking } from './sys/libc.ts'
import { isUnixSocket } from './sys/unix-socket.ts'
import { callInTurn } from './sys/waiting-calls.ts'

const CHUNK_SIZE = 65536
/** A state that is longer is refused: it would have to be kept in memory. */
export const MAX_STATE_SIZE = 1 << 30
/** Transfers that were given up, and whose last call has not come back, in the whole process. One is ordinary: it comes back soon. */
const MAX_STUCK = 2
let stuck = 0

/** One pipe end, owned. Settles when the transfer has ended; the descriptor is closed then, or once a call on it has come back. */
abstract class Transfer<T> {
  readonly done: Promise<T>
  protected readonly fd: number
  readonly #interest: PollInterest
  #poll: FdPoll | undefined
  #calling = false
  #settle: ((outcome: () => T) => void) | undefined

  /** Throws BAD_DESCRIPTORS, with the descriptor closed, if it is nothing to wait for. */
  constructor(fd: number, interest: PollInterest) {
    this.fd = fd
    this.#interest = interest
    try {
      if (stuck >= MAX_STUCK)
        throw new VhostUserError('BAD_DESCRIPTORS', 'the pipes of earlier transfers do not answer')
      if (!isPipe(fd) && !isUnixSocket(fd))
        throw new VhostUserError('BAD_DESCRIPTORS', `no device state goes through ${nameOf(fd)}`)
      setNonBlocking(fd)
      this.#poll = new FdPoll(fd, interest, {
        ready: () => this.#go(),
        failed: error =>
          this.#end(() => {
            throw error
          }),
      })
      this.#poll.pause()
    } catch (error) {
      closeForeignFd(fd)
      throw error
    }
    this.done = new Promise((resolve, reject) => {
      this.#settle = outcome => {
        try {
          resolve(outcome())
        } catch (error) {
          reject(error)
        }
      }
    })
    // Whoever started the transfer may only look at it later.
    this.done.catch(() => undefined)
  }

  /** One call. */
  protected abstract call(done: (error: NodeJS.ErrnoException | null, count: number) => void): void
  /** What the call has moved; the outcome, if that was all. */
  protected abstract moved(count: number): { readonly value: T } | undefined

  protected start(): void {
    this.#poll?.watch(this.#interest)
  }

  /** The session is over. */
  cancel(): void {
    this.#end(() => {
      throw new VhostUserError('CLOSED', 'the transfer of the device state was given up')
    })
  }

  #go(): void {
    this.#poll?.pause()
    callInTurn(returned => {
      if (this.#poll === undefined) {
        returned()
        return
      }
      this.#calling = true
      this.call((error, count) => {
        returned()
        this.#calling = false
        if (this.#poll === undefined) {
          stuck--
          closeForeignFd(this.fd)
        } else this.#returned(error, count)
      })
    })
  }

  #returned(error: NodeJS.ErrnoException | null, count: number): void {
    if (error?.code === 'EAGAIN') {
      this.start()
      return
    }
    let outcome: { readonly value: T } | undefined
    try {
      if (error) throw error
      outcome = this.moved(count)
    } catch (failure) {
      this.#end(() => {
        throw failure
      })
      return
    }
    if (outcome === undefined) this.#go()
    else this.#end(() => outcome.value)
  }

  #end(outcome: () => T): void {
    if (!this.#poll) return
    this.#poll.close()
    this.#poll = undefined
    if (this.#calling) stuck++
    else closeForeignFd(this.fd)
    this.#settle?.(outcome)
  }
}

/** Writes all the bytes. */
export class StateSender extends Transfer<void> {
  #state: Uint8Array = new Uint8Array(0)
  #sent = 0

  constructor(fd: number) {
    super(fd, { writable: true })
  }

  send(state: Uint8Array): void {
    this.#state = state
    this.start()
  }

  protected call(done: (error: NodeJS.ErrnoException | null, count: number) => void): void {
    write(
      this.fd,
      this.#state,
      this.#sent,
      Math.min(CHUNK_SIZE, this.#state.byteLength - this.#sent),
      null,
      done,
    )
  }

  protected moved(count: number): { readonly value: undefined } | undefined {
    this.#sent += count
    return this.#sent < this.#state.byteLength ? undefined : { value: undefined }
  }
}

/** Reads to the end of the stream. */
export class StateReceiver extends Transfer<Uint8Array> {
  readonly #chunk = Buffer.allocUnsafeSlow(CHUNK_SIZE)
  readonly #parts: Uint8Array[] = []
  #size = 0

  constructor(fd: number) {
    super(fd, { readable: true })
    this.start()
  }

  /** Bytes so far. */
  get size(): number {
    return this.#size
  }

  protected call(done: (error: NodeJS.ErrnoException | null, count: number) => void): void {
    read(this.fd, this.#chunk, 0, CHUNK_SIZE, null, done)
  }

  protected moved(count: number): { readonly value: Uint8Array } | undefined {
    if (count === 0) return { value: Buffer.concat(this.#parts) }
    this.#size += count
    if (this.#size > MAX_STATE_SIZE) throw new VhostUserError('BAD_PAYLOAD', 'the device state is too long')
    this.#parts.push(Uint8Array.prototype.slice.call(this.#chunk, 0, count))
    return undefined
  }
}
