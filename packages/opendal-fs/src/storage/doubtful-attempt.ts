// An attempt to publish of which nobody knows whether it succeeded: the answer was lost. If the storage has just these bytes later,
// they are our own and no conflict, also when the file has been written to since.

import { createHash } from 'node:crypto'
import type { DirtyFile } from '../writes/dirty-file.ts'
import type { Mark } from '../writes/file-map.ts'
import type { PartSource } from './object-replacement.ts'
import type { ObjectInfo, Storage } from './storage.ts'
import { isUncertain, isVersionLost, StorageError } from './storage-error.ts'

const STEP = 1 << 20
/** Larger ones are not read again to find out, in bytes. */
const LARGEST = 64 << 20

export interface DoubtfulAttempt {
  /** Since the attempt began. */
  readonly mark: Mark
  readonly size: number
  readonly digest: string
}

/** Undefined if the attempt surely failed, or if the file is not any more what it was. */
export async function doubtOf(
  error: unknown,
  dirty: DirtyFile,
  { mark, changes, size }: { readonly mark: Mark; readonly changes: number; readonly size: number },
): Promise<DoubtfulAttempt | undefined> {
  if (!(error instanceof StorageError) || !isUncertain(error) || size > LARGEST) return undefined
  try {
    const digest = await digestOf(dirty, size)
    return dirty.changes === changes && !dirty.writing ? { mark, size, digest } : undefined
  } catch (failure) {
    // The base cannot be read either: then the doubt stays, and what is found later counts as somebody else's.
    if (failure instanceof StorageError) return undefined
    throw failure
  }
}

/** True if the object is what the attempt was to store. */
export async function hasLanded(
  storage: Storage,
  key: string,
  found: ObjectInfo,
  attempt: DoubtfulAttempt,
): Promise<boolean> {
  if (found.kind !== 'file' || found.size !== attempt.size) return false
  const object: PartSource = {
    async *parts(size, partBytes) {
      for (let at = 0; at < size; at += partBytes) {
        yield await storage.read(key, at, Math.min(partBytes, size - at), found.etag)
      }
    },
  }
  try {
    return (await digestOf(object, found.size)) === attempt.digest
  } catch (error) {
    if (isVersionLost(error)) return false
    throw error
  }
}

async function digestOf(source: PartSource, size: number): Promise<string> {
  const hash = createHash('sha256')
  for await (const part of source.parts(size, STEP)) hash.update(part)
  return hash.digest('hex')
}
