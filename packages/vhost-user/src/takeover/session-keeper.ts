// Keeps one session where the next process finds it: its descriptors in a store, what it knows in a record, and records of
// buffers in flight, for front-ends that keep none. A session that cannot be kept is served all the same, and ends with the
// process.

import type { VhostUserDevice } from '../device.ts'
import { VhostUserError } from '../errors.ts'
import { InflightRegion } from '../inflight-region.ts'
import { frontendRequestName } from '../messages.ts'
import { closeFd } from '../sys/libc.ts'
import { createMemFd } from '../sys/memfd.ts'
import type { FdStore } from './fd-store.ts'
import { CONNECTION, disconnectAll, findSession, RECORD, RING_RECORDS } from './found-session.ts'
import { KeptFds } from './kept-fds.ts'
import { type FdName, namesIn, type SavedSession, type SavedState } from './saved-session.ts'
import { SessionRecord } from './session-record.ts'

const MAX_RING_SIZE = 32768
const NO_ANSWER = new Uint8Array(0)
/** A process that has lived so many milliseconds is none that the session has ended. */
const PROVEN_AFTER = 60_000

export interface SessionKeeperOptions {
  readonly store: FdStore
  /** With what the names in the store begin. */
  readonly prefix: string
  readonly device: VhostUserDevice
  /** Hears why the session can no longer be taken over. */
  readonly report: (error: VhostUserError) => void
}

/** What a predecessor was serving, and the keeper that goes on with it. */
export interface Takeover {
  readonly keeper: SessionKeeper
  /** The connection, owned by the caller. */
  readonly fd: number
  readonly saved: SavedState
}

export class SessionKeeper {
  readonly kept: KeptFds
  readonly record: SessionRecord
  /** The record's file, from which answers are sent. */
  readonly recordFd: number
  /** Records of buffers in flight for the rings that the front-end has none for. */
  readonly ringRecords: InflightRegion
  /** Says what is to be recorded; set before anything is. */
  save: (() => SavedState) | undefined
  readonly #ringsFd: number
  readonly #report: (error: VhostUserError) => void
  #connection: FdName | undefined
  /** The names that the record speaks of. */
  #recorded: ReadonlySet<FdName> = new Set()
  #lost = false
  /** Runs while it is not known whether the session ends this process. */
  #unproven: NodeJS.Timeout | undefined

  private constructor(options: SessionKeeperOptions, kept: KeptFds, recordFd: number, ringsFd: number) {
    this.kept = kept
    this.recordFd = recordFd
    this.#ringsFd = ringsFd
    this.#report = options.report
    this.record = new SessionRecord(recordFd)
    try {
      this.ringRecords = mapRingRecords(options.device, ringsFd)
    } catch (error) {
      this.record.unmap()
      throw error
    }
  }

  /** For a new session. Nothing is stored before `begin`. */
  static create(options: SessionKeeperOptions): SessionKeeper {
    const { device, store, prefix } = options
    const ringsFd = createMemFd('vhost-user-rings', ringRecordBytes(device) * device.queueCount)
    return new SessionKeeper(options, new KeptFds(store, prefix), SessionRecord.create(), ringsFd)
  }

  /**
   * For the session that a predecessor has left in the store; only its connection, owned by the caller, if it has not begun;
   * undefined if there is none. Throws TAKEOVER if there is one and it is not whole or has ended too many processes: its front-end
   * is disconnected then, and nothing of it stays.
   */
  static takeOver(options: SessionKeeperOptions): Takeover | number | undefined {
    const kept = new KeptFds(options.store, options.prefix)
    if (kept.inherited.size === 0) return undefined
    const taken: number[] = []
    const take = (name: FdName) => {
      taken.push(kept.take(name))
      return taken.at(-1)!
    }
    try {
      const found = findSession(kept)
      if (typeof found !== 'object') {
        const connection = found === undefined ? undefined : kept.take(found)
        kept.settle()
        kept.retain(new Set()).catch(options.report)
        return connection
      }
      const { session, recordName } = found
      const [recordFd, ringsFd, fd] = [recordName, session.ringRecords, session.connection].map(take)
      const keeper = new SessionKeeper(options, kept, recordFd!, ringsFd!)
      keeper.#connection = session.connection
      keeper.#recorded = new Set([recordName, ...session.fds])
      return { keeper, fd: fd!, saved: session.state }
    } catch (error) {
      for (const fd of taken) closeFd(fd)
      disconnectAll(kept)
      kept.settle()
      kept.retain(new Set()).catch(options.report)
      throw error
    }
  }

  /**
   * All that is needed of the predecessor has been taken. The session has not ended this process, and is not to be given up, once
   * what was found of it is done, or after a while: a request may wait for its answer as long as it likes.
   */
  tookOver(done: Promise<unknown>): void {
    this.kept.settle()
    void this.removeUnrecorded()
    this.#unproven = setTimeout(() => this.#proven(), PROVEN_AFTER)
    this.#unproven.unref()
    // A device that cannot tell is not believed before its time.
    done.then(
      () => this.#proven(),
      () => undefined,
    )
  }

  #proven(): void {
    if (this.#unproven === undefined) return
    clearTimeout(this.#unproven)
    this.#unproven = undefined
    this.record.takeovers = 0
  }

  /** Whether the session ends with this process. */
  get lost(): boolean {
    return this.#lost
  }

  /** Resolves when a successor could go on with the session, or when it is certain that none ever can. */
  async begin(connection: number): Promise<void> {
    if (this.#connection !== undefined) return
    await this.#store([
      [this.recordFd, RECORD],
      [this.#ringsFd, RING_RECORDS],
      [connection, CONNECTION],
    ])
    this.#connection = this.kept.nameOf(connection)
    this.prepare(0, NO_ANSWER)
    this.record.enforce()
    this.record.finish()
  }

  /** Resolves when the descriptors of a message are stored. They are lent. */
  async keepReceived(fds: readonly number[], request: number): Promise<void> {
    const what = frontendRequestName(request) ?? `request-${request}`
    if (fds.length > 0) await this.#store(fds.map(fd => [fd, what]))
  }

  /** Writes down the session as it is now, and what is still to be done of its last message; see SessionRecord. */
  prepare(message: number, answer: Uint8Array): { readonly answerAt: number } {
    const session = this.#lost ? undefined : this.#saved()
    if (session) this.#recorded = new Set([this.kept.nameOf(this.recordFd)!, ...session.fds])
    return this.record.prepare(session, message, answer)
  }

  /** Removes from the store what the record does not speak of any more. */
  async removeUnrecorded(): Promise<void> {
    try {
      await this.kept.retain(this.#recorded)
    } catch (error) {
      this.#lose(error)
    }
  }

  /** The session is over: nothing of it stays in the store. */
  async forget(): Promise<void> {
    this.record.end()
    this.#recorded = new Set()
    await this.removeUnrecorded()
  }

  /** Lets go of all memory and descriptors. The caller promises that no record of buffers in flight is touched any more. */
  leave(): void {
    this.#proven()
    this.kept.settle()
    this.record.unmap()
    this.ringRecords.unmap()
    closeFd(this.recordFd)
    closeFd(this.#ringsFd)
  }

  #saved(): SavedSession | undefined {
    const state = this.save?.()
    const connection = this.#connection
    if (!state || !connection) return undefined
    const ringRecords = this.kept.nameOf(this.#ringsFd)!
    return { fds: [connection, ringRecords, ...namesIn(state)], connection, ringRecords, state }
  }

  async #store(fds: readonly (readonly [fd: number, what: string])[]): Promise<void> {
    if (this.#lost) return
    try {
      await this.kept.keep(fds)
    } catch (error) {
      this.#lose(error)
    }
  }

  #lose(cause: unknown): void {
    if (this.#lost) return
    this.#lost = true
    const message = 'the session ends with this process: its descriptors cannot be kept'
    this.#report(new VhostUserError('FD_STORE', message, { cause }))
  }
}

function ringRecordBytes(device: VhostUserDevice): number {
  return device.inflightBytes?.(MAX_RING_SIZE) ?? 0
}

function mapRingRecords(device: VhostUserDevice, fd: number): InflightRegion {
  const numQueues = device.queueCount
  const mmapSize = ringRecordBytes(device) * numQueues
  const description = { mmapSize, mmapOffset: 0, numQueues, queueSize: MAX_RING_SIZE }
  return new InflightRegion(description, fd, size => device.inflightBytes?.(size) ?? 0)
}
