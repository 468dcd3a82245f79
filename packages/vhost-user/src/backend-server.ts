// Listens for front-ends and serves them one after the other. A second front-end is refused while one is served; one that
// comes while the last is being taken down waits for that, because a virtual machine that restarts connects at once.

import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import { BackendSession } from './backend-session.ts'
import type { VhostUserDevice } from './device.ts'
import { VhostUserError } from './errors.ts'
import { FdPoll } from './sys/fd-poll.ts'
import { closeFd } from './sys/libc.ts'
import {
  acceptConnection,
  adoptListener,
  bindSocket,
  connectSocket,
  listenSocket,
} from './sys/unix-socket.ts'

export interface BackendServerOptions {
  readonly device: VhostUserDevice
  /** Where to make the socket; a stale one is replaced. Or: */
  readonly path?: string
  /** a listening Unix stream socket, inherited; owned by the server from now on. */
  readonly fd?: number
  /** Permission bits of the socket made at `path`; by default what the umask leaves. */
  readonly mode?: number
  readonly onConnect?: () => void
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

  /** Listens at once. Throws SOCKET_IN_USE, NOT_A_SOCKET, PATH_TOO_LONG or SYSTEM_CALL. */
  constructor(options: BackendServerOptions) {
    this.#options = options
    const { path, fd, mode } = options
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
  }

  get connected(): boolean {
    return this.#session !== undefined
  }

  /** Stops listening, lets the device finish what it has taken, ends the session, removes the socket file it made. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#poll.close()
    clearTimeout(this.#retry)
    closeFd(this.#listener)
    this.#removeFile()
    if (this.#waiting !== undefined) closeFd(this.#waiting)
    this.#waiting = undefined
    await this.#session?.close()
  }

  /** Only the file that this server made: another may have taken the path over. */
  #removeFile(): void {
    const { path } = this.#options
    if (!this.#file || path === undefined) return
    const now = lstatSync(path, { bigint: true, throwIfNoEntry: false })
    if (now?.dev === this.#file.dev && now.ino === this.#file.ino) unlinkSync(path)
  }

  #accept(): void {
    const fd = acceptConnection(this.#listener)
    if (fd === undefined) return
    if (!this.#session) {
      this.#serve(fd)
    } else if (this.#session.peerClosed) {
      this.#waiting = fd
      this.#poll.pause()
    } else {
      closeFd(fd)
      this.#options.onError(
        new VhostUserError('BUSY', 'a second front-end was refused: one is connected already'),
      )
    }
  }

  /** Out of descriptors or memory: trying again at once would only burn the processor. */
  #acceptFailed(cause: unknown): void {
    this.#poll.pause()
    this.#retry = setTimeout(() => this.#poll.watch({ readable: true }), ACCEPT_RETRY_DELAY)
    this.#options.onError(
      cause instanceof VhostUserError
        ? cause
        : new VhostUserError('DEVICE', 'a connection could not be served', { cause }),
    )
  }

  #serve(fd: number): void {
    const { device, onConnect, onDisconnect, onError } = this.#options
    const ended = (error: VhostUserError | undefined) => {
      this.#session = undefined
      onDisconnect?.(error)
      this.#serveWaiting()
    }
    try {
      this.#session = new BackendSession({ fd, device, report: onError, ended })
    } catch (error) {
      closeFd(fd)
      throw error
    }
    onConnect?.()
  }

  #serveWaiting(): void {
    if (this.#waiting === undefined) return
    const fd = this.#waiting
    this.#waiting = undefined
    this.#poll.watch({ readable: true })
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
