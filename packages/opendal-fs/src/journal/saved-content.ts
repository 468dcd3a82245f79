// The bytes of a dirty file on the host's disk as they were at one moment: written once, then only read, by a publication or by
// the replay after a kill. The base still lies in the storage and is read from there. Few bytes go into the journal itself,
// which the disk has to take anyway; more go into a file of their own (stored-bytes.ts).

import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { Gathered } from '../files/gathered.ts'
import type { PartSource } from '../storage/object-replacement.ts'
import type { DirtyFile } from '../writes/dirty-file.ts'
import type { SavedContent } from './journal-entries.ts'
import { toStateError } from './state-error.ts'
import { openStored, writeFully } from './stored-bytes.ts'

const STEP = 1 << 20
/** Contents up to this size may be in the journal, in bytes. */
const SMALL = 16 << 10

/**
 * Saves what shows now, and what is written meanwhile perhaps; the names in the folder are for the caller to sync.
 * @param room bytes that the journal has for it
 * @throws StateError
 */
export async function saveContent(dirty: DirtyFile, folder: string, room: number): Promise<SavedContent> {
  const { size, mtime } = dirty
  const pieces = [...dirty.pieces()]
  const written = pieces
    .filter(([, , from]) => from === 'written')
    .map(([start, end]) => [start, end] as const)
  const base = pieces.filter(([, , from]) => from === 'base').map(([start, end]) => [start, end] as const)
  const length = written.reduce((sum, [start, end]) => sum + end - start, 0)
  if (length <= Math.min(SMALL, room)) {
    const bytes = new Gathered(length)
    for (const [start, end] of written) await dirty.read(start, end, bytes)
    return { name: null, bytes: Buffer.from(bytes.bytes).toString('base64'), size, mtime, written, base }
  }
  const name = crypto.randomUUID()
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
  readonly #folder: string
  readonly #readBase: (offset: number, length: number) => Promise<Uint8Array>

  /** @param readBase reads the version that the content stands on */
  constructor(
    content: SavedContent,
    folder: string,
    readBase: (offset: number, length: number) => Promise<Uint8Array>,
  ) {
    this.content = content
    this.#folder = folder
    this.#readBase = readBase
  }

  async *parts(size: number, partBytes: number): AsyncGenerator<Uint8Array> {
    const stored = await openStored(this.content, this.#folder)
    try {
      for (let at = 0; at < size; at += partBytes) {
        const part = new Uint8Array(Math.min(partBytes, size - at))
        const { written, base } = this.content
        for (const [start, end] of within(written, at, at + part.byteLength)) {
          await stored.read(part.subarray(start - at, end - at), start)
        }
        for (const [start, end] of within(base, at, at + part.byteLength)) {
          part.set(await this.#readBase(start, end - start), start - at)
        }
        yield part
      }
    } finally {
      await stored.close()
    }
  }

  /**
   * True if the object has this content. What shows of the base cannot be compared with anything else, and is taken for
   * right if all the rest is.
   */
  async isIn(size: number, read: (offset: number, length: number) => Promise<Uint8Array>): Promise<boolean> {
    const { content } = this
    if (size !== content.size) return false
    const stored = await openStored(content, this.#folder)
    try {
      for (const [start, end] of content.written) {
        for (let at = start; at < end; at += STEP) {
          const bytes = new Uint8Array(Math.min(STEP, end - at))
          await stored.read(bytes, at)
          if (Buffer.compare(bytes, await read(at, bytes.byteLength)) !== 0) return false
        }
      }
      return true
    } finally {
      await stored.close()
    }
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
