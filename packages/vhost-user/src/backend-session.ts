// One connection to a front-end, served for a device. Checks each message against its row, lets its method do the work, and
// answers in order. What the peer gets wrong is answered if it asked for an answer, and else ends the session: there is no
// other way to tell it. What the device cannot do is answered or reported, and the session goes on.

import { BackendState, ReplyWithFds } from './backend-requests.ts'
import { Connection, type Message } from './connection.ts'
import type { VhostUserDevice } from './device.ts'
import { VhostUserError } from './errors.ts'
import {
  type AnyRequestRow,
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  FLAG_VERSION,
  FRONTEND_REQUESTS,
  type FrontendRequest,
  frontendRequestName,
} from './messages.ts'
import { reasonWithheld } from './offered-features.ts'
import { u64Payload } from './payloads.ts'
import type { ReceivedFds } from './received-fds.ts'
import { closeFd } from './sys/libc.ts'
import { KeptConnection } from './takeover/kept-connection.ts'
import type { SavedState } from './takeover/saved-session.ts'
import type { SessionKeeper } from './takeover/session-keeper.ts'

export interface BackendSessionOptions {
  /** A connected Unix stream socket; the session owns it. */
  readonly fd: number
  readonly device: VhostUserDevice
  /** Something went wrong that the session survives, such as a broken ring. */
  readonly report: (error: VhostUserError) => void
  /** The session is over and has let go of everything; `error` if it did not end by the peer's leaving. */
  readonly ended: (error: VhostUserError | undefined) => void
  /** Keeps the session for the next process. */
  readonly keeper?: SessionKeeper | undefined
  /** The session is a predecessor's, which its keeper has taken over, and this is where it stands. */
  readonly saved?: SavedState | undefined
}

type Handler = (payload: unknown, fds: ReceivedFds) => unknown

const REPLY_FLAGS = FLAG_VERSION | FLAG_REPLY
const SUCCESS = u64Payload.encode(0n)
const FAILURE = u64Payload.encode(1n)

export class BackendSession {
  readonly #connection: Connection | KeptConnection
  readonly #state: BackendState
  readonly #keeper: SessionKeeper | undefined
  readonly #report: (error: VhostUserError) => void
  readonly #ended: (error: VhostUserError | undefined) => void
  #teardown: Promise<void> | undefined

  /** Throws TAKEOVER if a predecessor's session cannot be had again. */
  constructor({ fd, device, report, ended, keeper, saved }: BackendSessionOptions) {
    this.#report = report
    this.#ended = ended
    this.#keeper = keeper
    this.#state = new BackendState(device, report, keeper)
    this.#state.regions.onLost = error => {
      this.#teardown ??= this.#tearDown(error)
    }
    const message = (message: Message) => this.#receive(message)
    const over = (error: unknown) => {
      this.#teardown ??= this.#tearDown(error)
    }
    if (!keeper) {
      this.#connection = new Connection(fd, { readsWhileSending: false, message, ended: over })
      return
    }
    keeper.save = () => this.#state.save(keeper)
    const connection = new KeptConnection(fd, keeper, { message, ended: over })
    this.#connection = connection
    if (!saved) return
    try {
      const returned = this.#state.restore(saved, keeper.kept)
      keeper.tookOver(Promise.all([returned, connection.takeOver()]))
    } catch (cause) {
      over(new VhostUserError('TAKEOVER', 'the session of the last process cannot be had again', { cause }))
    }
  }

  /** Whether the front-end is gone, even if the session has not noticed yet or is still being taken down. */
  get peerClosed(): boolean {
    return this.#teardown !== undefined || this.#connection.peerClosed
  }

  /** The front-end is gone: nothing goes on waiting for it. */
  hangUp(): void {
    this.#state.cancelTransfers()
  }

  /** Lets the device finish what it has taken, then ends the session. Resolves when everything is released. */
  close(): Promise<void> {
    this.#teardown ??= this.#drain().then(error => this.#tearDown(error))
    return this.#teardown
  }

  /**
   * Lets the device finish what it has taken, then lets go of everything. The front-end does not notice: the session is in the
   * store for the next process. One that is not kept is closed.
   */
  leave(): Promise<void> {
    const keeper = this.#keeper
    if (!keeper || keeper.lost) return this.close()
    this.#teardown ??= this.#drain().then(error => this.#handOver(keeper, error))
    return this.#teardown
  }

  async #handOver(keeper: SessionKeeper, error: unknown): Promise<void> {
    this.#connection.leave()
    // Buffers that the device could not finish are on record: the successor takes them again.
    if (error !== undefined) return this.#report(asVhostUserError(error))
    await this.#state.leave()
    keeper.leave()
  }

  async #drain(): Promise<unknown> {
    // Whoever asks for the outcome of a transfer waits for the peer.
    this.#state.cancelTransfers()
    // A message half done must not go on while what it works on is taken down.
    await this.#connection.suspend()
    try {
      await this.#state.drainRings()
      return undefined
    } catch (error) {
      return error
    }
  }

  async #tearDown(cause: unknown): Promise<void> {
    this.#connection.close()
    let error = cause === undefined ? undefined : asVhostUserError(cause)
    await this.#keeper?.forget()
    try {
      await this.#state.close()
      this.#keeper?.leave()
    } catch (failure) {
      if (error) this.#report(asVhostUserError(failure))
      else error = asVhostUserError(failure)
    }
    this.#ended(error)
  }

  #receive({ request, flags, payload, fds }: Message): void | Promise<void> {
    const name = frontendRequestName(request)
    // Message Specification, Header: only answers carry the reply flag, and a back-end gets none on this socket.
    if ((flags & FLAG_REPLY) !== 0) {
      throw new VhostUserError('BAD_HEADER', `request ${name ?? request} comes as a reply`)
    }
    const needReply = (flags & FLAG_NEED_REPLY) !== 0
    try {
      if (!name) throw new VhostUserError('UNKNOWN_REQUEST', `request ${request} is not assigned`)
      const result = this.#perform(name, payload, fds)
      if (!(result instanceof Promise)) return this.#answer(name, needReply, result)
      return result.then(
        value => this.#answer(name, needReply, value),
        error => this.#refuse(name, request, needReply, error),
      )
    } catch (error) {
      this.#refuse(name, request, needReply, error)
    }
  }

  #perform(name: FrontendRequest, payload: DataView, fds: ReceivedFds): unknown {
    const row: AnyRequestRow = FRONTEND_REQUESTS[name]
    const handler = this.#state.handlers[name] as Handler | undefined
    if (!handler) {
      throw new VhostUserError(
        'UNSUPPORTED_REQUEST',
        `${name} is not supported: ${reasonWithheld(name, row.gate)}`,
      )
    }
    if (row.gate && !this.#state.isNegotiated(row.gate)) {
      throw new VhostUserError('NOT_NEGOTIATED', `${name} needs ${row.gate}, which was not negotiated`)
    }
    const value: unknown = decode(name, row, payload)
    const [min, max] = row.fds.count(value)
    if (fds.count < min || fds.count > max) {
      const need = min === max ? `${min}` : `${min} to ${max}`
      throw new VhostUserError('BAD_DESCRIPTORS', `${name}: needs ${need} descriptors, has ${fds.count}`)
    }
    return handler(value, fds)
  }

  #answer(name: FrontendRequest, needReply: boolean, value: unknown): void {
    if (value instanceof ReplyWithFds) {
      try {
        this.#send(name, needReply, value.value, value.fds)
      } finally {
        for (const fd of value.fds) closeFd(fd)
      }
    } else {
      this.#send(name, needReply, value, [])
    }
  }

  #send(name: FrontendRequest, needReply: boolean, value: unknown, fds: readonly number[]): void {
    if (this.#connection.closed) return
    const { id, reply }: AnyRequestRow = FRONTEND_REQUESTS[name]
    // REPLY_ACK: a request that is always answered gets that answer and no acknowledgement besides.
    if (reply) this.#connection.send(id, REPLY_FLAGS, reply.encode(value), fds)
    else if (needReply) this.#connection.send(id, REPLY_FLAGS, SUCCESS)
  }

  /** Answers with a failure where the front-end can tell one, or throws to end the session. */
  #refuse(name: FrontendRequest | undefined, request: number, needReply: boolean, cause: unknown): void {
    if (this.#connection.closed) return
    const error = asVhostUserError(cause)
    if (error.code === 'DEVICE_LOST') throw error
    const reply = name && FRONTEND_REQUESTS[name].reply
    if (needReply && !reply) {
      this.#connection.send(request, REPLY_FLAGS, FAILURE)
      this.#report(error)
      return
    }
    // A request from the future that wants no answer may be skipped; one that wants an answer cannot be given it.
    if (error.code === 'UNKNOWN_REQUEST' || (error.code === 'DEVICE' && !reply)) {
      this.#report(error)
      return
    }
    throw error
  }
}

function decode(name: FrontendRequest, row: AnyRequestRow, payload: DataView): unknown {
  try {
    return row.payload.decode(payload)
  } catch (error) {
    if (!(error instanceof VhostUserError)) throw error
    throw new VhostUserError(error.code, `${name}: ${error.message}`, { cause: error.cause ?? error })
  }
}

function asVhostUserError(error: unknown): VhostUserError {
  if (error instanceof VhostUserError) return error
  return new VhostUserError('DEVICE', 'the device or the session failed', { cause: error })
}
