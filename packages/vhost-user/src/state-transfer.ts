// The state of a device on its way through a pipe (SET_DEVICE_STATE_FD): written or read as the pipe allows, beside the control
// socket. The end of the stream is the end of the state.

import { VhostUserError } from './errors.ts'
import { FdPoll, type PollInterest } from './sys/fd-poll.ts'
import { closeFd, lastErrno, libc, NativeBuffer, setNonBlocking, systemCallError } from './sys/libc.ts'

const CHUNK_SIZE = 65536
/** A state that is longer is refused: it would have to be kept in memory. */
export const MAX_STATE_SIZE = 1 << 30

/** One pipe end, owned. Settles when the transfer has ended, and the descriptor is closed then. */
abstract class Transfer<T> {
  readonly done: Promise<T>
  protected readonly fd: number
  protected readonly chunk = new NativeBuffer(CHUNK_SIZE)
  #poll: FdPoll | undefined
  #finish: ((outcome: () => T) => void) | undefined

  /** Throws BAD_DESCRIPTORS, with the descriptor closed, if it is nothing to wait for. */
  constructor(fd: number) {
    this.fd = fd
    try {
      setNonBlocking(fd)
      this.#poll = new FdPoll(
        fd,
        { readable: true },
        { ready: () => this.step(), failed: error => this.fail(error) },
      )
      this.#poll.pause()
    } catch (error) {
      closeFd(fd)
      throw error
    }
    this.done = new Promise((resolve, reject) => {
      this.#finish = outcome => {
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

  protected abstract step(): void

  protected start(interest: PollInterest): void {
    this.#poll?.watch(interest)
  }

  protected succeed(value: T): void {
    this.#end(() => value)
  }

  protected fail(error: unknown): void {
    this.#end(() => {
      throw error
    })
  }

  /** The session is over. */
  cancel(): void {
    this.fail(new VhostUserError('CLOSED', 'the transfer of the device state was given up'))
  }

  #end(outcome: () => T): void {
    if (!this.#poll) return
    this.#poll.close()
    this.#poll = undefined
    closeFd(this.fd)
    this.#finish?.(outcome)
  }
}

/** Writes all the bytes. */
export class StateSender extends Transfer<void> {
  #state: Uint8Array = new Uint8Array(0)
  #sent = 0

  send(state: Uint8Array): void {
    this.#state = state
    this.start({ writable: true })
  }

  protected step(): void {
    while (this.#sent < this.#state.byteLength) {
      const part = this.#state.subarray(this.#sent, this.#sent + CHUNK_SIZE)
      this.chunk.bytes.set(part)
      // SAFETY: reads at most CHUNK_SIZE bytes of `chunk`, which this object keeps.
      const count = libc.write(this.fd, this.chunk.address, part.byteLength)
      if (count < 0) {
        const errno = lastErrno()
        if (errno === 'EAGAIN') return
        if (errno === 'EINTR') continue
        throw systemCallError('write', errno, 'of the device state')
      }
      this.#sent += count
    }
    this.succeed()
  }
}

/** Reads to the end of the stream. */
export class StateReceiver extends Transfer<Uint8Array> {
  readonly #parts: Uint8Array[] = []
  #size = 0

  constructor(fd: number) {
    super(fd)
    this.start({ readable: true })
  }

  protected step(): void {
    for (;;) {
      // SAFETY: writes at most CHUNK_SIZE bytes to `chunk`, which this object keeps.
      const count = libc.read(this.fd, this.chunk.address, CHUNK_SIZE)
      if (count === 0) {
        this.succeed(Buffer.concat(this.#parts))
        return
      }
      if (count < 0) {
        const errno = lastErrno()
        if (errno === 'EAGAIN') return
        if (errno === 'EINTR') continue
        throw systemCallError('read', errno, 'of the device state')
      }
      this.#size += count
      if (this.#size > MAX_STATE_SIZE) throw new VhostUserError('BAD_PAYLOAD', 'the device state is too long')
      this.#parts.push(Uint8Array.prototype.slice.call(this.chunk.bytes, 0, count))
    }
  }
}
