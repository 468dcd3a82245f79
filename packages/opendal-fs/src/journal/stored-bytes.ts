// Where the written bytes of a saved content are: in the journal's own entry, or in a file of the state folder.

import { constants } from 'node:fs'
import { copyFile, type FileHandle, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { SavedContent } from './journal-entries.ts'
import { StateError, toStateError } from './state-error.ts'

export interface StoredBytes {
  /** Fills `target` with what was written at `position`, of one piece. */
  read(target: Uint8Array, position: number): Promise<void>
  close(): Promise<void>
}

/** @throws StateError */
export async function openStored(content: SavedContent, folder: string): Promise<StoredBytes> {
  if (content.name === null) return new BytesInJournal(content)
  const path = join(folder, content.name)
  const file = await open(path, 'r').catch(error => {
    throw toStateError(error, path)
  })
  return { read: (target, position) => readFully(file, target, position), close: () => file.close() }
}

class BytesInJournal implements StoredBytes {
  readonly #written: SavedContent['written']
  readonly #bytes: Buffer

  constructor({ bytes = '', written }: SavedContent) {
    this.#written = written
    this.#bytes = Buffer.from(bytes, 'base64')
  }

  async read(target: Uint8Array, position: number): Promise<void> {
    let at = 0
    for (const [start, end] of this.#written) {
      if (position >= start && position < end) {
        const from = at + position - start
        const found = this.#bytes.subarray(from, Math.min(from + target.byteLength, at + end - start))
        if (found.byteLength === target.byteLength) return target.set(found)
        break
      }
      at += end - start
    }
    throw new StateError('UNUSABLE', 'the journal has fewer bytes of a file than it says')
  }

  async close(): Promise<void> {}
}

/** Puts the bytes where a person will look for them; without the base, which may be gone, there are holes. */
export async function keepContent(content: SavedContent, folder: string, target: string): Promise<void> {
  try {
    if (content.name !== null) await copyFile(join(folder, content.name), target, constants.COPYFILE_EXCL)
    const file = await open(target, content.name === null ? 'wx' : 'r+', 0o600)
    try {
      if (content.name === null) await writeOut(content, file)
      await file.truncate(content.size)
      await file.sync()
    } finally {
      await file.close()
    }
  } catch (error) {
    throw toStateError(error, target)
  }
}

async function writeOut(content: SavedContent, file: FileHandle): Promise<void> {
  const stored = new BytesInJournal(content)
  for (const [start, end] of content.written) {
    const bytes = new Uint8Array(end - start)
    await stored.read(bytes, start)
    await writeFully(file, bytes, start)
  }
}

/** To be called when the journal does not name the content any more. */
export async function removeStored({ name }: SavedContent, folder: string): Promise<void> {
  if (name !== null) await unlink(join(folder, name))
}

export async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
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
