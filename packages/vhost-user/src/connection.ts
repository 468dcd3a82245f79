// Messages over a Unix socket, for either role: cuts the byte stream into messages, collects the descriptors of each, and
// hands them over one at a time. While a handler is at work on a message nothing more is read: messages wait in the socket,
// and replies keep the order of the requests. A back-end does not read either while its replies are not read.

import type { Infer } from '@ovfs/cstruct'
import { VhostUserError } from './errors.ts'
import { flagsFault, MAX_PAYLOAD_SIZE } from './messages.ts'
import { Header } from './payloads.ts'
import { ReceivedFds } from './received-fds.ts'
import { FdPoll } from './sys/fd-poll.ts'
import { closeForeignFd, dismissSocket, requireKnown } from './sys/foreign-fd.ts'
import { closeFd, duplicateFd, NativeBuffer } from './sys/libc.ts'
import { MAX_RECEIVED_FDS, peerHasClosed, receive, send } from './sys/unix-socket.ts'

export interface Message {
  readonly request: number
  readonly flags: number
  /** Valid until the handler returns or first waits. */
  readonly payload: DataView
  /** Closed after the handler is done, except what it took. */
  readonly fds: ReceivedFds
}

export interface MessageHandlers {
  /** A rejection or an exception ends the connection. */
  message(message: Message): void | Promise<void>
  /** The connection has ended, by the peer (no error) or because of `error`. Not called after `close`. */
  ended(error: unknown): void
}

export interface ConnectionHandlers extends MessageHandlers {
  /**
   * Whether messages are read while what was sent is stuck. A back-end must not, or its replies pile up; a front-end must, or
   * the two wait for each other.
   */
  readonly readsWhileSending: boolean
}

/** The header of a message, checked as far as it can be without knowing the request. */
export function readHeader(view: DataView): Infer<typeof Header> {
  const header = Header.decode(view)
  const fault = flagsFault(header.flags)
  if (fault) throw new VhostUserError('BAD_HEADER', `request ${header.request}: ${fault}`)
  if (header.size > MAX_PAYLOAD_SIZE) {
    throw new VhostUserError(
      'BAD_HEADER',
      `request ${header.request}: ${header.size} bytes of payload are too many`,
    )
  }
  return header
}

/** Messages read in a row before others on the event loop get their turn. */
const READ_BURST = 32

interface Outgoing {
  readonly data: NativeBuffer
  offset: number
  /** Duplicates, closed once sent. */
  fds: readonly number[]
}

export class Connection {
  readonly #fd: number
  readonly #handlers: ConnectionHandlers
  readonly #poll: FdPoll
  readonly #header = new NativeBuffer(Header.size)
  readonly #payload = new NativeBuffer(MAX_PAYLOAD_SIZE)
  readonly #outgoing: Outgoing[] = []
  /** Bytes of the current message that are here, header included. */
  #have = 0
  #fds: number[] = []
  /** Settles when the handler at work is done; never rejects. */
  #handling: Promise<void> | undefined
  #suspended = false
  #closed = false

  /** Owns the socket from now on. */
  constructor(fd: number, handlers: ConnectionHandlers) {
    this.#fd = fd
    this.#handlers = handlers
    this.#poll = new FdPoll(
      fd,
      { readable: true },
      {
        ready: (readable, writable) => {
          if (writable && this.#outgoing.length > 0) this.#flush()
          if (readable && !this.#mustWait) this.#read()
        },
        failed: error => this.#end(error),
      },
    )
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Whether the peer has closed the socket, even if messages of it are still to be read. */
  get peerClosed(): boolean {
    return this.#closed || peerHasClosed(this.#fd)
  }

  /** Sends a message, or queues it if the peer is slow. The descriptors are lent. To a peer that is gone nothing is sent. */
  send(request: number, flags: number, payload: Uint8Array, fds: readonly number[] = []): void {
    const data = new NativeBuffer(Header.size + payload.byteLength)
    Header.encode({ request, flags, size: payload.byteLength }, data.view)
    data.bytes.set(payload, Header.size)
    this.sendBytes(data, fds)
  }

  /** Sends any bytes at all, whether or not they are a message. */
  sendBytes(data: NativeBuffer, fds: readonly number[]): void {
    if (this.#closed) throw new VhostUserError('CLOSED', 'the connection is closed')
    const outgoing: Outgoing = { data, offset: 0, fds }
    if (this.#outgoing.length === 0 && this.#transmit(outgoing)) return
    outgoing.fds = outgoing.fds.map(duplicateFd)
    this.#outgoing.push(outgoing)
    this.#updateInterest()
  }

  /** Reads no more messages from now on. Resolves when the handler at work is done. */
  async suspend(): Promise<void> {
    this.#suspended = true
    this.#updateInterest()
    await this.#handling
  }

  /** The same as `close`: nobody else has this socket. */
  leave(): void {
    this.close()
  }

  /** Closes the socket and everything that was received and not taken. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#poll.close()
    dismissSocket(this.#fd)
    for (const fd of this.#fds.splice(0)) closeForeignFd(fd)
    for (const { fds } of this.#outgoing.splice(0)) for (const fd of fds) closeFd(fd)
  }

  get #mustWait(): boolean {
    const stuck = this.#outgoing.length > 0 && !this.#handlers.readsWhileSending
    return this.#closed || this.#suspended || this.#handling !== undefined || stuck
  }

  #end(error: unknown): void {
    if (this.#closed) return
    this.close()
    this.#handlers.ended(error)
  }

  /** True once everything is sent, or can never be. */
  #transmit(outgoing: Outgoing): boolean {
    const { data } = outgoing
    while (outgoing.offset < data.bytes.length) {
      let sent: number | undefined
      try {
        const fds = outgoing.offset === 0 ? outgoing.fds : []
        sent = send(this.#fd, data, outgoing.offset, data.bytes.length - outgoing.offset, fds)
      } catch (error) {
        // The peer is gone; reading will come to the end of the stream and say so.
        if (error instanceof VhostUserError && (error.errno === 'EPIPE' || error.errno === 'ECONNRESET')) {
          return true
        }
        throw error
      }
      if (sent === undefined) return false
      outgoing.offset += sent
    }
    return true
  }

  #flush(): void {
    for (;;) {
      const next = this.#outgoing[0]
      if (!next) break
      if (!this.#transmit(next)) return
      this.#outgoing.shift()
      for (const fd of next.fds) closeFd(fd)
    }
    this.#updateInterest()
  }

  #updateInterest(): void {
    if (this.#closed) return
    const interest = { readable: !this.#mustWait, writable: this.#outgoing.length > 0 }
    if (interest.readable || interest.writable) this.#poll.watch(interest)
    else this.#poll.pause()
  }

  #read(): void {
    for (let i = 0; i < READ_BURST && !this.#mustWait; i++) {
      if (!this.#readMessage()) return
    }
  }

  /** Reads on until the current message is complete and handed over; false if more bytes have to come first. */
  #readMessage(): boolean {
    // Exactly the header first: a longer read could run into the next message and mix its descriptors with these.
    if (!this.#fill(this.#header, 0, Header.size)) return false
    const { request, flags, size } = readHeader(this.#header.view)
    if (!this.#fill(this.#payload, Header.size, size)) return false
    for (const fd of this.#fds) requireKnown(fd)
    const fds = new ReceivedFds(this.#fds)
    this.#fds = []
    this.#have = 0
    const payload = new DataView(this.#payload.bytes.buffer, this.#payload.bytes.byteOffset, size)
    this.#handOver({ request, flags, payload, fds })
    return true
  }

  /** Fills `size` bytes of the buffer, which holds the message from byte `start` on. */
  #fill(buffer: NativeBuffer, start: number, size: number): boolean {
    while (this.#have < start + size) {
      const at = this.#have - start
      const count = receive(this.#fd, buffer, at, size - at, this.#fds)
      if (count === undefined) return false
      if (count === 0) {
        const inside = this.#have > 0
        this.#end(inside ? new VhostUserError('PEER_CLOSED', 'the peer left inside a message') : undefined)
        return false
      }
      this.#have += count
      // One receive is limited already; a message that trickles in must not get past the limit either.
      if (this.#fds.length > MAX_RECEIVED_FDS) {
        throw new VhostUserError('BAD_DESCRIPTORS', 'a message came with more descriptors than can be taken')
      }
    }
    return true
  }

  #handOver(message: Message): void {
    let done: void | Promise<void>
    try {
      done = this.#handlers.message(message)
    } catch (error) {
      message.fds.close()
      throw error
    }
    if (!done) {
      message.fds.close()
      return
    }
    this.#handling = done.then(
      () => {
        message.fds.close()
        this.#handling = undefined
        this.#updateInterest()
      },
      error => {
        message.fds.close()
        this.#handling = undefined
        this.#end(error)
      },
    )
    this.#updateInterest()
  }
}
