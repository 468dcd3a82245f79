// The descriptors that came with one message. Whoever takes one owns it; the rest are closed when the message is done with,
// so that a peer cannot make this process hold descriptors by sending them where none belong.

import { closeForeignFd } from './sys/foreign-fd.ts'

export class ReceivedFds {
  readonly #fds: number[]

  constructor(fds: number[]) {
    this.#fds = fds
  }

  /** How many are not taken yet. */
  get count(): number {
    return this.#fds.length
  }

  /** Those that are not taken yet, lent until `close`. */
  get all(): readonly number[] {
    return this.#fds
  }

  /** The first that is not taken yet; the caller owns and closes it. */
  take(): number {
    const fd = this.#fds.shift()
    if (fd === undefined) throw new RangeError('no descriptor is left')
    return fd
  }

  /** All that are not taken yet; the caller owns and closes them. */
  takeAll(): number[] {
    return this.#fds.splice(0)
  }

  /** The first that is not taken yet, lent until `close`. */
  peek(at = 0): number {
    const fd = this.#fds[at]
    if (fd === undefined) throw new RangeError('no descriptor is left')
    return fd
  }

  /** Closes what was not taken. */
  close(): void {
    for (const fd of this.#fds.splice(0)) closeForeignFd(fd)
  }
}
