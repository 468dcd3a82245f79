// The other side of ServiceManager: what a supervisor needs to keep a service's descriptors over its restarts (sd_notify(3)).
// For tests, and for programs that supervise without systemd.

import { unlinkSync } from 'node:fs'
import { bindDatagrams } from '../sys/datagram-socket.ts'
import { FdPoll } from '../sys/fd-poll.ts'
import { closeFd, NativeBuffer } from '../sys/libc.ts'
import { openFileIdentity } from '../sys/open-file.ts'
import { receive } from '../sys/unix-socket.ts'

const MAX_MESSAGE_SIZE = 4096

export interface NotifySocketOptions {
  /** An absolute path, or `@` and a name in the abstract namespace. */
  readonly address: string
  /** FileDescriptorStoreMax=: how many descriptors there is room for. */
  readonly limit: number
  /** An assignment that is not about descriptors, such as READY=1. */
  readonly onState?: (assignment: string) => void
  /** The service sent something that makes no sense, or more than there is room for. */
  readonly onError: (error: unknown) => void
}

interface Stored {
  readonly name: string
  readonly fd: number
  readonly identity: string | undefined
}

export class NotifySocket {
  readonly #options: NotifySocketOptions
  readonly #fd: number
  readonly #poll: FdPoll
  readonly #data = new NativeBuffer(MAX_MESSAGE_SIZE)
  #stored: Stored[] = []

  constructor(options: NotifySocketOptions) {
    this.#options = options
    this.#fd = bindDatagrams(options.address)
    this.#poll = new FdPoll(
      this.#fd,
      { readable: true },
      { ready: () => this.#receive(), failed: error => options.onError(error) },
    )
  }

  /** What is stored, in order: lent, for the next process to be started with. */
  get stored(): readonly { readonly name: string; readonly fd: number }[] {
    return this.#stored
  }

  /** Takes everything that has been sent so far, also by a process that is no more. */
  catchUp(): void {
    this.#receive()
  }

  /** Closes everything that is stored: the service has been stopped for good. */
  drop(): void {
    for (const { fd } of this.#stored.splice(0)) closeFd(fd)
  }

  close(): void {
    this.drop()
    this.#poll.close()
    closeFd(this.#fd)
    if (!this.#options.address.startsWith('@')) unlinkSync(this.#options.address)
  }

  #receive(): void {
    for (;;) {
      const fds: number[] = []
      try {
        const length = receive(this.#fd, this.#data, 0, MAX_MESSAGE_SIZE, fds)
        if (length === undefined) return
        this.#take(this.#data.bytes.toString('utf8', 0, length).split('\n'), fds)
      } finally {
        for (const fd of fds) closeFd(fd)
      }
    }
  }

  /** @param fds those that stay in it are closed, which is also all that BARRIER=1 asks for */
  #take(lines: readonly string[], fds: number[]): void {
    const assignments = new Map(
      lines.map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    )
    const name = assignments.get('FDNAME') ?? 'stored'
    if (assignments.get('FDSTORE') === '1') {
      // A descriptor that is polled is dropped when its peer hangs up; that is not done here.
      if (assignments.get('FDPOLL') !== '0') this.#options.onError(new Error(`${name} is to be polled`))
      for (const fd of fds.splice(0)) this.#store(name, fd)
    } else if (assignments.get('FDSTOREREMOVE') === '1') {
      for (const stored of this.#stored) if (stored.name === name) closeFd(stored.fd)
      this.#stored = this.#stored.filter(stored => stored.name !== name)
    } else if (!assignments.has('BARRIER')) {
      for (const line of lines) this.#options.onState?.(line)
    }
  }

  #store(name: string, fd: number): void {
    const identity = openFileIdentity(fd)
    const known = identity !== undefined && this.#stored.some(stored => stored.identity === identity)
    const full = this.#stored.length >= this.#options.limit
    // sd_notify(3): up to 255 printable ASCII characters, and the colon separates names in LISTEN_FDNAMES.
    const fault = !/^[\x20-\x39\x3b-\x7e]{1,255}$/.test(name)
      ? `${JSON.stringify(name)} is not a name`
      : full && !known && `no room for ${name}`
    if (fault) this.#options.onError(new Error(fault))
    if (fault || known) closeFd(fd)
    else this.#stored.push({ name, fd, identity })
  }
}
