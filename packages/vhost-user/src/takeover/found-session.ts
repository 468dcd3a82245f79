// The session that a predecessor has left, among the descriptors that came back. A session that ends each process that goes on
// with it would come back to the next one for ever: how many have tried is on record, and it is given up after a few.

import { VhostUserError } from '../errors.ts'
import { shutdownSocket } from '../sys/stream-position.ts'
import type { KeptFds } from './kept-fds.ts'
import { type FdName, namesIn, type SavedSession } from './saved-session.ts'
import { SessionRecord } from './session-record.ts'
import { isSavedSession } from './session-shape.ts'

/** What the descriptors of every session are, at the end of their names. */
export const RECORD = 'record'
export const RING_RECORDS = 'rings'
export const CONNECTION = 'connection'

/** By default systemd starts a service five times in ten seconds: the fifth process must be one that gives up. */
export const MOST_TAKEOVERS = 3

export interface FoundSession {
  readonly session: SavedSession
  readonly recordName: FdName
}

/**
 * The session in force. Or, of one whose first message has not been read, the name of its connection: it is as if it had just been
 * accepted. Undefined if the session was over. Throws TAKEOVER if there is none, if it lacks a descriptor, or if it is given up.
 */
export function findSession(kept: KeptFds): FoundSession | FdName | undefined {
  let wasOver = false
  for (const [recordName, fd] of kept.inherited) {
    if (!recordName.endsWith(RECORD)) continue
    const session = readRecord(fd)
    if (session === 'new') {
      const connection = [...kept.inherited.keys()].find(name => name.endsWith(CONNECTION))
      if (connection !== undefined) return connection
    }
    if (session === 'over') wasOver = true
    if (!session || typeof session === 'string') continue
    const missing = session.fds.filter(name => !kept.inherited.has(name))
    if (missing.length === 0) return { session, recordName }
    throw new VhostUserError(
      'TAKEOVER',
      `${missing.length} of the ${session.fds.length} descriptors of a session have not come back, such as ${missing[0]}`,
    )
  }
  if (wasOver) return undefined
  throw new VhostUserError('TAKEOVER', 'descriptors of a session have come back without a record of it')
}

/** Ends the connections among them, for front-ends that would wait without end. */
export function disconnectAll(kept: KeptFds): void {
  for (const [name, fd] of kept.inherited) {
    if (!name.endsWith(CONNECTION)) continue
    try {
      shutdownSocket(fd)
    } catch (error) {
      // Whatever came back under this name is no socket, and nobody waits for it.
      if (!(error instanceof VhostUserError)) throw error
    }
  }
}

function readRecord(fd: number): SavedSession | 'new' | 'over' | undefined {
  const record = new SessionRecord(fd)
  try {
    const { takeovers, stage } = record
    if (stage === 'over') return stage
    if (takeovers >= MOST_TAKEOVERS) {
      throw new VhostUserError(
        'TAKEOVER',
        `${takeovers} processes in a row have ended while they took over the session, which is given up`,
      )
    }
    // Before anything in it is believed.
    record.takeovers = takeovers + 1
    if (stage === 'new') return stage
    const state = record.state
    if (state === undefined || state === null) return undefined
    if (isSavedSession(state) && namesIn(state.state).every(name => state.fds.includes(name))) return state
    throw new VhostUserError('TAKEOVER', 'the record of a session makes no sense')
  } finally {
    record.unmap()
  }
}
