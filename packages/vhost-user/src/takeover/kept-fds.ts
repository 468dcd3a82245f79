// The descriptors of one session as they lie in the store: a name for each open file, stored before anything refers to it, and
// removed when nothing does any more. The same file may come often, as guest memory does with each of its regions.

import { VhostUserError } from '../errors.ts'
import { closeFd, duplicateFd } from '../sys/libc.ts'
import { openFileIdentity } from '../sys/open-file.ts'
import type { FdStore } from './fd-store.ts'
import type { FdName, FdNames, InheritedFds } from './saved-session.ts'

export class KeptFds implements FdNames, InheritedFds {
  readonly #store: FdStore
  readonly #prefix: string
  /** Names by the identity of the open file. */
  readonly #stored = new Map<string, string>()
  /** Names in the store whose file is there under another name too, or is of no known kind. */
  readonly #others = new Set<string>()
  /** Names by descriptor, as long as its owner holds it. */
  readonly #names = new Map<number, string>()
  /** What a predecessor left, until the session has been made anew from it. */
  readonly #inherited = new Map<FdName, number>()
  #next = 0

  /** Claims everything in the store whose name begins with the prefix. */
  constructor(store: FdStore, prefix: string) {
    this.#store = store
    this.#prefix = prefix
    for (const name of [...store.inherited.keys()]) {
      if (!name.startsWith(prefix)) continue
      const fd = store.claim(name)!
      this.#inherited.set(name, fd)
      // Whoever is lent this one may ask for its name.
      this.#names.set(fd, name)
      const identity = openFileIdentity(fd) ?? name
      if (this.#stored.has(identity)) this.#others.add(name)
      else this.#stored.set(identity, name)
      const number = Number.parseInt(name.slice(prefix.length), 10)
      if (number >= this.#next) this.#next = number + 1
    }
  }

  /** Resolves once every file is stored, under a name that says what it is. Rejects with FD_STORE. The descriptors are lent. */
  async keep(fds: Iterable<readonly [fd: number, what: string]>): Promise<void> {
    const fresh = new Map<string, number>()
    const identities = new Map<string, string>()
    for (const [fd, what] of fds) {
      const identity = openFileIdentity(fd)
      let name = identity && (this.#stored.get(identity) ?? identities.get(identity))
      if (name === undefined) {
        name = `${this.#prefix}${this.#next++}-${what}`
        fresh.set(name, fd)
        identities.set(identity ?? name, name)
      }
      this.#names.set(fd, name)
    }
    if (fresh.size === 0) return
    await this.#store.put(fresh)
    for (const [identity, name] of identities) this.#stored.set(identity, name)
  }

  /** The name under which the file of a descriptor is kept. */
  nameOf(fd: number): string | undefined {
    return this.#names.get(fd)
  }

  /** What a predecessor left, by name; lent until `settle`. */
  get inherited(): ReadonlyMap<FdName, number> {
    return this.#inherited
  }

  peek(name: FdName): number {
    const fd = this.#inherited.get(name)
    if (fd === undefined) throw new VhostUserError('TAKEOVER', `${name} of a session has not come back`)
    return fd
  }

  take(name: FdName): number {
    // A file that had several owners has one descriptor for each again.
    const fd = duplicateFd(this.peek(name))
    this.#names.set(fd, name)
    return fd
  }

  /** All that is needed of a predecessor has been taken over. */
  settle(): void {
    for (const fd of this.#inherited.values()) {
      // The number is free for another file.
      this.#names.delete(fd)
      closeFd(fd)
    }
    this.#inherited.clear()
  }

  /** Nothing but these is needed any more: the rest is removed from the store. */
  async retain(names: ReadonlySet<string>): Promise<void> {
    const gone = [...this.#others].filter(name => !names.has(name))
    for (const name of gone) this.#others.delete(name)
    for (const [identity, name] of this.#stored) {
      if (names.has(name)) continue
      this.#stored.delete(identity)
      gone.push(name)
    }
    for (const [fd, name] of this.#names) if (!names.has(name)) this.#names.delete(fd)
    // The record of a session is stored first and goes last: it tells what the rest is that is still there.
    if (gone.length > 0) await this.#store.remove(gone.reverse())
  }
}
