// Serves one guest: takes requests from any queue in any order, holds the session, and dispatches each request to the
// handler through the operations table. What the handler answers at once is answered in the same call of `handle`; what it
// answers by a promise is answered when that settles, so nothing slow delays anything fast.
//
// The guest is not trusted: a request that lies about its lengths, names, ids or order is answered with an errno, reported,
// and harms nothing but itself.

import { FUSE_INIT_BSWAP_RESERVED, FUSE_KERNEL_VERSION, InitFlags, Opcode, PATH_MAX } from './constants.ts'
import { Errno, FsError } from './errno.ts'
import type { FuseHandler, NodeId } from './handler.ts'
import { decodeInit, negotiate, requireVersion, versionOnly } from './init.ts'
import { KeptSession } from './kept-session.ts'
import { OPERATION_BY_OPCODE, opcodeName } from './operations.ts'
import { type Plan, planFor } from './plan.ts'
import { FuseProtocolError } from './protocol-error.ts'
import { Request } from './request.ts'
import { type FuseMessage, NO_SESSION, RequestWorkspace, type Session } from './request-workspace.ts'
import type { SessionLog } from './session-log.ts'
import { decodeSession, encodeSession } from './session-state.ts'
import { gather, scatter } from './spans.ts'
import { InHeader, type InitIn, type InitOut, OutHeader } from './structs.ts'
import { formatMessage } from './trace.ts'

export interface FuseErrorReport {
  /** Name of the operation, such as `READ`. */
  readonly operation: string
  readonly node: number
  readonly name: string | undefined
  /** FuseProtocolError if the request is at fault, anything else if the handler is; never an FsError. */
  readonly error: unknown
}

export interface FuseServerOptions {
  /** Told of every failure whose cause the guest does not learn. Must not throw. */
  onError?: (report: FuseErrorReport) => void
  /** Given a line for each message; `now` is a clock in milliseconds. Costs more than most answers do. */
  trace?: { now(): number; line(text: string): void }
  /** Where the session is written down as it goes, so that the server of another process can `resume` it. */
  log?: SessionLog | undefined
}

const POOLED_REQUESTS = 1024
const TRACED_BYTES = InHeader.size + 2 * PATH_MAX

export class FuseServer {
  readonly #handler: FuseHandler
  readonly #options: FuseServerOptions
  readonly #plans: readonly (Plan | undefined)[]
  readonly #workspace = new RequestWorkspace()
  readonly #idle: Request[] = []
  /** Requests whose handler has not settled yet. */
  readonly #pending = new Set<Request>()
  readonly #kept: KeptSession | undefined
  #session: Session = NO_SESSION
  #negotiated: InitOut | undefined
  /** The end of an earlier session that is not over yet. */
  #ending: Promise<void> | undefined

  constructor(handler: FuseHandler, options: FuseServerOptions = {}) {
    this.#handler = handler
    this.#options = options
    this.#kept = options.log && new KeptSession(options.log)
    this.#plans = OPERATION_BY_OPCODE.map(row => row && planFor(row, handler))
  }

  /** What INIT agreed; undefined while there is no session. */
  get negotiated(): Readonly<InitOut> | undefined {
    return this.#negotiated
  }

  /** There is a session, and another process could go on with it. */
  get isKept(): boolean {
    return this.#negotiated !== undefined && this.#options.log?.isKept === true
  }

  /** Requests that wait for their handler. */
  get pendingCount(): number {
    return this.#pending.size
  }

  /** Takes a request. Its `complete` is called before this returns, or later if the handler answers by a promise. */
  handle(message: FuseMessage): void {
    const request = this.#idle.pop() ?? new Request(this.#workspace)
    let written = 0
    if (request.begin(message)) {
      if (this.#options.trace) this.#startTrace(request)
      const plan = this.#plans[request.opcode]
      if (this.#kept?.hasEarlier && this.#answerAgain(request, message)) return
      try {
        const result = this.#dispatch(plan, request)
        if (result instanceof Promise) {
          this.#await(plan as Plan, request, result)
          return
        }
        written = this.#answer(plan as Plan, request, result)
      } catch (error) {
        written = this.#fail(plan, request, error)
      }
      if (plan?.once === true) this.#keep(request, written)
      if (this.#options.trace) this.#endTrace(request, written)
    } else {
      // Without a header there is no `unique` to answer.
      request.opcode = 0
      request.node = 0 as NodeId
      this.#report(request, noHeader(message.readable.byteLength))
    }
    this.#recycle(request)
    message.complete(written)
  }

  /** The session as bytes, for `restore` of a server elsewhere. No request may be in flight. Throws BAD_STATE or what the handler throws. */
  async save(): Promise<Uint8Array> {
    const negotiated = this.#negotiated
    if (negotiated === undefined) return encodeSession({ negotiated, handler: new Uint8Array(0) })
    if (this.#handler.save === undefined) throw notMovable()
    return encodeSession({ negotiated, handler: await this.#handler.save() })
  }

  /** Goes on with a session that was saved elsewhere; ends the one that is here. Throws BAD_STATE or what the handler throws. */
  async restore(state: Uint8Array): Promise<void> {
    const { negotiated, handler } = decodeSession(state)
    for (let ending = this.#endSession(); ending; ending = this.#endSession()) await ending
    if (negotiated === undefined) return
    if (this.#handler.restore === undefined) throw notMovable()
    await this.#handler.restore(handler)
    this.#agree(negotiated)
  }

  /**
   * Goes on with the session that the log tells of, to be called before the first message. False if there is none: then the
   * handler has ended it. Rejects if the log makes no sense, or with what the handler fails with: the log is as it was.
   */
  async resume(): Promise<boolean> {
    const negotiated = this.#kept?.resume()
    await this.#handler.resume?.()
    if (negotiated === undefined) {
      try {
        await this.#handler.destroy?.()
      } catch (error) {
        this.#options.onError?.({ operation: 'DESTROY', node: 0, name: undefined, error })
      }
      this.#kept?.begin(undefined)
      return false
    }
    this.#agree(negotiated)
    return true
  }

  /** As `end`, but the session is another process's to `resume`. */
  leave(): void {
    for (const request of this.#pending) request.detach()
    this.#pending.clear()
    this.#session = NO_SESSION
  }

  /**
   * The connection is gone, and guest memory with it: no message taken before is touched or completed any more. Resolves,
   * never rejects, when the handler has ended the session.
   */
  end(): Promise<void> {
    for (const request of this.#pending) request.detach()
    this.#pending.clear()
    return this.#endSession() ?? Promise.resolve()
  }

  /** Checks the request and calls the handler. */
  #dispatch(plan: Plan | undefined, request: Request): unknown {
    const session = this.#session
    request.session = session
    if (plan === undefined) {
      if (request.opcode === FUSE_INIT_BSWAP_RESERVED) throw swappedOrder()
      throw new FsError(session === NO_SESSION ? 'EIO' : 'ENOSYS', `opcode ${request.opcode}`)
    }
    const { silent, opcode, call } = plan
    if (!silent && request.replyRoom < 0) return undefined
    if (opcode === Opcode.INIT) return this.#init(request, plan)
    if (session === NO_SESSION) {
      if (silent) return undefined
      throw noSession()
    }
    // Before the handler is called: what it does (count a lookup, open a handle) could not be told to the guest.
    if (!silent && request.replyRoom < plan.replySize) throw noRoom(plan, request.replyRoom)
    request.admit(plan.struct, plan.requestSize, plan.whole, plan.limit)
    if (opcode === Opcode.DESTROY) return this.#endSession()
    if (call !== undefined) return call(this.#handler, request)
    if (typeof plan.missing === 'string') throw new FsError(plan.missing)
    return plan.missing.value
  }

  /** Writes the answer of a handler that succeeded; returns its length. */
  #answer(plan: Plan, request: Request, result: unknown): number {
    return plan.silent || request.replyRoom < 0 ? 0 : plan.answer!(request, result)
  }

  #await(plan: Plan, request: Request, result: Promise<unknown>): void {
    this.#pending.add(request)
    result.then(
      value => this.#settle(plan, request, value, undefined),
      (error: unknown) => this.#settle(plan, request, undefined, { error }),
    )
  }

  #settle(plan: Plan, request: Request, value: unknown, failure: { error: unknown } | undefined): void {
    const message = request.message
    if (message === undefined) {
      // The connection went away meanwhile: nobody waits for the answer, but a failure is still worth a report.
      if (failure && !(failure.error instanceof FsError)) this.#report(request, failure.error)
      this.#recycle(request)
      return
    }
    this.#pending.delete(request)
    let written = 0
    try {
      if (failure) throw failure.error
      // An answer of an earlier session would name nodes and handles that mean nothing in this one.
      if (request.session !== this.#session && !isSessional(plan))
        throw new FsError('EIO', 'the session ended')
      written = this.#answer(plan, request, value)
    } catch (error) {
      written = this.#fail(plan, request, error)
    }
    if (plan.once) this.#keep(request, written)
    if (this.#options.trace) this.#endTrace(request, written)
    this.#recycle(request)
    try {
      message.complete(written)
    } catch (error) {
      this.#report(request, error)
    }
  }

  /** Writes the answer to a request that failed; returns its length. */
  #fail(plan: Plan | undefined, request: Request, error: unknown): number {
    if (!(error instanceof FsError)) this.#report(request, error)
    if (plan?.silent || request.replyRoom < 0) return 0
    const errno =
      Errno[error instanceof FsError ? error.code : error instanceof FuseProtocolError ? error.errno : 'EIO']
    if (request.opcode === FUSE_INIT_BSWAP_RESERVED) return request.swappedHeader(-errno)
    const partial = plan?.partial?.(request) ?? 0
    if (partial > 0 && request.session === this.#session) return request.header(0, partial)
    return request.header(-errno, 0)
  }

  #init(request: Request, plan: Plan): InitOut | Promise<InitOut> {
    request.admit(plan.struct, 0, plan.whole, plan.limit)
    const init = decodeInit(request.argumentBytes())
    requireVersion(init)
    if (init.major > FUSE_KERNEL_VERSION) return versionOnly()
    // A guest that rebooted or mounted again sends no DESTROY: its INIT ends what was before.
    return this.#endSession() ? this.#beginAfterEnd(request, init) : this.#begin(init)
  }

  async #beginAfterEnd(request: Request, init: InitIn): Promise<InitOut> {
    for (let ending = this.#endSession(); ending; ending = this.#endSession()) await ending
    if (request.message === undefined) throw new FsError('EIO', 'the connection went away')
    return this.#begin(init)
  }

  #begin(init: InitIn): InitOut {
    return this.#agree(negotiate(init, this.#handler.init(init), this.#handler))
  }

  #agree(negotiated: InitOut): InitOut {
    this.#negotiated = negotiated
    this.#kept?.begin(negotiated)
    this.#session = {
      setxattrExt: (negotiated.flags & InitFlags.SETXATTR_EXT) !== 0,
      maxWrite: negotiated.maxWrite,
    }
    return negotiated
  }

  /** Ends the session, if there is one. The promise never rejects; undefined if nothing is left to wait for. */
  #endSession(): Promise<void> | undefined {
    if (this.#session !== NO_SESSION) {
      this.#session = NO_SESSION
      this.#negotiated = undefined
      const ended = (failure?: { error: unknown }) => {
        this.#ending = undefined
        this.#kept?.end()
        if (failure) this.#options.onError?.({ operation: 'DESTROY', node: 0, name: undefined, ...failure })
      }
      try {
        const result = this.#handler.destroy?.()
        if (result instanceof Promise) {
          this.#ending = result.then(
            () => ended(),
            (error: unknown) => ended({ error }),
          )
        } else ended()
      } catch (error) {
        ended({ error })
      }
    }
    return this.#ending
  }

  #keep(request: Request, written: number): void {
    if (this.#kept !== undefined && request.unique > 0)
      this.#kept.answered(request.unique, request.writable, written)
  }

  /** True if an earlier process has answered the request, which the guest has not seen: it is told the same now. */
  #answerAgain(request: Request, message: FuseMessage): boolean {
    const reply = this.#kept?.earlierAnswer(request.unique)
    if (reply === undefined) return false
    scatter(message.writable, 0, reply, 0, reply.byteLength)
    this.#recycle(request)
    message.complete(reply.byteLength)
    return true
  }

  #recycle(request: Request): void {
    request.detach()
    if (this.#idle.length < POOLED_REQUESTS) this.#idle.push(request)
  }

  #report(request: Request, error: unknown): void {
    const { node, name, opcode } = request
    this.#options.onError?.({ operation: opcodeName(opcode), node, name, error })
  }

  #startTrace(request: Request): void {
    const bytes = new Uint8Array(Math.min(request.readable.byteLength, TRACED_BYTES))
    gather(request.readable, 0, bytes, 0, bytes.byteLength)
    request.traced = bytes
    request.startedAt = this.#options.trace?.now() ?? 0
  }

  #endTrace(request: Request, written: number): void {
    const { trace } = this.#options
    if (!trace || !request.traced) return
    const reply = new Uint8Array(Math.min(written, TRACED_BYTES))
    gather(request.writable, 0, reply, 0, reply.byteLength)
    trace.line(formatMessage(request.traced, reply, trace.now() - request.startedAt))
  }
}

function notMovable(): FuseProtocolError {
  return new FuseProtocolError('BAD_STATE', 'the handler cannot save or restore a session', {
    struct: 'session',
    offset: 0,
  })
}

const isSessional = (plan: Plan) => plan.opcode === Opcode.INIT || plan.opcode === Opcode.DESTROY

function swappedOrder(): FuseProtocolError {
  return new FuseProtocolError('BAD_VERSION', 'the guest is big-endian', {
    struct: InHeader.cName,
    offset: InHeader.offsets.opcode,
    errno: 'EIO',
  })
}

function noSession(): FuseProtocolError {
  return new FuseProtocolError('NO_SESSION', 'a request before INIT', {
    struct: InHeader.cName,
    offset: InHeader.offsets.opcode,
    errno: 'EIO',
  })
}

function noRoom(plan: Plan, have: number): FuseProtocolError {
  return new FuseProtocolError('NO_ROOM', `the reply to ${opcodeName(plan.opcode)} does not fit`, {
    struct: OutHeader.cName,
    offset: OutHeader.size,
    need: plan.replySize,
    have,
    errno: 'EIO',
  })
}

function noHeader(have: number): FuseProtocolError {
  return new FuseProtocolError('TRUNCATED', `${have} bytes are no request`, {
    struct: InHeader.cName,
    offset: 0,
    need: InHeader.size,
    have,
  })
}
