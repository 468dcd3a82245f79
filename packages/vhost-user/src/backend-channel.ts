// The socket on which a back-end asks its front-end (SET_BACKEND_REQ_FD), as the back-end sees it. One request at a time
// waits for its answer; without REPLY_ACK there is none to wait for.

import { Connection, type Message } from './connection.ts'
import type { FrontendChannel } from './device.ts'
import { VhostUserError } from './errors.ts'
import { BACKEND_REQUESTS, FLAG_NEED_REPLY, FLAG_REPLY, FLAG_VERSION } from './messages.ts'
import { u64Payload } from './payloads.ts'
import { requireUnixSocket } from './sys/unix-socket.ts'

export interface BackendChannelOptions {
  /** REPLY_ACK was negotiated. */
  readonly needsReply: boolean
  /** A predecessor may have asked something whose answer is still to come. */
  readonly inherited: boolean
  readonly mayNotSend: () => boolean
  /** The front-end broke a rule on this socket, which is closed. */
  readonly failed: (error: VhostUserError) => void
}

interface Waiter {
  readonly request: number
  resolve(): void
  reject(error: unknown): void
}

const NOTHING = new Uint8Array(0)

export class BackendChannel implements FrontendChannel {
  readonly #connection: Connection
  readonly #options: BackendChannelOptions
  readonly #waiters: Waiter[] = []
  #turn: Promise<unknown> = Promise.resolve()

  /** Owns the socket from now on. Throws BAD_DESCRIPTORS if it is none, which stays the caller's. */
  constructor(fd: number, options: BackendChannelOptions) {
    requireUnixSocket(fd)
    this.#options = options
    this.#connection = new Connection(fd, {
      readsWhileSending: true,
      message: message => this.#receive(message),
      ended: error => {
        if (error instanceof VhostUserError) options.failed(error)
        this.#abandon()
      },
    })
  }

  configChanged(): Promise<void> {
    const { id } = BACKEND_REQUESTS.CONFIG_CHANGE_MSG
    const answer = this.#turn.then(() => this.#exchange(id, NOTHING))
    this.#turn = answer.catch(() => undefined)
    return answer
  }

  close(): void {
    this.#connection.close()
    this.#abandon()
  }

  #exchange(request: number, payload: Uint8Array): void | Promise<void> {
    if (this.#connection.closed) throw new VhostUserError('CLOSED', 'the channel to the front-end is closed')
    if (this.#options.mayNotSend()) return
    const { needsReply } = this.#options
    this.#connection.send(request, needsReply ? FLAG_VERSION | FLAG_NEED_REPLY : FLAG_VERSION, payload)
    if (!needsReply) return
    return new Promise((resolve, reject) => this.#waiters.push({ request, resolve, reject }))
  }

  #receive({ request, flags, payload }: Message): void {
    const waiter = this.#waiters.shift()
    if (!waiter && this.#options.inherited) return
    if (waiter?.request !== request || flags !== (FLAG_VERSION | FLAG_REPLY)) {
      if (waiter) this.#waiters.unshift(waiter)
      throw new VhostUserError('BAD_REPLY', `message ${request} on the back-end's channel is no answer`)
    }
    const result = u64Payload.decode(payload)
    if (result === 0n) waiter.resolve()
    else
      waiter.reject(new VhostUserError('REFUSED', `the front-end refused request ${request} with ${result}`))
  }

  #abandon(): void {
    const error = new VhostUserError('PEER_CLOSED', 'the channel to the front-end is closed')
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error)
  }
}
