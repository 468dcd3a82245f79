// Listens for front-ends and serves them one after the other. A second front-end is refused while one is served; one that
// comes while the last is being taken down waits for that, because a virtual machine that restarts connects at once.

import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import { BackendSession, type BackendSessionOptions } from './backend-session.ts'
import type { VhostUserDevice } from './device.ts'
import { VhostUserError } from './errors.ts'
import { FdPoll } from './sys/fd-poll.ts'
import { areTooManyLeaving, dismissSocket, foreignFdsClosed } from './sys/foreign-fd.ts'
import { closeFd } from './sys/libc.ts'
import {
  acceptConnection,
  adoptListener,
  bindSocket,
  connectSocket,
  listenSocket,
} from './sys/unix-socket.ts'
import { DEFAULT_PREFIX, type FdStore } from './takeover/fd-store.ts'
import { SessionKeeper, type SessionKeeperOptions, type Takeover } from './takeover/session-keeper.ts'

export interface BackendServerOptions {
  readonly device: VhostUserDevice
  /** Where to make the socket; a stale one is replaced. Or: */
  readonly path?: string
  /** a listening Unix stream socket, inherited; owned by the server from now on. */
  readonly fd?: number
  /** Permission bits of the socket made at `path`; by default what the umask leaves. */
  readonly mode?: number
  /**
   * Where sessions are kept, so that the next process that is given what is stored goes on with them, whenever this one dies.
   * The front-end does not notice. Needs `inflightBytes` of the device.
   */
  readonly store?: FdStore
  /** With what the names in the store begin; by default `vhost-user-`. One server each. */
  readonly storePrefix?: string
  readonly onConnect?: () => void
  /** A front-end was found that the last process has served: it is served again, and has not noticed. */
  readonly onTakeOver?: () => void
  /** The front-end has left and everything of it is released; `error` if it was sent away. */
  readonly onDisconnect?: (error: VhostUserError | undefined) => void
  /** Something went wrong that the server survives. */
  readonly onError: (error: VhostUserError) => void
}

const BACKLOG = 8
/** When descriptors or memory run out, connections wait this many milliseconds. */
const ACCEPT_RETRY_DELAY = 500

export class BackendServer {
  readonly #options: BackendServerOptions
  readonly #listener: number
  readonly #poll: FdPoll
  /** Device and inode of the socket file that this server made. */
  readonly #file: { readonly dev: bigint; readonly ino: bigint } | undefined
  #session: BackendSession | undefined
  /** A connection that came while the last one was being taken down. */
  #waiting: number | undefined
  #retry: NodeJS.Timeout | undefined
  #closing: Promise<void> | undefined

  /**
   * Listens at once, and goes on with the session of a predecessor if there is one. Throws SOCKET_IN_USE, NOT_A_SOCKET,
   * PATH_TOO_LONG or SYSTEM_CALL.
   */
  constructor(options: BackendServerOptions) {
    this.#options = options
    const { path, fd, mode } = options
    if (options.store && !options.device.inflightBytes) {
      throw new TypeError('a device that keeps no record of buffers in flight cannot be taken over')
    }
    if ((path === undefined) === (fd === undefined)) {
      throw new TypeError('give either the path of a socket or a listening descriptor')
    }
    if (fd !== undefined) {
      adoptListener(fd)
      this.#listener = fd
    } else {
      this.#listener = listenAt(path as string, mode)
      this.#file = lstatSync(path as string, { bigint: true })
    }
    this.#poll = new FdPoll(
      this.#listener,
      { readable: true },
      { ready: () => this.#accept(), failed: error => this.#acceptFailed(error) },
    )
    this.#takeOver()
  }

  get connected(): boolean {
    return this.#session !== undefined
  }

  /** Stops listening, lets the device finish what it has taken, ends the session, removes the socket file it made. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /**
   * The same for a process that has a successor: the session stays in the store, and the front-end does not notice. What is not
   * kept in a store is closed.
   */
  leave(): Promise<void> {
    this.#closing ??= this.#leave()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#stopListening()
    await this.#session?.close()
  }

  async #leave(): Promise<void> {
    this.#stopListening()
    await this.#session?.leave()
  }

  #stopListening(): void {
    this.#poll.close()
    clearTimeout(this.#retry)
    closeFd(this.#listener)
    this.#removeFile()
    if (this.#waiting !== undefined) dismissSocket(this.#waiting)
    this.#waiting = undefined
  }

  /** Only the file that this server made: another may have taken the path over. */
  #removeFile(): void {
    const { path } = this.#options
    if (!this.#file || path === undefined) return
    const now = lstatSync(path, { bigint: true, throwIfNoEntry: false })
    if (now?.dev === this.#file.dev && now.ino === this.#file.ino) unlinkSync(path)
  }

  #accept(): void {
    if (areTooManyLeaving()) {
      this.#poll.pause()
      void foreignFdsClosed().then(() => this.#listen())
      return
    }
    const fd = acceptConnection(this.#listener)
    if (fd === undefined) return
    if (!this.#session) {
      this.#serve(fd)
    } else if (this.#session.peerClosed) {
      this.#waiting = fd
      this.#poll.pause()
      this.#session.hangUp()
    } else {
      dismissSocket(fd)
      this.#options.onError(
        new VhostUserError('BUSY', 'a second front-end was refused: one is connected already'),
      )
    }
  }

  /** Goes on with accepting, unless somebody waits whose turn is first. */
  #listen(): void {
    if (this.#waiting === undefined) this.#poll.watch({ readable: true })
  }

  /** Out of descriptors or memory: trying again at once would only burn the processor. */
  #acceptFailed(cause: unknown): void {
    this.#poll.pause()
    this.#retry = setTimeout(() => this.#listen(), ACCEPT_RETRY_DELAY)
    this.#options.onError(
      cause instanceof VhostUserError
        ? cause
        : new VhostUserError('DEVICE', 'a connection could not be served', { cause }),
    )
  }

  #serve(fd: number): void {
    try {
      const keeper = this.#keeping && SessionKeeper.create(this.#keeping)
      this.#session = this.#begin({ fd, keeper })
    } catch (error) {
      dismissSocket(fd)
      throw error
    }
    this.#options.onConnect?.()
  }

  /**
   * Goes on with the session that the last process has left, if it has. Whatever is wrong with it, this server goes on: a process
   * that failed here would find the same when it is started again.
   */
  #takeOver(): void {
    if (!this.#keeping) return
    const { onError, onTakeOver } = this.#options
    let found: Takeover | undefined
    try {
      const taken = SessionKeeper.takeOver(this.#keeping)
      if (taken === undefined) return
      if (typeof taken === 'number') {
        this.#serve(taken)
      } else {
        found = taken
        this.#session = this.#begin(found)
        onTakeOver?.()
      }
    } catch (cause) {
      if (found) this.#abandon(found)
      const isTold = cause instanceof VhostUserError && cause.code === 'TAKEOVER'
      const message = 'the session of the last process cannot be had again'
      onError(isTold ? cause : new VhostUserError('TAKEOVER', message, { cause }))
    }
  }

  /** Nothing of it has begun. */
  #abandon({ keeper, fd }: Takeover): void {
    dismissSocket(fd)
    // Never rejects.
    void keeper.forget()
    keeper.leave()
  }

  #begin(session: Pick<BackendSessionOptions, 'fd' | 'keeper' | 'saved'>): BackendSession {
    const { device, onDisconnect, onError } = this.#options
    const ended = (error: VhostUserError | undefined) => {
      this.#session = undefined
      onDisconnect?.(error)
      this.#serveWaiting()
    }
    return new BackendSession({ ...session, device, report: onError, ended })
  }

  get #keeping(): SessionKeeperOptions | undefined {
    const { store, device, onError, storePrefix: prefix = DEFAULT_PREFIX } = this.#options
    return store && { store, prefix, device, report: onError }
  }

  #serveWaiting(): void {
    if (this.#waiting === undefined) return
    const fd = this.#waiting
    this.#waiting = undefined
    this.#listen()
    try {
      this.#serve(fd)
    } catch (error) {
      this.#acceptFailed(error)
    }
  }
}

/** A socket that listens at the path. One that nobody listens on any more is replaced. */
function listenAt(path: string, mode: number | undefined): number {
  let fd: number
  try {
    fd = bindSocket(path)
  } catch (error) {
    if (!(error instanceof VhostUserError) || error.errno !== 'EADDRINUSE') throw error
    requireStale(path)
    unlinkSync(path)
    fd = bindSocket(path)
  }
  try {
    // Before listening: nobody can connect until the mode is right.
    if (mode !== undefined) chmodSync(path, mode)
    listenSocket(fd, BACKLOG)
  } catch (error) {
    closeFd(fd)
    unlinkSync(path)
    throw error
  }
  return fd
}

function requireStale(path: string): void {
  if (!lstatSync(path).isSocket()) {
    throw new VhostUserError('NOT_A_SOCKET', `${path} exists and is not a socket`)
  }
  try {
    closeFd(connectSocket(path))
  } catch (error) {
    if (error instanceof VhostUserError && error.errno === 'ECONNREFUSED') return
    // EAGAIN: somebody listens, and has too many visitors.
    if (!(error instanceof VhostUserError) || error.errno !== 'EAGAIN') throw error
  }
  throw new VhostUserError('SOCKET_IN_USE', `another process listens on ${path}`)
}
