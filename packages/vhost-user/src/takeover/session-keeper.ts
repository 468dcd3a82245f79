// Keeps one session where the next process finds it: its descriptors in a store, what it knows in a record, and records of
// buffers in flight, for front-ends that keep none. A session that cannot be kept is served all the same, and ends with the
// process.

import type { VhostUserDevice } from '../device.ts'
import { VhostUserError } from '../errors.ts'
import { InflightRegion } from '../inflight-region.ts'
import { frontendRequestName } from '../messages.ts'
import { closeFd } from '../sys/libc.ts'
import { createMemFd } from '../sys/memfd.ts'
import { shutdownSocket } from '../sys/stream-position.ts'
import type { FdStore } from './fd-store.ts'
import { KeptFds } from './kept-fds.ts'
import { type FdName, namesIn, type SavedSession, type SavedState } from './saved-session.ts'
import { SessionRecord } from './session-record.ts'

const MAX_RING_SIZE = 32768
const NO_ANSWER = new Uint8Array(0)

/** What the descriptors of every session are, at the end of their names. */
const RECORD = 'record'
const RING_RECORDS = 'rings'
const CONNECTION = 'connection'

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

  private constructor(options: SessionKeeperOptions, kept: KeptFds, recordFd: number, ringsFd: number) {
    this.kept = kept
    this.recordFd = recordFd
    this.#ringsFd = ringsFd
    this.#report = options.report
    this.record = new SessionRecord(recordFd)
    this.ringRecords = mapRingRecords(options.device, ringsFd)
  }

  /** For a new session. Nothing is stored before `begin`. */
  static create(options: SessionKeeperOptions): SessionKeeper {
    const { device, store, prefix } = options
    const ringsFd = createMemFd('vhost-user-rings', ringRecordBytes(device) * device.queueCount)
    return new SessionKeeper(options, new KeptFds(store, prefix), SessionRecord.create(), ringsFd)
  }

  /**
   * For the session that a predecessor has left in the store; undefined if there is none. Throws TAKEOVER if there is one and
   * it is not whole: its front-end is disconnected then, and nothing of it stays.
   */
  static takeOver(options: SessionKeeperOptions): Takeover | undefined {
    const kept = new KeptFds(options.store, options.prefix)
    if (kept.inherited.size === 0) return undefined
    try {
      const { session, recordName } = findSession(kept)
      const keeper = new SessionKeeper(options, kept, kept.take(recordName), kept.take(session.ringRecords))
      keeper.#connection = session.connection
      keeper.#recorded = new Set([recordName, ...session.fds])
      return { keeper, fd: kept.take(session.connection), saved: session.state }
    } catch (error) {
      for (const [name, fd] of kept.inherited) if (name.endsWith(CONNECTION)) shutdownSocket(fd)
      kept.settle()
      kept.retain(new Set()).catch(options.report)
      throw error
    }
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

/** The session in force. Throws TAKEOVER if there is none, or if it lacks a descriptor. */
function findSession(kept: KeptFds): { readonly session: SavedSession; readonly recordName: FdName } {
  for (const [recordName, fd] of kept.inherited) {
    if (!recordName.endsWith(RECORD)) continue
    const record = new SessionRecord(fd)
    const session = record.state as SavedSession | null | undefined
    record.unmap()
    if (!session) continue
    const missing = session.fds.filter(name => !kept.inherited.has(name))
    if (missing.length === 0) return { session, recordName }
    throw new VhostUserError(
      'TAKEOVER',
      `${missing.length} of the ${session.fds.length} descriptors of a session have not come back, such as ${missing[0]}`,
    )
  }
  throw new VhostUserError('TAKEOVER', 'descriptors of a session have come back without a record of it')
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
