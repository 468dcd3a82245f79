// The control socket of a session that a successor can go on with. It does what Connection does, one step more carefully: a
// message stays in the socket until what it changed is on record, so that no message is lost or carried out for nothing, and no
// answer is missing or sent twice, whenever this process dies.
//
// One gap is left: sendfile takes no descriptors. A process that dies just after the one answer that carries some, that to
// GET_INFLIGHT_FD, has a successor that sends it again.

import { type Message, type MessageHandlers, readHeader } from '../connection.ts'
import { VhostUserError } from '../errors.ts'
import { type AnyRequestRow, FRONTEND_REQUESTS, frontendRequestName, MAX_PAYLOAD_SIZE } from '../messages.ts'
import { Header } from '../payloads.ts'
import { ReceivedFds } from '../received-fds.ts'
import { FdPoll } from '../sys/fd-poll.ts'
import { closeForeignFd, endConnection, requireKnown } from '../sys/foreign-fd.ts'
import { closeFd, duplicateFd, NativeBuffer } from '../sys/libc.ts'
import {
  limitUnread,
  peekPosition,
  sendFromFile,
  sendPosition,
  setPeekPosition,
  setSendPosition,
} from '../sys/stream-position.ts'
import { peek, peerHasClosed, receive, send } from '../sys/unix-socket.ts'
import type { SessionKeeper } from './session-keeper.ts'
import { MAX_UNREAD } from './session-record.ts'

/** Milliseconds until the rest of a message is looked for: a socket with half of one is readable all the time. */
const REST_DELAY = 5

const NOTHING = new Uint8Array(0)

export class KeptConnection {
  readonly #fd: number
  readonly #keeper: SessionKeeper
  readonly #handlers: MessageHandlers
  readonly #poll: FdPoll
  readonly #message = new NativeBuffer(Header.size + MAX_PAYLOAD_SIZE)
  #answer: Uint8Array = NOTHING
  /** Duplicates, closed once the answer is sent. */
  #answerFds: number[] = []
  /** An answer waits until the peer reads. */
  #stuck = false
  /** Settles when the message at work is done; never rejects. */
  #handling: Promise<void> | undefined
  #rest: NodeJS.Timeout | undefined
  #suspended = false
  #closed = false
  #committed: (() => void) | undefined

  /** Owns the socket from now on. Reads nothing before the session has begun to be kept. */
  constructor(fd: number, keeper: SessionKeeper, handlers: MessageHandlers) {
    this.#fd = fd
    this.#keeper = keeper
    this.#handlers = handlers
    limitUnread(fd, MAX_UNREAD)
    this.#poll = new FdPoll(
      fd,
      { readable: true },
      {
        ready: (readable, writable) => {
          if (writable && this.#stuck) this.#sendRest()
          if (readable && !this.#mustWait) this.#read()
        },
        failed: error => this.#end(error),
      },
    )
    this.#during(keeper.begin(fd))
  }

  get closed(): boolean {
    return this.#closed
  }

  get peerClosed(): boolean {
    return this.#closed || peerHasClosed(this.#fd)
  }

  /**
   * Finishes what a predecessor had put on record and not come to. To be called first. Resolves when the message is dealt with that
   * is in the socket, if there is one.
   */
  takeOver(): Promise<void> {
    if (this.#keeper.record.unfinished) {
      this.#discard(peekPosition(this.#fd))
      this.#sendRest()
    }
    // Where the predecessor's last peek ended is not where a message begins.
    setPeekPosition(this.#fd, 0)
    if (peek(this.#fd, this.#message, 0, 1) === undefined) return Promise.resolve()
    return new Promise(resolve => {
      this.#committed = resolve
    })
  }

  /** The answer to the message at work, sent once what the message did is on record. The descriptors are lent. */
  send(request: number, flags: number, payload: Uint8Array, fds: readonly number[] = []): void {
    if (this.#closed) throw new VhostUserError('CLOSED', 'the connection is closed')
    const data = new NativeBuffer(Header.size + payload.byteLength)
    Header.encode({ request, flags, size: payload.byteLength }, data.view)
    data.bytes.set(payload, Header.size)
    this.#answer = data.bytes
    this.#answerFds = fds.map(duplicateFd)
  }

  /** Reads no more messages from now on. Resolves when the handler at work is done. */
  async suspend(): Promise<void> {
    this.#suspended = true
    this.#updateInterest()
    await this.#handling
  }

  /** Ends the connection, for everybody who still has the socket. */
  close(): void {
    if (this.#closed) return
    endConnection(this.#fd)
    this.leave()
  }

  /** Lets go of the socket, which stays connected in the store. */
  leave(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#rest)
    this.#poll.close()
    closeFd(this.#fd)
    for (const fd of this.#answerFds.splice(0)) closeFd(fd)
  }

  get #mustWait(): boolean {
    return this.#closed || this.#suspended || this.#handling !== undefined || this.#stuck
  }

  #end(error: unknown): void {
    if (this.#closed) return
    this.close()
    this.#handlers.ended(error)
  }

  #updateInterest(): void {
    if (this.#closed) return
    const interest = { readable: !this.#mustWait && !this.#rest, writable: this.#stuck }
    if (interest.readable || interest.writable) this.#poll.watch(interest)
    else this.#poll.pause()
  }

  /** Nothing is read until the work is done; its failure ends the connection. */
  #during(work: Promise<void>): void {
    this.#handling = work.then(
      () => {
        this.#handling = undefined
        this.#updateInterest()
      },
      error => {
        this.#handling = undefined
        this.#end(error)
      },
    )
    this.#updateInterest()
  }

  /** Looks at the next message. If it is all there, carries it out. */
  #read(): void {
    setPeekPosition(this.#fd, 0)
    const have = this.#peek(0, Header.size)
    if (have === undefined) return
    const size = have < Header.size ? 0 : readHeader(this.#message.view).size
    const total = Header.size + size
    if (have < Header.size || this.#peek(have, total) !== total) {
      if (!this.#closed) this.#awaitRest()
      return
    }
    const header = readHeader(this.#message.view)
    const { buffer, byteOffset } = this.#message.bytes
    const payload = new DataView(buffer, byteOffset + Header.size, size)
    const fds = new ReceivedFds(this.#peekFds(mayBring(header.request, payload)))
    this.#during(this.#carryOut({ ...header, payload, fds }, total).finally(() => fds.close()))
  }

  /** Peeks from byte `at` of the message to `end`; how far it came, undefined if there is nothing at all or the stream has ended. */
  #peek(at: number, end: number): number | undefined {
    let have = at
    while (have < end) {
      const count = peek(this.#fd, this.#message, have, end - have)
      if (count === 0) {
        const inside = have > 0
        this.#end(inside ? new VhostUserError('PEER_CLOSED', 'the peer left inside a message') : undefined)
        return undefined
      }
      if (count === undefined) return have === 0 ? undefined : have
      have += count
    }
    return have
  }

  /**
   * The descriptors of a message that has some: they come with its first byte (Message Specification). Linux would give those
   * of a later message if this one had none. Ones that do not belong to a message are closed with it, and never made here.
   */
  #peekFds(expected: boolean): number[] {
    const fds: number[] = []
    if (!expected) return fds
    setPeekPosition(this.#fd, 0)
    try {
      peek(this.#fd, this.#message, 0, 1, fds)
      for (const fd of fds) requireKnown(fd)
    } catch (error) {
      for (const fd of fds) closeForeignFd(fd)
      throw error
    }
    return fds
  }

  #awaitRest(): void {
    this.#rest = setTimeout(() => {
      this.#rest = undefined
      this.#updateInterest()
    }, REST_DELAY)
    this.#updateInterest()
  }

  async #carryOut(message: Message, total: number): Promise<void> {
    // Before anything is done with them: the record may only speak of descriptors that are stored.
    await this.#keeper.keepReceived(message.fds.all, message.request)
    if (this.#closed) return
    await this.#handlers.message(message)
    if (this.#answerFds.length > 0) await this.#sendWithFds()
    if (this.#closed) return
    this.#commit(total)
    await this.#keeper.removeUnrecorded()
  }

  #commit(total: number): void {
    const { record, recordFd } = this.#keeper
    const { answerAt } = this.#keeper.prepare(total, this.#answer)
    this.#answer = NOTHING
    setPeekPosition(this.#fd, total)
    setSendPosition(recordFd, answerAt)
    record.enforce()
    this.#discard(total)
    this.#sendRest()
    this.#committed?.()
  }

  #discard(length: number): void {
    const fds: number[] = []
    try {
      for (let left = length; left > 0; ) left -= receive(this.#fd, this.#message, 0, left, fds) || left
    } finally {
      for (const fd of fds) closeForeignFd(fd)
    }
  }

  /** Sends what is left of the answer; what does not fit, when the peer has read. */
  #sendRest(): void {
    const { record, recordFd } = this.#keeper
    const { answerAt, answer } = record.unfinished!
    const end = answerAt + answer
    try {
      for (let at = sendPosition(recordFd); at < end; at = sendPosition(recordFd)) {
        const sent = sendFromFile(this.#fd, recordFd, end - at)
        if (sent === 0) throw new VhostUserError('TAKEOVER', `the record of a session ends before its answer`)
        this.#stuck = sent === undefined
        if (this.#stuck) break
      }
    } catch (error) {
      if (!isGone(error)) throw error
      this.#stuck = false
    }
    if (!this.#stuck) record.finish()
    this.#updateInterest()
  }

  /** The whole answer, at once: before anything is on record, so that the message is carried out again if this fails. */
  async #sendWithFds(): Promise<void> {
    const data = new NativeBuffer(this.#answer.byteLength)
    data.bytes.set(this.#answer)
    try {
      for (let at = 0; at < data.bytes.length && !this.#closed; ) {
        const fds = at === 0 ? this.#answerFds : []
        const sent = send(this.#fd, data, at, data.bytes.length - at, fds)
        if (sent === undefined) await new Promise(resolve => setTimeout(resolve, REST_DELAY))
        else at += sent
      }
    } catch (error) {
      if (!isGone(error)) throw error
    }
    this.#answer = NOTHING
    for (const fd of this.#answerFds.splice(0)) closeFd(fd)
  }
}

/** The peer has left: reading will come to the end of the stream and say so. */
function isGone(error: unknown): boolean {
  return error instanceof VhostUserError && (error.errno === 'EPIPE' || error.errno === 'ECONNRESET')
}

function mayBring(request: number, payload: DataView): boolean {
  const name = frontendRequestName(request)
  if (!name) return false
  const row: AnyRequestRow = FRONTEND_REQUESTS[name]
  try {
    return row.fds.count(row.payload.decode(payload))[1] > 0
  } catch {
    // What is wrong with the payload is said by whoever carries the message out.
    return false
  }
}
