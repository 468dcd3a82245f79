// Pages of memory for bytes that the storage does not have yet: this process's own, or pages of mapped files, whose bytes are
// there for the next process when this one is killed. Their content is undefined when they are taken.

import type { KeptFolder, KeptMemory, SessionLog } from '@ovfs/fuse-proto'

export const PAGE = 64 << 10

export interface StagingPage {
  readonly bytes: Uint8Array
  /** Names the page to the next process; -1 if it cannot have it. */
  readonly place: number
  /** Which may be lost, and the page's bytes with it. */
  readonly memory: Pick<KeptMemory, 'isLost'>
}

/** The next process can have the page. */
export function isKept(place: number): boolean {
  return place >= 0
}

export interface StagingPages {
  take(): StagingPage
  give(page: StagingPage): void
}

const OWN_MEMORY = { isLost: false } as const

export const OWN_PAGES: StagingPages = {
  take: () => ({ bytes: new Uint8Array(PAGE), place: -1, memory: OWN_MEMORY }),
  give: () => undefined,
}

const FILE_PAGES = 16

/**
 * Files grow in number and are not given back before the folder is. Where the host's disk has no room for one, or there is no
 * session that could go on, pages are memory of this process.
 */
export class KeptPages implements StagingPages {
  readonly #folder: KeptFolder
  readonly #files: KeptMemory[] = []
  readonly #free: StagingPage[] = []

  readonly #log: SessionLog

  constructor(folder: KeptFolder, log: SessionLog) {
    this.#folder = folder
    this.#log = log
  }

  take(): StagingPage {
    for (let page = this.#free.pop(); page !== undefined; page = this.#free.pop())
      if (!page.memory.isLost) return page
    if (!this.#log.isKept) return OWN_PAGES.take()
    let memory: KeptMemory
    try {
      memory = this.#folder.create(nameOf(this.#files.length), FILE_PAGES * PAGE)
    } catch (error) {
      this.#log.abandon(error as Error)
      return OWN_PAGES.take()
    }
    this.#add(memory, new Set())
    return this.#free.pop()!
  }

  give(page: StagingPage): void {
    if (isKept(page.place)) this.#free.push(page)
  }

  /** The pages that an earlier process has left at these places, by place; to be called before any is taken. */
  reopen(places: Iterable<number>): Map<number, StagingPage> {
    const wanted = new Set(places)
    const last = Math.max(-1, ...wanted)
    const found = new Map<number, StagingPage>()
    for (let file = 0; file * FILE_PAGES <= last; file++) {
      const memory = this.#folder.open(nameOf(file))
      if (memory === undefined || memory.buffer.byteLength !== FILE_PAGES * PAGE)
        throw new TypeError(`the staging file ${nameOf(file)} is not there, or is none of these`)
      for (const page of this.#add(memory, wanted)) found.set(page.place, page)
    }
    return found
  }

  /** Removes the files. No page of them is in use. */
  remove(): void {
    this.#free.length = 0
    for (const [file, memory] of this.#files.entries()) {
      memory.release()
      this.#folder.remove(nameOf(file))
    }
    this.#files.length = 0
  }

  /** Returns the pages that are in use. */
  #add(memory: KeptMemory, used: ReadonlySet<number>): StagingPage[] {
    const first = this.#files.length * FILE_PAGES
    this.#files.push(memory)
    const inUse: StagingPage[] = []
    for (let i = FILE_PAGES - 1; i >= 0; i--) {
      const page = { bytes: new Uint8Array(memory.buffer, i * PAGE, PAGE), place: first + i, memory }
      ;(used.has(page.place) ? inUse : this.#free).push(page)
    }
    return inUse
  }
}

function nameOf(file: number): string {
  return `pages-${file}`
}

/** The name of the file that a page lies in. */
export function fileOf({ place }: StagingPage): string {
  return nameOf(Math.floor(place / FILE_PAGES))
}
