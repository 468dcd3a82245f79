// What goes wrong with the state folder on the host: a reason to not start, or an errno for the guest whose change it could not
// take.

import { type ErrnoName, FsError } from '@ovfs/fuse-proto'

/**
 * LOCKED: another daemon uses the folder. ELSEWHERE: what it holds belongs into another storage. FOREIGN: its content is none of
 * ours. DAMAGED: what it says of the session makes no sense. UNUSABLE: the host refused.
 */
export type StateErrorCode = 'LOCKED' | 'ELSEWHERE' | 'FOREIGN' | 'DAMAGED' | 'UNUSABLE'

export class StateError extends FsError {
  readonly reason: StateErrorCode

  /** @param errno what a guest sees whose request needed the folder */
  constructor(reason: StateErrorCode, message: string, errno: ErrnoName = 'EIO', options?: ErrorOptions) {
    super(errno, message, options)
    this.name = 'StateError'
    this.reason = reason
  }
}

/** @param error of an operation on the host's file system */
export function toStateError(error: unknown, path: string): StateError {
  if (error instanceof StateError) return error
  const { code, message } = error as NodeJS.ErrnoException
  // The permissions of a folder on the host are not those of the file that the guest asked about.
  const errno = code === 'ENOSPC' || code === 'EDQUOT' ? code : 'EIO'
  return new StateError('UNUSABLE', `state folder ${path}: ${message}`, errno, { cause: error })
}
