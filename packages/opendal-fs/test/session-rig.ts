// A file system whose session survives it: when it is killed, its storage hears nothing more of it, and another one is started on
// a copy of the memory that it wrote its session into.

import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SessionLog } from '@ovfs/fuse-proto'
import { MemoryFolder } from '../../fuse-proto/test/memory-folder.ts'
import { OpendalFs, type OpendalFsOptions, StateFolder } from '../src/index.ts'
import type { Operator } from '../src/storage/binding.ts'
import { Faults, faulty } from './faulty-operator.ts'
import { Guest } from './guest.ts'

/** One for each who waits: a promise that all shared would keep them all in memory. */
const never = () => new Promise<void>(() => undefined)
const CHANGES = new Set(['write', 'writer', 'delete', 'rename', 'copy', 'createDir'])

/** Killed file systems with pages in an open file. Since Node 26 an open file handle that is garbage is an uncaught exception. */
const withOpenFiles: OpendalFs[] = []

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
  /** Runs before each change of the storage, and before each of the journal. */
  #beforeStep: () => Promise<void> | undefined = () => undefined
  /** Runs after each entry of the session's log. */
  #afterEntry: () => void = () => undefined
  /** The memory as it was at the last entry that a process wrote, if it was stopped there. */
  #memoryAtEntry: MemoryFolder | undefined

  constructor(scheme: string, operator: Operator, options: Partial<OpendalFsOptions> = {}) {
    this.#scheme = scheme
    this.#operator = operator
    this.#options = options
  }

  /** A guest, whose session goes on if there is one. */
  async start(): Promise<Guest> {
    this.#thaw()
    try {
      const guest = await this.#start()
      this.log.begin()
      return guest
    } catch (error) {
      await this.#state?.close()
      throw error
    }
  }

  /** As `start`, but killed after so many steps, entries not counted. True if it was through before. */
  async startAndKill(steps: number): Promise<boolean> {
    this.#thaw()
    const frozen = this.freezeAfter(steps, false).then(() => false)
    const isThrough = await Promise.race([frozen, this.#start().then(() => true)])
    await this.kill()
    return isThrough
  }

  async #start(): Promise<Guest> {
    this.#state = await StateFolder.open(this.path)
    this.#gateJournal(this.#state)
    const folder = Object.assign(this.memory, { path: this.path })
    this.log = new SessionLog({ folder, identity: 'same', onError: error => this.errors.push(error) })
    this.#watch(this.log)
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
    return new Guest(this.fs, undefined, !goesOn)
  }

  #thaw(): void {
    this.faults = new Faults()
    this.#beforeStep = () => undefined
    this.#afterEntry = () => undefined
    this.#memoryAtEntry = undefined
  }

  /** A log that is written anew takes the place of the old one at once: its entries are no steps. */
  #watch(log: SessionLog): void {
    const { append, begin } = log
    let isAnew = false
    log.begin = () => {
      isAnew = true
      begin.call(log)
      isAnew = false
    }
    log.append = (...entry) => {
      const slot = append.apply(log, entry)
      if (!isAnew) this.#afterEntry()
      return slot
    }
  }

  #gateJournal({ journal }: StateFolder): void {
    const { commit, conclude } = journal
    journal.commit = async changes => {
      await this.#beforeStep()
      return commit.call(journal, changes)
    }
    journal.conclude = async changes => {
      if (changes.length > 0) await this.#beforeStep()
      return conclude.call(journal, changes)
    }
  }

  /**
   * Lets so many steps happen, and none after them. Resolves when the last one is done, or the next one is tried.
   * @param entries whether entries of the session's log are steps, as changes of the storage and of the journal are
   */
  freezeAfter(steps: number, entries = true): Promise<void> {
    this.faults.sidecars = true
    let left = steps
    return new Promise(resolve => {
      this.#afterEntry = () => {
        if (!entries || left <= 0 || --left > 0) return
        this.#memoryAtEntry = this.memory.copy()
        left = -1
        resolve()
      }
      this.#beforeStep = () => {
        if (--left >= 0) return undefined
        resolve()
        return never()
      }
      this.faults.before = operation => {
        if (CHANGES.has(operation)) return this.#beforeStep()
        return left < 0 ? never() : undefined
      }
    })
  }

  /** What is not in the storage or in the kept memory by now is lost. */
  async kill(): Promise<void> {
    this.faults.sidecars = true
    this.faults.before = never
    this.#beforeStep = never
    const left = this.#memoryAtEntry ?? this.memory.copy()
    // Timers keep what waits for the storage, and that would keep it.
    this.memory.buffers.clear()
    this.memory = left
    if (readdirSync(this.path).some(name => name.startsWith('ovfs-'))) withOpenFiles.push(this.fs)
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
    this.memory.buffers.clear()
    rmSync(this.path, { recursive: true, force: true })
  }
}
