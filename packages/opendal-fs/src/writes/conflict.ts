// When somebody else has changed a file that has unpublished changes here: finding out before anything is replaced, and
// keeping what was written here on the host, where a person can compare the two. The storage keeps what it has.

import { constants } from 'node:fs'
import { type FileHandle, lstat, mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import { FsError } from '@ovfs/fuse-proto'
import { Gathered } from '../files/gathered.ts'
import { toStateError } from '../journal/state-error.ts'
import type { PartSource } from '../storage/object-replacement.ts'
import type { ObjectInfo, Storage } from '../storage/storage.ts'
import { isVersionLost } from '../storage/storage-error.ts'
import type { DirtyFile } from './dirty-file.ts'

const STEP = 1 << 20

/** Somebody else changed or removed the file: the storage has theirs, the host has ours. */
export class ConflictError extends FsError {
  /** As the guest names it. */
  readonly path: string
  /** The file on the host that has the bytes which were written here. */
  readonly kept: string
  /** Bytes of the old version that showed in it and could not be had any more: zeros in the kept file. */
  readonly missing: number

  constructor(path: string, kept: string, missing: number) {
    const lacking = missing === 0 ? '' : `, without ${missing} bytes of the version that it was based on`
    super(
      'ESTALE',
      `${JSON.stringify(path)} was changed by somebody else: what was written here is kept in ${kept}${lacking}`,
    )
    this.name = 'ConflictError'
    this.path = path
    this.kept = kept
    this.missing = missing
  }
}

/** True if the object is just what was to be published: then nobody has lost anything. False if it is replaced meanwhile. */
export async function isSameContent(
  storage: Storage,
  key: string,
  found: ObjectInfo,
  source: PartSource,
  size: number,
): Promise<boolean> {
  if (found.kind !== 'file' || found.size !== size) return false
  try {
    let at = 0
    for await (const part of source.parts(size, STEP)) {
      const theirs = await storage.read(key, at, part.byteLength, found.etag)
      if (Buffer.compare(part, theirs) !== 0) return false
      at += part.byteLength
    }
  } catch (error) {
    if (isVersionLost(error)) return false
    throw error
  }
  return true
}

/**
 * Saves what a guest wrote in a new file of the recovery folder, which is made if it is not there.
 * @throws StateError
 */
export async function keepLoser(dirty: DirtyFile, path: string, folder: string): Promise<ConflictError> {
  const kept = join(folder, recoveryName(path))
  let missing = 0
  let file: FileHandle | undefined
  try {
    await requireOwnFolder(folder)
    file = await open(kept, 'wx', 0o600)
    for (const [start, end, from] of [...dirty.pieces()]) {
      for (let at = start; at < end; at += STEP) {
        const piece = new Gathered(Math.min(STEP, end - at))
        if (from === 'written') await dirty.read(at, at + piece.room, piece)
        // The storage has another version now: its bytes would be a mixture.
        else if (!dirty.salvageBase(at, at + piece.room, piece)) missing += piece.room
        await writeAt(file, piece.data, at)
      }
    }
    await file.truncate(dirty.size)
    await file.sync()
  } catch (error) {
    throw toStateError(error, kept)
  } finally {
    await file?.close()
  }
  return new ConflictError(path, kept, missing)
}

/** Tells the path, the time, and nothing that a file system could misread. */
export function recoveryName(path: string): string {
  const readable = path.replace(/^\//, '').replace(/[^\p{L}\p{N}._-]+/gu, '_')
  const time = new Date().toISOString().replace(/[:.]/g, '-')
  return `${Buffer.from(readable).subarray(-120).toString().replaceAll('\ufffd', '_')}.${time}-${crypto.randomUUID().slice(0, 8)}`
}

/** In a folder that everybody may write to, the name may have been taken by somebody who wants to see the files. */
async function requireOwnFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const found = await lstat(folder)
  const own = found.isDirectory() && (process.getuid === undefined || found.uid === process.getuid())
  if (!own) throw new FsError('EIO', 'the recovery folder belongs to somebody else')
  const others = constants.S_IWGRP | constants.S_IWOTH
  if ((found.mode & others) !== 0) throw new FsError('EIO', 'everybody may write to the recovery folder')
}

async function writeAt(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    done += (await file.write(bytes, done, bytes.byteLength - done, position + done)).bytesWritten
  }
}
