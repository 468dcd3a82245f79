// The socket on which a back-end asks its front-end (SET_BACKEND_REQ_FD), as the back-end sees it. One request at a time
// waits for its answer; without REPLY_ACK there is none to wait for.
//
// The front-end may keep this very end of the socket, and hold it in a read of its own: so a thread reads, which can wait.

import { read } from 'node:fs'
import { readHeader } from './connection.ts'
import type { FrontendChannel } from './device.ts'
import { VhostUserError } from './errors.ts'
import { BACKEND_REQUESTS, FLAG_NEED_REPLY, FLAG_REPLY, FLAG_VERSION } from './messages.ts'
import { Header, u64Payload } from './payloads.ts'
import { FdPoll } from './sys/fd-poll.ts'
import { closeInThread } from './sys/foreign-fd.ts'
import { NativeBuffer } from './sys/libc.ts'
import { requireUnixStream, send } from './sys/unix-socket.ts'
import { callInTurn } from './sys/waiting-calls.ts'

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

const READABLE = { readable: true }
/** All that a front-end ever answers: a header and a number. */
const ANSWER_BYTES = Header.size + 8

export class BackendChannel implements FrontendChannel {
  readonly #fd: number
  readonly #poll: FdPoll
  readonly #options: BackendChannelOptions
  readonly #waiters: Waiter[] = []
  readonly #answer = Buffer.allocUnsafeSlow(ANSWER_BYTES)
  /** Bytes of the answer that are here. */
  #have = 0
  #reading = false
  #closed = false
  #turn: Promise<unknown> = Promise.resolve()

  /** Owns the socket from now on. Throws BAD_DESCRIPTORS if it is none, which stays the caller's. */
  constructor(fd: number, options: BackendChannelOptions) {
    requireUnixStream(fd)
    this.#fd = fd
    this.#options = options
    this.#poll = new FdPoll(fd, READABLE, {
      ready: () => this.#read(),
      failed: error => this.#end(error),
    })
  }

  configChanged(): Promise<void> {
    const { id } = BACKEND_REQUESTS.CONFIG_CHANGE_MSG
    const answer = this.#turn.then(() => this.#exchange(id))
    this.#turn = answer.catch(() => undefined)
    return answer
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#poll.close()
    if (!this.#reading) closeInThread(this.#fd)
    const error = new VhostUserError('PEER_CLOSED', 'the channel to the front-end is closed')
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error)
  }

  #exchange(request: number): void | Promise<void> {
    if (this.#closed) throw new VhostUserError('CLOSED', 'the channel to the front-end is closed')
    if (this.#options.mayNotSend()) return
    const { needsReply } = this.#options
    const message = new NativeBuffer(Header.size)
    const flags = needsReply ? FLAG_VERSION | FLAG_NEED_REPLY : FLAG_VERSION
    Header.encode({ request, flags, size: 0 }, message.view)
    this.#send(message)
    if (!needsReply) return
    return new Promise((resolve, reject) => this.#waiters.push({ request, resolve, reject }))
  }

  /** All of it: a front-end that has left so many requests unread that one does not fit is not worth waiting for. */
  #send(message: NativeBuffer): void {
    const size = message.bytes.length
    if (send(this.#fd, message, 0, size, []) === size) return
    const error = new VhostUserError('PEER_CLOSED', 'the front-end does not read its channel')
    this.#end(error)
    throw error
  }

  #end(error: unknown): void {
    if (this.#closed) return
    this.close()
    if (error instanceof VhostUserError) this.#options.failed(error)
  }

  #read(): void {
    this.#poll.pause()
    callInTurn(returned => {
      if (this.#closed) {
        returned()
        return
      }
      this.#reading = true
      read(this.#fd, this.#answer, this.#have, this.#missing, null, (error, count) => {
        returned()
        this.#reading = false
        if (this.#closed) closeInThread(this.#fd)
        else this.#came(error, count)
      })
    })
  }

  get #missing(): number {
    return (this.#have < Header.size ? Header.size : ANSWER_BYTES) - this.#have
  }

  #came(error: NodeJS.ErrnoException | null, count: number): void {
    const isOver = error === null ? count === 0 : error.code !== 'EAGAIN'
    if (isOver) {
      this.#end(undefined)
      return
    }
    this.#have += count
    try {
      if (this.#have === Header.size) this.#checkHeader()
      if (this.#have === ANSWER_BYTES) this.#answered()
      this.#poll.watch(READABLE)
    } catch (fault) {
      this.#end(fault)
    }
  }

  #checkHeader(): void {
    const { request, flags, size } = readHeader(this.#view)
    const [waiter] = this.#waiters
    const isAsked = waiter === undefined ? this.#options.inherited : waiter.request === request
    if (!isAsked || flags !== (FLAG_VERSION | FLAG_REPLY))
      throw new VhostUserError('BAD_REPLY', `message ${request} on the back-end's channel is no answer`)
    if (size !== ANSWER_BYTES - Header.size)
      throw new VhostUserError('BAD_PAYLOAD', `an answer of ${size} bytes to request ${request}`)
  }

  #answered(): void {
    this.#have = 0
    const result = u64Payload.decode(new DataView(this.#view.buffer, this.#view.byteOffset + Header.size))
    const waiter = this.#waiters.shift()
    if (result === 0n) waiter?.resolve()
    else
      waiter?.reject(
        new VhostUserError('REFUSED', `the front-end refused request ${waiter.request} with ${result}`),
      )
  }

  get #view(): DataView {
    const { buffer, byteOffset } = this.#answer
    return new DataView(buffer, byteOffset, ANSWER_BYTES)
  }
}
