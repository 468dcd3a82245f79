// Moves one object: by the service's own rename where there is one, else by copy and deletion. A move that was interrupted can be
// done again.

import { setTimeout as sleep } from 'node:timers/promises'
import { FsError } from '@ovfs/fuse-proto'
import { type Copying, copyObject, deleteCopied, notCopiedError, reported } from './object-copies.ts'
import type { ObjectInfo, Storage } from './storage.ts'
import { isUncertain, isUnsupported, StorageError } from './storage-error.ts'

const RENAME_ATTEMPTS = 4
const RENAME_DELAY_MS = 100

export interface Moved {
  /** The object at its new key; undefined if it could not be looked at. */
  readonly info: ObjectInfo | undefined
  /** Another client stored a newer object at the old key during the move; it stays there. */
  readonly sourceStays: boolean
}

/**
 * Replaces what is at `to`.
 * @throws EIO if the service does not move it; both keys are as before then, as far as the service allows
 */
export async function moveObject(storage: Storage, move: Copying): Promise<Moved> {
  const { from, to } = move
  if (!storage.capability.rename) return moveByCopy(storage, move)
  if (storage.traits.renameReplacesDirectories) await requireNoDirectory(storage, to)
  try {
    await renameObject(storage, from, to)
  } catch (error) {
    const isRefused = error instanceof StorageError && isUnsupported(error)
    if (!isRefused || storage.scheme === 'fs' || (await storage.stat(from)) === undefined) throw error
    return moveByCopy(storage, move)
  }
  try {
    const info = await storage.stat(to, true)
    if (info === undefined && (await storage.stat(from, true)) !== undefined)
      throw reported(storage, notCopiedError(from, to, 'nothing was deleted'))
    return { info, sourceStays: false }
  } catch (error) {
    // The object has been moved. The next look shows its version.
    if (error instanceof StorageError) return { info: undefined, sourceStays: false }
    throw error
  }
}

async function moveByCopy(storage: Storage, move: Copying): Promise<Moved> {
  const { info, left } = await copyObject(storage, move)
  return { info, sourceStays: !(await deleteCopied(storage, move, info, left)) }
}

/**
 * The service's own rename, of a file or of a directory (then both keys are without a slash). If the answer is lost, a look at both
 * keys shows whether the rename has happened. It is not simply repeated: a second rename could destroy what the first one has moved.
 */
export async function renameObject(storage: Storage, from: string, to: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await storage.rename(from, to)
    } catch (error) {
      if (!(error instanceof StorageError) || storage.scheme === 'fs') throw error
      const isLost = error.transient || isUncertain(error)
      if (!isLost && attempt === 1) throw error
      const [source, target] = await Promise.all([storage.stat(from, true), storage.stat(to, true)])
      if (source === undefined && target !== undefined) return
      if (!error.transient || attempt === RENAME_ATTEMPTS) throw error
      await sleep(Math.random() * RENAME_DELAY_MS * 2 ** attempt)
    }
  }
}

async function requireNoDirectory(storage: Storage, key: string): Promise<void> {
  if ((await storage.stat(key, true))?.kind === 'directory')
    throw new FsError('EISDIR', `${JSON.stringify(key)} has become a directory`)
}
