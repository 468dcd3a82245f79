// The daemon as a service of systemd, or of another manager that speaks its protocol: says when it is ready, what it does, that it
// is alive and when it ends, listens where the manager listens for it, and leaves it the front-end for the next daemon. A manager
// that cannot be reached is no reason not to serve.

import type { FdStore, ListeningSocket, ServiceManager } from '@ovfs/virtio-fs'
import type { Log } from './log.ts'
import { ServiceStatus } from './service-status.ts'

/** What the daemon wants of its manager. */
export type Manager = Pick<ServiceManager, keyof ServiceManager>

/** setInterval takes no more. */
const LONGEST_INTERVAL = 0x7fff_ffff
/** Milliseconds that a manager with a full queue gets before the daemon ends all the same. */
const LONGEST_GOODBYE = 1000

export class ManagedService {
  readonly status = new ServiceStatus(
    text => void this.#tell(manager => manager.status(this.#log.clean(text))),
  )
  readonly #manager: Manager | undefined
  readonly #log: Log
  /** Keeps the front-end; undefined if it ends with this daemon. */
  readonly store: FdStore | undefined
  #watchdog: NodeJS.Timeout | undefined
  #told: Promise<void> = Promise.resolve()

  private constructor(manager: Manager | undefined, keepsFrontend: boolean, log: Log) {
    this.#manager = manager
    this.#log = log
    this.store = keepsFrontend ? manager : undefined
  }

  /** @param keepsFrontend a front-end that the last daemon left is disconnected if this one would not leave it either */
  static async open(
    find: () => Manager | undefined,
    keepsFrontend: boolean,
    log: Log,
  ): Promise<ManagedService> {
    try {
      const manager = find()
      if (!keepsFrontend) await manager?.abandon()
      return new ManagedService(manager, keepsFrontend, log)
    } catch (error) {
      log.warn('the service manager cannot be reached', { error: messageOf(error) })
      return new ManagedService(undefined, false, log)
    }
  }

  /** The socket that the manager listens on for this daemon; owned by the caller. */
  claimSocket(): ListeningSocket | undefined {
    return this.#manager?.claimSocket()
  }

  /** The guest can be served from now on. If the manager wants to hear that the event loop turns, it does, until `close`. */
  ready(): Promise<void> {
    const { watchdogMs } = this.#manager ?? {}
    if (watchdogMs !== undefined) {
      const alive = () => void this.#tell(manager => manager.alive())
      this.#watchdog = setInterval(alive, Math.min(watchdogMs / 2, LONGEST_INTERVAL))
    }
    return this.#tell(manager => manager.ready())
  }

  /** @param withinMs the end may take so long */
  stopping(withinMs: number): Promise<void> {
    return this.#tell(manager => manager.stopping(withinMs))
  }

  /** Resolves when the manager has been told everything, or does not want to know. */
  async close(): Promise<void> {
    clearInterval(this.#watchdog)
    let timer: NodeJS.Timeout | undefined
    const enough = new Promise<void>(resolve => {
      timer = setTimeout(resolve, LONGEST_GOODBYE)
    })
    await Promise.race([this.#told, enough])
    clearTimeout(timer)
  }

  /** Never rejects. */
  #tell(what: (manager: Manager) => Promise<void>): Promise<void> {
    const manager = this.#manager
    if (!manager) return Promise.resolve()
    const told = what(manager).catch(error =>
      this.#log.warn('the service manager does not listen', { error: messageOf(error) }),
    )
    this.#told = Promise.all([this.#told, told]).then(() => undefined)
    return told
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
