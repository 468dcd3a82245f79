// Where a process leaves descriptors for its successor, and finds those of its predecessor. Somebody who outlives both has to
// keep them: a service manager (service-manager.ts).

/** With what the names of a server's sessions begin, if not said otherwise. */
export const DEFAULT_PREFIX = 'vhost-user-'

export interface FdStore {
  /** What a predecessor left and this process has not claimed yet, by name. */
  readonly inherited: ReadonlyMap<string, number>
  /** Hands over an inherited descriptor, which stays in the store under its name; the caller owns its copy from now on. */
  claim(name: string): number | undefined
  /**
   * Resolves once all are stored, each under its name; the descriptors are lent. A name that is taken already gets another
   * one besides. Rejects with FD_STORE, and none is stored then, if there is no room.
   *
   * One open file cannot be stored twice: the second is dropped without a word, as systemd does. Callers keep count.
   */
  put(fds: ReadonlyMap<string, number>): Promise<void>
  /** Resolves once nothing is stored under these names. */
  remove(names: Iterable<string>): Promise<void>
}
