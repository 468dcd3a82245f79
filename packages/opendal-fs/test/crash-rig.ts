// A file system that can be killed: its journal is closed under it, its storage does not answer it any more, and another one is
// started on the same storage and the same state folder.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OpendalFs, type OpendalFsOptions, type ReplayReport, StateFolder } from '../src/index.ts'
import type { Operator } from '../src/storage/binding.ts'
import { Faults, faulty } from './faulty-operator.ts'
import { Guest } from './guest.ts'

/** One for each who waits: a promise that all shared would keep them all in memory. */
const never = () => new Promise<void>(() => undefined)

export class CrashRig {
  readonly folder = mkdtempSync(join(tmpdir(), 'ovfs-crash-'))
  readonly errors: Error[] = []
  faults = new Faults()
  /** True once the storage has died. */
  isFrozen = false
  guest!: Guest
  report: ReplayReport | undefined
  #state: StateFolder | undefined
  #fs: OpendalFs | undefined
  readonly #scheme: string
  readonly #operator: Operator
  readonly #options: Partial<OpendalFsOptions>

  constructor(scheme: string, operator: Operator, options: Partial<OpendalFsOptions> = {}) {
    this.#scheme = scheme
    this.#operator = operator
    this.#options = options
  }

  /** @param changes if given, the storage dies after so many of the replay */
  async start(changes?: number): Promise<Guest> {
    this.faults = new Faults()
    this.faults.sidecars = this.#options.attrs === 'sidecar'
    this.isFrozen = false
    if (changes !== undefined) void this.freezeAfter(changes)
    this.#state = await StateFolder.open(this.folder)
    this.#fs = new OpendalFs(faulty(this.#operator, this.faults), {
      scheme: this.#scheme,
      state: this.#state,
      attrs: 'none',
      // Nothing that the killed one began may end later and disturb the next.
      timeoutMs: 100_000_000,
      onError: error => this.errors.push(error),
      ...this.#options,
    })
    this.report = await this.#fs.replay()
    this.guest = new Guest(this.#fs)
    return this.guest
  }

  /** From now on the storage hears nothing any more: the calls of the doomed stay without an answer. */
  freeze(): void {
    this.isFrozen = true
    this.faults.before = never
  }

  /** Lets so many changes of the storage happen, and none after them. Resolves when the next one is tried. */
  freezeAfter(changes: number): Promise<void> {
    let left = changes
    return new Promise(resolve => {
      this.faults.before = operation => {
        if (!CHANGES.has(operation)) return left < 0 ? never() : undefined
        if (--left >= 0) return undefined
        this.isFrozen = true
        resolve()
        return never()
      }
    })
  }

  async kill(): Promise<void> {
    this.freeze()
    await this.#state?.close()
  }

  /** What another daemon finds. */
  async restart(changes?: number): Promise<Guest> {
    await this.kill()
    return this.start(changes)
  }

  async close(): Promise<void> {
    // A file system that has been killed does not end by itself.
    try {
      if (!this.isFrozen) await this.#fs?.close()
    } finally {
      await this.#state?.close()
    }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

const CHANGES = new Set(['write', 'writer', 'delete', 'rename', 'copy', 'createDir'])

/** Deletes all there is, one by one: some S3 servers fail to delete many at once. */
export async function empty(operator: Operator): Promise<void> {
  const paths = (await operator.list('', { recursive: true })).map(entry => entry.path())
  for (const path of paths.sort().reverse()) if (path !== '/' && path !== '') await operator.delete(path)
}

/** Every file below a directory, by path. */
export async function files(guest: Guest, path = ''): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const { name, type } of await guest.readdir(path === '' ? '/' : path)) {
    const child = path === '' ? name : `${path}/${name}`
    if (type === 4) Object.assign(found, await files(guest, child))
    else found[child] = await guest.text(child)
  }
  return found
}
