// A virtio-fs daemon in one object: listens for a virtual machine monitor and serves a FuseHandler to its guest.

import type { FuseErrorReport, FuseHandler, SessionLog } from '@ovfs/fuse-proto'
import { BackendServer, type FdStore, type VhostUserError } from '@ovfs/vhost-user'
import { VirtioFsDevice } from './device.ts'

export interface VirtioFsOptions {
  readonly handler: FuseHandler
  /** Where to make the Unix socket; a stale one is replaced. Or: */
  readonly socketPath?: string
  /** a listening Unix socket that this process has; owned by this object from `listen` on. */
  readonly listenFd?: number
  /** Permission bits of the socket made at `socketPath`. */
  readonly socketMode?: number
  /** Request queues, besides the hiprio queue; default 8. A front-end may use fewer. */
  readonly requestQueues?: number
  /** What the guest mounts, for monitors that ask the device; up to 36 bytes. Not for QEMU, which has an option of its own. */
  readonly tag?: string
  /**
   * Where the session survives this process: a front-end that reconnects to the next one goes on without a FUSE_INIT. The handler
   * must write what it holds into the same log. Call `resume` before `listen` then.
   */
  readonly log?: SessionLog
  /**
   * Where the connection, guest memory and rings survive this process: the front-end does not notice that another one goes on.
   * Without a `log` the guest has to mount anew.
   */
  readonly store?: FdStore
  readonly onConnect?: () => void
  /** The front-end of the last process is served again, and has not noticed. */
  readonly onTakeOver?: () => void
  /** The front-end left; `error` if it was sent away. */
  readonly onDisconnect?: (error: VhostUserError | undefined) => void
  /** The front-end or the driver broke a rule; what survives goes on. */
  readonly onError?: (error: VhostUserError) => void
  /** A request failed for a reason that is not an errno: the guest was told EIO. */
  readonly onRequestError?: (report: FuseErrorReport) => void
  /** Given a line for each request and its answer; slows everything down. */
  readonly onTrace?: (line: string) => void
}

const DEFAULT_REQUEST_QUEUES = 8

export class VirtioFs {
  readonly #options: VirtioFsOptions
  readonly #device: VirtioFsDevice
  #server: BackendServer | undefined

  constructor(options: VirtioFsOptions) {
    this.#options = options
    this.#device = new VirtioFsDevice({
      handler: options.handler,
      queueCount: 1 + (options.requestQueues ?? DEFAULT_REQUEST_QUEUES),
      ...(options.tag !== undefined && { tag: options.tag }),
      log: options.log,
      onRequestError: options.onRequestError ?? (() => undefined),
      ...(options.onTrace && { onTrace: options.onTrace }),
    })
  }

  /** True if there is a session that goes on. Rejects if the log is damaged, or with what the handler fails with. */
  resume(): Promise<boolean> {
    return this.#device.resume()
  }

  /** Front-ends may connect from now on, one at a time. Throws VhostUserError, such as SOCKET_IN_USE. */
  listen(): void {
    const { socketPath, listenFd, socketMode, store, onConnect, onTakeOver, onDisconnect, onError } =
      this.#options
    this.#server = new BackendServer({
      device: this.#device,
      ...(socketPath !== undefined && { path: socketPath }),
      ...(listenFd !== undefined && { fd: listenFd }),
      ...(socketMode !== undefined && { mode: socketMode }),
      ...(store && { store }),
      ...(onConnect && { onConnect }),
      ...(onTakeOver && { onTakeOver }),
      ...(onDisconnect && { onDisconnect }),
      onError: onError ?? (() => undefined),
    })
  }

  /**
   * Stops listening, finishes the requests in flight, leaves the front-end, and waits until the handler has ended its session. A
   * session that survives is not ended: the front-end is expected to reconnect, or with a store it does not notice.
   */
  async close(): Promise<void> {
    this.#device.leaveSession()
    await this.#server?.leave()
    await this.#device.end()
  }
}
