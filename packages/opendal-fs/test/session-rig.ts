// A file system whose session survives it: when it is killed, its storage hears nothing more of it, and another one is started on
// a copy of the memory that it wrote its session into.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SessionLog } from '@ovfs/fuse-proto'
import type { Operator } from 'opendal'
import { MemoryFolder } from '../../fuse-proto/test/memory-folder.ts'
import { OpendalFs, type OpendalFsOptions, StateFolder } from '../src/index.ts'
import { Faults, faulty } from './faulty-operator.ts'
import { Guest } from './guest.ts'

const never = new Promise<void>(() => undefined)
const CHANGES = new Set(['write', 'writer', 'delete', 'rename', 'copy', 'createDir'])

export class SessionRig {
  readonly path = mkdtempSync(join(tmpdir(), 'ovfs-session-'))
  memory = new MemoryFolder()
  faults = new Faults()
  fs!: OpendalFs
  log!: SessionLog
  readonly errors: Error[] = []
  readonly #scheme: string
  readonly #operator: Operator
  readonly #options: Partial<OpendalFsOptions>
  #state: StateFolder | undefined

  constructor(scheme: string, operator: Operator, options: Partial<OpendalFsOptions> = {}) {
    this.#scheme = scheme
    this.#operator = operator
    this.#options = options
  }

  /** A guest, whose session goes on if there is one. */
  async start(): Promise<Guest> {
    this.faults = new Faults()
    this.#state = await StateFolder.open(this.path)
    const folder = Object.assign(this.memory, { path: this.path })
    this.log = new SessionLog({ folder, identity: 'same', onError: error => this.errors.push(error) })
    const goesOn = this.log.earlier.length > 0
    this.fs = new OpendalFs(faulty(this.#operator, this.faults), {
      scheme: this.#scheme,
      state: this.#state,
      session: { log: this.log, folder },
      timeoutMs: 100_000_000,
      onError: error => this.errors.push(error),
      ...this.#options,
    })
    await this.fs.replay()
    this.fs.resume()
    const guest = new Guest(this.fs, undefined, !goesOn)
    this.log.begin()
    return guest
  }

  /** Lets so many changes of the storage happen, and none after them. Resolves when the next one is tried. */
  freezeAfter(changes: number): Promise<void> {
    this.faults.sidecars = true
    let left = changes
    return new Promise(resolve => {
      this.faults.before = operation => {
        if (!CHANGES.has(operation)) return left < 0 ? never : undefined
        if (--left >= 0) return undefined
        resolve()
        return never
      }
    })
  }

  /** What is not in the storage or in the kept memory by now is lost. */
  async kill(): Promise<void> {
    this.faults.sidecars = true
    this.faults.before = () => never
    this.memory = this.memory.copy()
    this.log.close()
    await this.#state?.close()
  }

  async restart(): Promise<Guest> {
    await this.kill()
    return this.start()
  }

  async close(): Promise<void> {
    await this.fs.close()
    await this.#state?.close()
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}
