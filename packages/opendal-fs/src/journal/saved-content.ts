// The bytes of a dirty file on the host's disk as they were at one moment: written once, then only read, by a publication or by
// the replay after a kill. The base still lies in the storage and is read from there.

import { constants } from 'node:fs'
import { copyFile, type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { Gathered } from '../files/gathered.ts'
import type { PartSource } from '../storage/object-replacement.ts'
import type { DirtyFile } from '../writes/dirty-file.ts'
import type { SavedContent } from './journal-entries.ts'
import { StateError, toStateError } from './state-error.ts'

const STEP = 1 << 20

/**
 * Saves what shows now, and what is written meanwhile perhaps; the names in the folder are for the caller to sync.
 * @throws StateError
 */
export async function saveContent(dirty: DirtyFile, folder: string): Promise<SavedContent> {
  const name = crypto.randomUUID()
  const { size, mtime } = dirty
  const pieces = [...dirty.pieces()]
  const written = pieces
    .filter(([, , from]) => from === 'written')
    .map(([start, end]) => [start, end] as const)
  const base = pieces.filter(([, , from]) => from === 'base').map(([start, end]) => [start, end] as const)
  let file: FileHandle | undefined
  try {
    file = await open(join(folder, name), 'wx', 0o600)
    for (const [start, end] of written) {
      for (let at = start; at < end; at += STEP) {
        const piece = new Gathered(Math.min(STEP, end - at))
        await dirty.read(at, at + piece.room, piece)
        await writeFully(file, piece.data, at)
      }
    }
    await file.datasync()
  } catch (error) {
    throw toStateError(error, folder)
  } finally {
    await file?.close()
  }
  return { name, size, mtime, written, base }
}

/** Reads a saved content, its base included. */
export class SavedSource implements PartSource {
  readonly content: SavedContent
  readonly #path: string
  readonly #readBase: (offset: number, length: number) => Promise<Uint8Array>

  /** @param readBase reads the version that the content stands on */
  constructor(
    content: SavedContent,
    folder: string,
    readBase: (offset: number, length: number) => Promise<Uint8Array>,
  ) {
    this.content = content
    this.#path = join(folder, content.name)
    this.#readBase = readBase
  }

  async *parts(size: number, partBytes: number): AsyncGenerator<Uint8Array> {
    const file = await open(this.#path, 'r').catch(error => {
      throw toStateError(error, this.#path)
    })
    try {
      for (let at = 0; at < size; at += partBytes) {
        const part = new Uint8Array(Math.min(partBytes, size - at))
        const { written, base } = this.content
        for (const [start, end] of within(written, at, at + part.byteLength)) {
          await readFully(file, part.subarray(start - at, end - at), start)
        }
        for (const [start, end] of within(base, at, at + part.byteLength)) {
          part.set(await this.#readBase(start, end - start), start - at)
        }
        yield part
      }
    } finally {
      await file.close()
    }
  }

  /**
   * True if the object has this content. What shows of the base cannot be compared with anything else, and is taken for
   * right if all the rest is.
   */
  async isIn(size: number, read: (offset: number, length: number) => Promise<Uint8Array>): Promise<boolean> {
    const { content } = this
    if (size !== content.size) return false
    const file = await open(this.#path, 'r').catch(error => {
      throw toStateError(error, this.#path)
    })
    try {
      for (const [start, end] of content.written) {
        for (let at = start; at < end; at += STEP) {
          const bytes = new Uint8Array(Math.min(STEP, end - at))
          await readFully(file, bytes, at)
          if (Buffer.compare(bytes, await read(at, bytes.byteLength)) !== 0) return false
        }
      }
      return true
    } finally {
      await file.close()
    }
  }
}

/** Puts a saved content where a person will look for it; without the base, which may be gone, there are holes. */
export async function keepContent(content: SavedContent, folder: string, target: string): Promise<void> {
  try {
    await copyFile(join(folder, content.name), target, constants.COPYFILE_EXCL)
    const file = await open(target, 'r+')
    try {
      await file.truncate(content.size)
      await file.sync()
    } finally {
      await file.close()
    }
  } catch (error) {
    throw toStateError(error, target)
  }
}

function* within(
  ranges: SavedContent['written'],
  from: number,
  to: number,
): Generator<readonly [start: number, end: number]> {
  for (const [start, end] of ranges) {
    if (end > from && start < to) yield [Math.max(start, from), Math.min(end, to)]
  }
}

async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    done += (await file.write(bytes, done, bytes.byteLength - done, position + done)).bytesWritten
  }
}

async function readFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    const { bytesRead } = await file.read(bytes, done, bytes.byteLength - done, position + done)
    if (bytesRead === 0) throw new StateError('UNUSABLE', 'a saved file is shorter than the journal says')
    done += bytesRead
  }
}
