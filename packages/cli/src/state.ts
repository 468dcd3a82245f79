// The state folder at the start of a daemon: what to say when it cannot be used.

import { FuseProtocolError } from '@ovfs/fuse-proto'
import { StateError, StateFolder } from '@ovfs/opendal-fs'
import { type KeptSession, openKeptSession } from '@ovfs/virtio-fs'
import { CliError } from './error.ts'

/** @param place the storage that is served */
export async function openState(path: string, place: string): Promise<StateFolder> {
  try {
    return await StateFolder.open(path, { place })
  } catch (error) {
    throw toCliError(error)
  }
}

/** Opens what an earlier daemon has left of its guest's session. Throws StateError. */
export function openSession(state: StateFolder, share: string, onError: (error: Error) => void): KeptSession {
  try {
    return openKeptSession(state.sessionPath, share, onError)
  } catch (cause) {
    const reason = cause instanceof TypeError ? 'DAMAGED' : 'UNUSABLE'
    const message = `${state.sessionPath}: ${(cause as Error).message}`
    throw new StateError(reason, message, 'EIO', { cause })
  }
}

/** Throws what a session was not gone on with for: as a StateError if what was agreed with its guest makes no sense. */
export function damagedSession(error: unknown): never {
  if (error instanceof FuseProtocolError)
    throw new StateError('DAMAGED', error.message, 'EIO', { cause: error })
  throw error
}

/** Why what an earlier daemon left could not be brought into the storage. Nothing is lost by trying again. */
export function replayError(error: unknown, path: string | undefined): unknown {
  if (error instanceof StateError) return toCliError(error)
  const message = error instanceof Error ? error.message : String(error)
  const hint = `it is still in ${path}: mend this and start again`
  return new CliError('STATE', `unpublished data cannot be published: ${message}`, hint, { cause: error })
}

function toCliError(error: unknown): unknown {
  if (!(error instanceof StateError)) return error
  return new CliError('STATE', error.message, HINTS[error.reason], { cause: error })
}

const HINTS = {
  LOCKED: 'give each daemon its own --state-dir',
  DAMAGED: 'remove its folder session',
  ELSEWHERE:
    'serve that storage first, or give another --state-dir; if it is the same under another name, remove the file place in it',
  FOREIGN: 'start the version of ovfs that wrote it, or give another --state-dir',
  UNUSABLE: 'give another --state-dir',
} as const
