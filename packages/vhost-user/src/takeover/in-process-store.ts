// A store within one process, for a program that replaces its server without ending, and for tests: its successors find what
// it stores. It drops second descriptors for one open file, as systemd does.

import { VhostUserError } from '../errors.ts'
import { closeFd, duplicateFd } from '../sys/libc.ts'
import { openFileIdentity } from '../sys/open-file.ts'
import type { FdStore } from './fd-store.ts'

interface Stored {
  readonly name: string
  readonly fd: number
  readonly identity: string | undefined
}

export class InProcessFdStore implements FdStore {
  readonly #inherited: Map<string, number>
  readonly #limit: number
  #stored: Stored[] = []

  /** @param limit how many descriptors there is room for */
  constructor(limit = Number.POSITIVE_INFINITY, inherited: Map<string, number> = new Map()) {
    this.#limit = limit
    this.#inherited = inherited
  }

  get inherited(): ReadonlyMap<string, number> {
    return this.#inherited
  }

  /** The names of what is stored. */
  get names(): string[] {
    return this.#stored.map(({ name }) => name)
  }

  /** The store of the next server, which finds in it what is stored here. This one is of no use any more. */
  succeed(): InProcessFdStore {
    const next = new InProcessFdStore(
      this.#limit,
      new Map(this.#stored.map(({ name, fd }) => [name, duplicateFd(fd)])),
    )
    next.#stored = this.#stored
    this.#stored = []
    return next
  }

  claim(name: string): number | undefined {
    const fd = this.#inherited.get(name)
    this.#inherited.delete(name)
    return fd
  }

  async put(fds: ReadonlyMap<string, number>): Promise<void> {
    if (this.#stored.length + fds.size > this.#limit) {
      throw new VhostUserError('FD_STORE', `there is room for ${this.#limit} descriptors only`)
    }
    for (const [name, fd] of fds) {
      const identity = openFileIdentity(fd)
      if (identity !== undefined && this.#stored.some(other => other.identity === identity)) continue
      this.#stored.push({ name, fd: duplicateFd(fd), identity })
    }
  }

  async remove(names: Iterable<string>): Promise<void> {
    const gone = new Set(names)
    for (const { name, fd } of this.#stored) if (gone.has(name)) closeFd(fd)
    this.#stored = this.#stored.filter(({ name }) => !gone.has(name))
  }

  /** Closes everything: what is stored, and what was never claimed. */
  close(): void {
    for (const { fd } of this.#stored.splice(0)) closeFd(fd)
    for (const fd of this.#inherited.values()) closeFd(fd)
    this.#inherited.clear()
  }
}
