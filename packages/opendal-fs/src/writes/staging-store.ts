// Bytes that a guest has written and the storage does not have yet, by file offset. In memory while the budget that all files
// share lasts, then in a sparse file on the host: unlinked while open so that nothing is left behind, or kept by its name for the
// next process. Which of the bytes mean anything is for the owner to know (a RangeSet): the rest is undefined.

import { constants } from 'node:fs'
import { type FileHandle, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Errno, type ErrnoName, FsError, type RequestData } from '@ovfs/fuse-proto'
import type { ByteSink } from '../files/block-cache.ts'
import { OwnData } from '../files/gathered.ts'
import type { PlaceRecord, StagingPlace } from './dirty-record.ts'
import { BUFFER, type StagingBudget } from './staging-budget.ts'
import { fileOf, PAGE, type StagingPage } from './staging-pages.ts'

export class StagingStore {
  readonly #budget: StagingBudget
  readonly #record: PlaceRecord | undefined
  #pages: Map<number, StagingPage> | undefined = new Map()
  /** Of a file that keeps its name. */
  #fileName: string | undefined
  #spilling: Promise<FileHandle> | undefined
  #file: FileHandle | undefined
  /** The pieces of the file, of the size of a buffer each, that take room on the disk. */
  readonly #pieces = new Set<number>()
  #busy = 0
  /** Everything in the file from here on means nothing and is to be cut off. */
  #garbage = Number.POSITIVE_INFINITY
  #cutting: Promise<void> | undefined
  #closed = false
  #toldOfLoss = false

  constructor(budget: StagingBudget, record?: PlaceRecord) {
    this.#budget = budget
    this.#record = record
  }

  /** Takes over what an earlier process has left. Nothing has been written here yet. Throws TypeError if a page is missing. */
  async resume(
    pages: ReadonlyMap<number, StagingPage>,
    fileName: string | undefined,
    written: Iterable<readonly [start: number, end: number]>,
  ): Promise<void> {
    if (fileName === undefined) {
      for (const [start, end] of written) requirePages(pages, start, end)
      this.#pages = new Map(pages)
      this.#budget.used += pages.size * PAGE
      return
    }
    this.#pages = undefined
    this.#fileName = fileName
    this.#file = await open(join(this.#budget.directory, fileName), constants.O_RDWR | constants.O_NOFOLLOW)
    for (const [start, end] of written) {
      for (let piece = Math.floor(start / BUFFER); piece * BUFFER < end; piece++) this.#pieces.add(piece)
    }
    this.#budget.diskUsed += this.#pieces.size * BUFFER
  }

  get place(): StagingPlace {
    return {
      pages: Array.from(this.#pages ?? [], ([index, page]) => [index, page.place] as const),
      file: this.#fileName,
    }
  }

  /** True while everything can be read and written at once. */
  get inMemory(): boolean {
    return this.#pages !== undefined && this.#spilling === undefined
  }

  /** Takes all of the data, at once or once the host's disk has it; fails with EIO if the guest took it away meanwhile. */
  write(offset: number, data: RequestData): undefined | Promise<void> {
    const { byteLength } = data
    if (this.inMemory && this.#reserve(offset, byteLength)) {
      for (let done = 0; done < byteLength; ) {
        const page = this.#pages!.get(Math.floor((offset + done) / PAGE))!
        const within = (offset + done) % PAGE
        const length = Math.min(PAGE - within, byteLength - done)
        data.copyTo(page.bytes, within, done, length)
        this.#requireKept(page)
        done += length
      }
      return undefined
    }
    return this.#budget.withBuffer(byteLength, async copy => {
      // At once: the guest may take its data away later.
      if (data.copyTo(copy) !== byteLength) throw new FsError('EIO', 'the guest took its data away')
      await this.#writeFile(offset, copy)
    })
  }

  /** As `write`, for bytes of the host's own; the buffer must not change before it settles. */
  put(offset: number, bytes: Uint8Array): undefined | Promise<void> {
    return this.write(offset, new OwnData(bytes))
  }

  /** Writes [offset, end) to `out` if that needs no waiting. Throws EIO if the bytes are gone. */
  readNow(offset: number, end: number, out: ByteSink): boolean {
    const pages = this.#pages
    if (pages === undefined) return false
    for (let at = offset; at < end; ) {
      const within = at % PAGE
      const length = Math.min(PAGE - within, end - at)
      const page = pages.get(Math.floor(at / PAGE))!
      out.write(page.bytes, within, length)
      this.#requireKept(page)
      at += length
    }
    return true
  }

  async read(offset: number, end: number, out: ByteSink): Promise<void> {
    if (this.readNow(offset, end, out)) return
    for (let at = offset; at < end; at += BUFFER) {
      await this.#budget.withBuffer(Math.min(BUFFER, end - at), async bytes => {
        await this.#readFile(at, bytes)
        out.write(bytes)
      })
    }
  }

  async #readFile(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#withFile(async file => {
      for (let done = 0; done < bytes.byteLength; ) {
        const { bytesRead } = await file.read(bytes, done, bytes.byteLength - done, offset + done)
        if (bytesRead === 0) throw this.#lost(this.#fileName ?? 'of this process')
        done += bytesRead
      }
    })
  }

  /** To be called after the page was touched: it may have been zeros. */
  #requireKept(page: StagingPage): void {
    if (page.memory.isLost) throw this.#lost(fileOf(page))
  }

  #lost(file: string): FsError {
    const message = `what a guest has written is lost: somebody has shortened the staging file ${file}`
    const error = new FsError('EIO', message)
    if (!this.#toldOfLoss) this.#budget.onLost(error)
    this.#toldOfLoss = true
    return error
  }

  /**
   * The bytes of [start, end) mean nothing any more: gives back the memory of whole pages, and of a file what lies behind `start`
   * if `end` is infinite. Node cannot punch holes: until the file is closed, what is dropped in the middle takes its room.
   */
  drop(start: number, end: number): void {
    if (this.#pages === undefined || this.#spilling !== undefined) {
      if (end === Number.POSITIVE_INFINITY) this.#garbage = Math.min(this.#garbage, start)
      this.#cutOff()
      return
    }
    const pages = this.#pages
    const first = Math.ceil(start / PAGE)
    const after = Math.floor(end / PAGE)
    const dropped = after - first < pages.size ? integers(first, after) : [...pages.keys()]
    for (const index of dropped) {
      const page = index >= first && index < after ? pages.get(index) : undefined
      if (page === undefined) continue
      pages.delete(index)
      this.#give(page)
    }
  }

  /** Once nothing is under way: a write that was begun before the cut must not end after it. */
  #cutOff(): void {
    const file = this.#file
    if (file === undefined || this.#busy > 0 || this.#closed || this.#garbage === Number.POSITIVE_INFINITY)
      return
    const end = this.#garbage
    this.#garbage = Number.POSITIVE_INFINITY
    this.#busy++
    this.#cutting = file
      .truncate(end)
      .then(
        () => this.#freeDisk(Math.ceil(end / BUFFER)),
        // The room stays taken, and counted, until the file is closed.
        () => undefined,
      )
      .finally(() => {
        this.#cutting = undefined
        this.#ended()
      })
  }

  /** Gives back memory and disk, once what is under way is done. */
  close(): void {
    this.#closed = true
    this.#freePages()
    this.#closeFile()
  }

  #reserve(offset: number, length: number): boolean {
    if (length === 0) return true
    const pages = this.#pages!
    const first = Math.floor(offset / PAGE)
    const last = Math.floor((offset + length - 1) / PAGE)
    let missing = 0
    for (let i = first; i <= last; i++) if (!pages.has(i)) missing++
    if (missing > 0 && this.#budget.used + missing * PAGE > this.#budget.limit) return false
    for (let i = first; missing > 0 && i <= last; i++) {
      if (pages.has(i)) continue
      const page = this.#budget.pages.take()
      this.#budget.used += PAGE
      pages.set(i, page)
      this.#record?.page(i, page)
      missing--
    }
    return true
  }

  #give(page: StagingPage): void {
    this.#budget.used -= PAGE
    this.#budget.pages.give(page)
  }

  #writeFile(offset: number, bytes: Uint8Array): Promise<void> {
    const end = offset + bytes.byteLength
    return this.#withFile(async file => {
      this.#reserveDisk(offset, bytes.byteLength)
      for (let done = 0; done < bytes.byteLength; ) {
        const { bytesWritten } = await file.write(bytes, done, bytes.byteLength - done, offset + done)
        done += bytesWritten
      }
      // Also if the file was cut while they were on their way: they came after that.
      this.#garbage = Math.max(this.#garbage, end)
    })
  }

  async #withFile(task: (file: FileHandle) => Promise<void>): Promise<void> {
    this.#busy++
    try {
      const file = this.#file ?? (await this.#spill())
      await this.#cutting
      await task(file)
    } catch (error) {
      throw toFsError(error)
    } finally {
      this.#ended()
    }
  }

  #ended(): void {
    this.#busy--
    if (this.#closed) this.#closeFile()
    else this.#cutOff()
  }

  /** Moves the pages to a file; until it is done they can still be read, and writes wait. */
  #spill(): Promise<FileHandle> {
    this.#spilling ??= this.#moveToFile().catch(error => {
      this.#spilling = undefined
      throw error
    })
    return this.#spilling
  }

  async #moveToFile(): Promise<FileHandle> {
    const name = `ovfs-${crypto.randomUUID()}`
    const path = join(this.#budget.directory, name)
    const file = await open(
      path,
      constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
      0o600,
    )
    try {
      if (!this.#budget.keepsFiles) await unlink(path)
      for (const [index, page] of this.#pages ?? []) {
        this.#reserveDisk(index * PAGE, PAGE)
        // The kernel would call a page that is not there a wrong address.
        this.#requireKept(page)
        for (let done = 0; done < PAGE; ) {
          done += (await file.write(page.bytes, done, PAGE - done, index * PAGE + done)).bytesWritten
        }
        this.#requireKept(page)
      }
    } catch (error) {
      this.#freeDisk()
      await file.close()
      if (this.#budget.keepsFiles) await unlink(path)
      throw error
    }
    this.#file = file
    if (this.#budget.keepsFiles) this.#fileName = name
    const pages = this.#pages
    this.#pages = undefined
    this.#record?.spilled()
    for (const page of pages?.values() ?? []) this.#give(page)
    return file
  }

  #reserveDisk(offset: number, length: number): void {
    for (let piece = Math.floor(offset / BUFFER); piece * BUFFER < offset + length; piece++) {
      if (this.#pieces.has(piece)) continue
      if (this.#budget.diskUsed + BUFFER > this.#budget.diskLimit)
        throw new FsError('ENOSPC', 'staging is full')
      this.#pieces.add(piece)
      this.#budget.diskUsed += BUFFER
    }
  }

  /** @param first of the pieces that are free; all if it is not given */
  #freeDisk(first = 0): void {
    for (const piece of this.#pieces) {
      if (piece >= first && this.#pieces.delete(piece)) this.#budget.diskUsed -= BUFFER
    }
  }

  #freePages(): void {
    for (const page of this.#pages?.values() ?? []) this.#give(page)
    this.#pages = undefined
  }

  #closeFile(): void {
    const file = this.#file
    if (file === undefined || this.#busy > 0) return
    this.#file = undefined
    this.#freeDisk()
    // Nobody reads it any more: what fails loses nothing, and a name that stays is swept away at the next start.
    file.close().catch(() => undefined)
    if (this.#fileName !== undefined)
      unlink(join(this.#budget.directory, this.#fileName)).catch(() => undefined)
  }
}

function requirePages(pages: ReadonlyMap<number, StagingPage>, start: number, end: number): void {
  for (let index = Math.floor(start / PAGE); index * PAGE < end; index++)
    if (!pages.has(index)) throw new TypeError(`page ${index} of what was written is missing`)
}

function* integers(first: number, after: number): Generator<number> {
  for (let i = first; i < after; i++) yield i
}

function toFsError(error: unknown): Error {
  const code = (error as NodeJS.ErrnoException).code
  if (error instanceof FsError || code === undefined || !Object.hasOwn(Errno, code)) return error as Error
  return new FsError(code as ErrnoName, `staging: ${(error as Error).message}`, { cause: error })
}
