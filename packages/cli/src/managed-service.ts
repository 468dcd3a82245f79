// The daemon as a service of systemd, or of another manager that speaks its protocol: says when it is ready and when it ends,
// and leaves it the front-end for the next daemon. A manager that cannot be reached is no reason not to serve.

import type { FdStore, ServiceManager } from '@ovfs/virtio-fs'
import type { Log } from './log.ts'

/** What the daemon wants of its manager. */
export type Manager = Pick<ServiceManager, keyof ServiceManager>

export class ManagedService {
  readonly #manager: Manager | undefined
  readonly #log: Log
  /** Keeps the front-end; undefined if it ends with this daemon. */
  readonly store: FdStore | undefined

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

  /** The guest can be served from now on. */
  ready(): Promise<void> {
    return this.#tell(manager => manager.ready())
  }

  stopping(): Promise<void> {
    return this.#tell(manager => manager.stopping())
  }

  async #tell(what: (manager: Manager) => Promise<void>): Promise<void> {
    if (!this.#manager) return
    try {
      await what(this.#manager)
    } catch (error) {
      this.#log.warn('the service manager does not listen', { error: messageOf(error) })
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
