// Entries that survive a kill at any moment: a map kept as an append-only log. A commit is acknowledged once the disk has it;
// commits that wait together share one write and one sync. When the log has grown far beyond what it says, it is written
// anew. A log that could not be written is not appended to again: the next commit begins a new one, from the entries.

import { type FileHandle, open, readdir, readFile, rename, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type Change,
  decodeRecords,
  encodeHeader,
  encodeRecord,
  HEADER_BYTES,
  hasHeader,
} from './journal-record.ts'
import { StateError, toStateError } from './state-error.ts'

export interface JournalOptions {
  /** A log shorter than this is not worth rewriting, in bytes; default 1 MiB. */
  readonly compactAbove?: number
}

interface Waiting {
  readonly changes: readonly Change[]
  /** True of what cannot be undone: it counts though the disk did not take it. */
  readonly stays: boolean
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

const NAME = /^journal-(\d{8})$/
/** How much longer the log may be than its entries written once. */
const SLACK = 4

export class Journal {
  /** Bytes at the end of the log that were no whole record, and were cut. */
  readonly cut: number
  readonly #folder: string
  readonly #compactAbove: number
  readonly #entries: Map<string, unknown>
  readonly #waiting: Waiting[] = []
  #number: number
  #file: FileHandle | undefined
  /** Where the next record goes. */
  #end: number
  #path: string | undefined
  #rewriteAbove: number
  #writing: Promise<void> | undefined
  /** Something was concluded that the disk does not have. */
  #behind = false
  #closed = false

  private constructor(folder: string, options: JournalOptions, found: Found) {
    this.#folder = folder
    this.#compactAbove = options.compactAbove ?? 1 << 20
    this.#number = found.number
    this.#file = found.file
    this.#end = found.end
    this.#path = found.number === 0 ? undefined : join(folder, nameOf(found.number))
    this.#rewriteAbove = this.#compactAbove
    this.#entries = found.entries
    this.cut = found.cut
  }

  /**
   * Reads the log in `folder`, or begins one. The caller holds the folder's lock.
   * @throws StateError
   */
  static async open(folder: string, options: JournalOptions = {}): Promise<Journal> {
    try {
      const journal = new Journal(folder, options, await find(folder))
      if (journal.#file === undefined) await journal.#rewrite()
      return journal
    } catch (error) {
      throw toStateError(error, folder)
    }
  }

  /** What the disk has, and what was concluded without it. */
  get entries(): ReadonlyMap<string, unknown> {
    return this.#entries
  }

  /** True while the disk lacks something that was concluded. */
  get behind(): boolean {
    return this.#behind
  }

  /** Bytes of the log. */
  get size(): number {
    return this.#end
  }

  /**
   * Settles when all the changes are on the disk; if it rejects, none has happened. Commits happen in the order of the calls.
   * @throws StateError
   */
  commit(changes: readonly Change[]): Promise<void> {
    return this.#enqueue(changes, false)
  }

  #enqueue(changes: readonly Change[], stays: boolean): Promise<void> {
    if (this.#closed) return Promise.reject(new StateError('UNUSABLE', 'the journal is closed'))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ changes, stays, resolve, reject })
      this.#writing ??= this.#writeAll()
    })
  }

  /**
   * The same for what is true already, whatever the disk takes: changes that it does not have yet come with the next commit
   * that succeeds. Never rejects.
   * @returns why the disk does not have them
   */
  async conclude(changes: readonly Change[]): Promise<StateError | undefined> {
    if (changes.length === 0) return undefined
    try {
      await this.#enqueue(changes, true)
      return undefined
    } catch (error) {
      return toStateError(error, this.#folder)
    }
  }

  /** Waits for the commits under way; later ones are refused. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#writing
    await this.#file?.close()
    this.#file = undefined
  }

  async #writeAll(): Promise<void> {
    // What is committed in one turn goes in one write.
    await undefined
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0)
      try {
        await this.#append(batch.map(({ changes }) => encodeRecord(changes)))
      } catch (error) {
        await this.#failed(batch, toStateError(error, this.#folder))
        continue
      }
      for (const { changes, resolve } of batch) {
        apply(this.#entries, changes)
        resolve()
      }
    }
    // In the same turn in which the queue was seen empty, so that no commit finds a writer that has stopped.
    this.#writing = undefined
  }

  async #failed(batch: readonly Waiting[], error: StateError): Promise<void> {
    const concluded = batch.filter(({ stays }) => stays)
    for (const { changes } of concluded) apply(this.#entries, changes)
    this.#behind ||= concluded.length > 0
    if (this.#behind && this.#entries.size === 0) await this.#cutAll()
    for (const { stays, resolve, reject } of batch) {
      if (stays && !this.#behind) resolve()
      else reject(error)
    }
  }

  /** A log that says nothing needs no room: the one that failed is cut to its header. */
  async #cutAll(): Promise<void> {
    if (this.#path === undefined) return
    try {
      this.#file = await open(this.#path, 'r+')
      await this.#file.truncate(HEADER_BYTES)
      await this.#file.datasync()
      this.#end = HEADER_BYTES
      this.#behind = false
    } catch {
      // The error to report is the one that was there first.
      await this.#abandon()
    }
  }

  async #append(records: Uint8Array[]): Promise<void> {
    const file = await this.#roomyFile()
    const bytes = Buffer.concat(records)
    try {
      await writeFully(file, bytes, this.#end)
      await file.datasync()
    } catch (error) {
      await this.#giveUp(file)
      throw error
    }
    this.#end += bytes.byteLength
  }

  async #roomyFile(): Promise<FileHandle> {
    if (this.#file === undefined) return this.#rewrite()
    if (this.#end <= this.#rewriteAbove) return this.#file
    try {
      return await this.#rewrite()
    } catch (error) {
      // A disk without room for a second log may still have some for a record.
      if (this.#file === undefined) throw error
      this.#rewriteAbove = SLACK * this.#end
      return this.#file
    }
  }

  /** After a failed write or sync nobody knows what the disk has beyond the last good record: it is cut as far as possible. */
  async #giveUp(file: FileHandle): Promise<void> {
    // The error to report is the one that was there first; the entries of a log that cannot be cut are written anew.
    await file.truncate(this.#end).catch(ignore)
    await this.#abandon()
  }

  /** Begins a new log with the entries of the old one, which it then replaces. */
  async #rewrite(): Promise<FileHandle> {
    const path = join(this.#folder, nameOf(++this.#number))
    const temporary = `${path}.new`
    const bytes = Buffer.concat([
      encodeHeader(),
      ...Array.from(this.#entries, ([key, value]) => encodeRecord([{ key, value }])),
    ])
    const file = await open(temporary, 'w+', 0o600)
    let named = false
    try {
      await writeFully(file, bytes, 0)
      await file.sync()
      await rename(temporary, path)
      named = true
      await syncFolder(this.#folder)
    } catch (error) {
      await file.close().catch(ignore)
      await unlink(named ? path : temporary).catch(ignore)
      // The new log may be the one that counts now: the old one is not touched any more.
      if (named) {
        await this.#abandon()
        this.#path = undefined
      }
      throw error
    }
    const old = this.#path
    await this.#abandon()
    this.#file = file
    this.#path = path
    this.#end = bytes.byteLength
    this.#behind = false
    this.#rewriteAbove = Math.max(this.#compactAbove, SLACK * bytes.byteLength)
    // A leftover is not read: the highest number counts.
    if (old !== undefined) await unlink(old).catch(ignore)
    return file
  }

  async #abandon(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close().catch(ignore)
  }
}

/** Makes the names in a folder last. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

interface Found {
  readonly number: number
  readonly file: FileHandle | undefined
  readonly end: number
  readonly entries: Map<string, unknown>
  readonly cut: number
}

async function find(folder: string): Promise<Found> {
  const entries = new Map<string, unknown>()
  const numbers = (await readdir(folder))
    .map(name => Number(NAME.exec(name)?.[1] ?? Number.NaN))
    .filter(Number.isSafeInteger)
    .sort((a, b) => a - b)
  const number = numbers.pop()
  if (number === undefined) return { number: 0, file: undefined, end: 0, entries, cut: 0 }
  // A new log is complete before it gets its name: what is left of older ones says nothing more.
  for (const older of numbers) await unlink(join(folder, nameOf(older)))
  const path = join(folder, nameOf(number))
  const bytes = await readFile(path)
  if (!hasHeader(bytes)) {
    throw new StateError('FOREIGN', `${path} is no journal of this version of ovfs`)
  }
  const { changes, end } = decodeRecords(bytes)
  for (const record of changes) apply(entries, record)
  const file = await open(path, 'r+')
  if (end < bytes.byteLength) {
    try {
      await file.truncate(end)
      await file.sync()
    } catch (error) {
      await file.close()
      throw error
    }
  }
  return { number, file, end, entries, cut: bytes.byteLength - end }
}

function apply(entries: Map<string, unknown>, changes: readonly Change[]): void {
  for (const { key, value } of changes) {
    if (value === undefined) entries.delete(key)
    else entries.set(key, value)
  }
}

async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    done += (await file.write(bytes, done, bytes.byteLength - done, position + done)).bytesWritten
  }
}

function nameOf(number: number): string {
  return `journal-${String(number).padStart(8, '0')}`
}

function ignore(): void {}
