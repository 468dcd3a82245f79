// Requests and their answers, as a front-end exchanges them on the main socket: one request at a time, each answer checked
// against the request's row.

import { Connection, type Message } from './connection.ts'
import { VhostUserError } from './errors.ts'
import {
  type AnyRequestRow,
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  FLAG_VERSION,
  FRONTEND_REQUESTS,
  type FrontendRequest,
  type Gate,
} from './messages.ts'
import { u64Payload } from './payloads.ts'
import type { NativeBuffer } from './sys/libc.ts'

/** A message of the back-end, undecoded. */
export interface RawReply {
  readonly request: number
  readonly flags: number
  readonly payload: Uint8Array
  /** How many descriptors came with it. They are closed, except for a request that asks to keep them. */
  readonly fdCount: number
}

export interface ExchangeOptions {
  readonly isNegotiated: (gate: Gate) => boolean
  /** The connection is over; called once. */
  readonly ended: () => void
}

const REPLY_FLAGS = FLAG_VERSION | FLAG_REPLY

interface Waiter {
  /** Takes the descriptors that come with the reply over. */
  readonly keep: ((fds: number[]) => void) | undefined
  resolve(reply: RawReply): void
  reject(error: unknown): void
}

export class RequestExchange {
  readonly #connection: Connection
  readonly #options: ExchangeOptions
  readonly #waiters: Waiter[] = []
  /** The request before; requests take turns. */
  #turn: Promise<unknown> = Promise.resolve()
  #ended: { readonly error: unknown } | undefined

  /** Owns the connected socket from now on. */
  constructor(fd: number, options: ExchangeOptions) {
    this.#options = options
    this.#connection = new Connection(fd, {
      readsWhileSending: true,
      message: message => this.#receive(message),
      ended: error =>
        this.end(error ?? new VhostUserError('PEER_CLOSED', 'the back-end closed the connection')),
    })
  }

  /** Why the connection is over; `undefined` while it is not. */
  get endedBy(): unknown {
    return this.#ended?.error
  }

  /** Resolves to the reply, to nothing where there is only an acknowledgement. `keep` gets the reply's descriptors. */
  request(
    name: FrontendRequest,
    payload: unknown,
    fds: readonly number[] = [],
    keep?: Waiter['keep'],
  ): Promise<unknown> {
    const answer = this.#turn.then(() => this.#exchange(name, FRONTEND_REQUESTS[name], payload, fds, keep))
    this.#turn = answer.catch(() => undefined)
    return answer
  }

  /** The next message of the back-end that no request waits for. */
  reply(keep?: Waiter['keep']): Promise<RawReply> {
    if (this.#ended) return Promise.reject(this.#ended.error)
    return new Promise((resolve, reject) => this.#waiters.push({ keep, resolve, reject }))
  }

  send(request: number, flags: number, payload: Uint8Array, fds: readonly number[]): void {
    this.#requireOpen()
    this.#connection.send(request, flags, payload, fds)
  }

  sendBytes(data: NativeBuffer, fds: readonly number[]): void {
    this.#requireOpen()
    this.#connection.sendBytes(data, fds)
  }

  /** Closes the socket; whoever waits for an answer gets the error. */
  end(error: unknown): void {
    if (this.#ended) return
    this.#ended = { error }
    this.#connection.close()
    this.#options.ended()
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error)
  }

  async #exchange(
    name: FrontendRequest,
    row: AnyRequestRow,
    payload: unknown,
    fds: readonly number[],
    keep: Waiter['keep'],
  ): Promise<unknown> {
    this.#requireOpen()
    if (row.gate && !this.#options.isNegotiated(row.gate)) {
      throw new VhostUserError('NOT_NEGOTIATED', `${name} needs ${row.gate}, which was not negotiated`)
    }
    const wantsAck = row.reply === undefined && this.#options.isNegotiated('REPLY_ACK')
    const flags = FLAG_VERSION | (wantsAck ? FLAG_NEED_REPLY : 0)
    this.#connection.send(row.id, flags, row.payload.encode(payload), fds)
    if (row.reply) return this.#decode(name, row, row.reply.decode, await this.reply(keep))
    if (!wantsAck) return undefined
    const result = this.#decode(name, row, u64Payload.decode, await this.reply())
    if (result !== 0n) throw new VhostUserError('REFUSED', `the back-end refused ${name} with ${result}`)
    return undefined
  }

  #decode<T>(name: FrontendRequest, row: AnyRequestRow, decode: (view: DataView) => T, reply: RawReply): T {
    if (reply.request !== row.id || reply.flags !== REPLY_FLAGS) {
      const got = `request ${reply.request} with flags 0x${reply.flags.toString(16)}`
      throw new VhostUserError('BAD_REPLY', `${name} was answered with ${got}`)
    }
    const [min, max] = row.replyFds.count(undefined)
    if (reply.fdCount < min || reply.fdCount > max) {
      throw new VhostUserError('BAD_REPLY', `${name} was answered with ${reply.fdCount} descriptors`)
    }
    try {
      return decode(new DataView(reply.payload.buffer, reply.payload.byteOffset, reply.payload.byteLength))
    } catch (cause) {
      throw new VhostUserError('BAD_REPLY', `the answer to ${name} makes no sense`, { cause })
    }
  }

  #receive({ request, flags, payload, fds }: Message): void {
    const waiter = this.#waiters.shift()
    if (!waiter) {
      throw new VhostUserError('BAD_REPLY', `the back-end sent message ${request} without being asked`)
    }
    const bytes = new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength).slice()
    const fdCount = fds.count
    waiter.keep?.(fds.takeAll())
    waiter.resolve({ request, flags, payload: bytes, fdCount })
  }

  #requireOpen(): void {
    if (this.#ended) throw this.#ended.error
  }
}
