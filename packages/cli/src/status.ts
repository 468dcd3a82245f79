// The status of a running daemon, logged on SIGUSR2: how many files the storage does not have yet, and which changes were lost. SIGUSR1
// is not used, because Node reserves it for its debugger.

import type { Log } from './log.ts'

export const STATUS_SIGNAL = 'SIGUSR2'

/** Where the signal comes from: the process. */
export interface StatusEmitter {
  on(signal: typeof STATUS_SIGNAL, listener: () => void): unknown
  off(signal: typeof STATUS_SIGNAL, listener: () => void): unknown
}

/** A file whose changes the storage did not get, because somebody else had changed it. */
export interface LostFile {
  readonly path: string
  /** The file on the host that has them. */
  readonly kept: string
}

export interface ShareStatus {
  /** Paths of the files that hold data which is not in the storage; undefined if they are not known. */
  unpublished(): readonly string[] | undefined
  /** The latest of this daemon's life, the oldest first. */
  lost(): readonly LostFile[]
}

/** How many lost files a daemon remembers. */
export const MOST_LOST = 1000
const MOST_NAMED = 100

/** @returns stops it */
export function tellStatusOnRequest(emitter: StatusEmitter, share: ShareStatus, log: Log): () => void {
  const tell = () => tellStatus(share, log)
  emitter.on(STATUS_SIGNAL, tell)
  return () => emitter.off(STATUS_SIGNAL, tell)
}

function tellStatus(share: ShareStatus, log: Log): void {
  const unpublished = share.unpublished() ?? []
  const lost = share.lost()
  log.answer('status', { unpublished: unpublished.length, lost: lost.length })
  for (const path of unpublished.slice(0, MOST_NAMED)) log.answer('unpublished', { path })
  for (const { path, kept } of lost.slice(-MOST_NAMED)) log.answer('lost', { path, kept })
}
