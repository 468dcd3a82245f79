// Clean bytes of files in memory, under one ceiling. What one storage read brought is one extent; each granule (16 KiB) of a
// file points to the extent that covers it, so a random read brings little and a sequential one is copied in long runs.
// Extents are registered before their bytes arrive: concurrent readers of a place share one fetch. Eviction is second-chance.

/** The smallest unit that is fetched and remembered, in bytes. */
export const GRANULE = 16 << 10
/** The largest single fetch, in bytes; also where fetches are aligned. */
export const EXTENT = 1 << 20

/** Where bytes go; the part of a READ reply that this layer needs. */
export interface ByteSink {
  write(source: Uint8Array, offset?: number, length?: number): number
}

/** One version of one file. When the file changes a new one takes its place, so no read mixes two versions. */
export class Content {
  readonly size: number
  /** The version by the service's name, if it has one. A rename may change it, though not a byte. */
  etag: string | undefined
  readonly fetch: (content: Content, offset: number, length: number) => Promise<Uint8Array>
  readonly extents = new Map<number, Extent>()
  /** The bytes belong to a version that is no longer: nothing of it is kept. */
  discarded = false

  /** @param fetch reads a range that lies within the size; must fail if the file is another version by now */
  constructor(
    size: number,
    etag: string | undefined,
    fetch: (content: Content, offset: number, length: number) => Promise<Uint8Array>,
  ) {
    this.size = size
    this.etag = etag
    this.fetch = fetch
  }
}

export class Extent {
  readonly content: Content
  readonly start: number
  readonly end: number
  /** Undefined until the fetch is done. */
  bytes: Uint8Array | undefined
  arrival: Promise<Uint8Array>
  used = false
  newer: Extent | undefined
  older: Extent | undefined

  constructor(content: Content, start: number, end: number, arrival: Promise<Uint8Array>) {
    this.content = content
    this.start = start
    this.end = end
    this.arrival = arrival
  }
}

export class BlockCache {
  readonly limit: number
  #bytes = 0
  #arriving = 0
  #waiting: (() => void)[] = []
  #oldest: Extent | undefined
  #newest: Extent | undefined

  /** @param limit bytes; fetches under way count, and demanded ones wait when they would fill half of it */
  constructor(limit: number) {
    this.limit = limit
  }

  /** Bytes held or being fetched. */
  get bytes(): number {
    return this.#bytes
  }

  /** Writes [offset, end) to `out` and returns true, or writes nothing and returns false if any of it is not here. */
  readNow(content: Content, offset: number, end: number, out: ByteSink): boolean {
    const first = content.extents.get(Math.floor(offset / GRANULE))
    if (first === undefined || first.bytes === undefined) return false
    if (end <= first.end) {
      first.used = true
      out.write(first.bytes, offset - first.start, end - offset)
      return true
    }
    for (let at = first.end; at < end; ) {
      const extent = content.extents.get(Math.floor(at / GRANULE))
      if (extent === undefined || extent.bytes === undefined) return false
      at = extent.end
    }
    for (let at = offset; at < end; ) {
      const extent = content.extents.get(Math.floor(at / GRANULE))!
      const until = Math.min(end, extent.end)
      extent.used = true
      out.write(extent.bytes!, at - extent.start, until - at)
      at = until
    }
    return true
  }

  /** Writes [offset, end) to `out`, fetching what is missing, all of it at once. */
  async read(content: Content, offset: number, end: number, out: ByteSink): Promise<void> {
    while (this.#arriving > 0 && this.#arriving + (end - offset) > this.limit / 2) {
      await new Promise<void>(wake => this.#waiting.push(wake))
    }
    // Holding the extents keeps their bytes even if they are evicted before the last one has arrived.
    const extents: Extent[] = []
    this.request(content, offset, end, extents)
    for (const extent of extents) {
      // The read that brings an extent is no sign that it will be wanted again.
      if (extent.bytes !== undefined) extent.used = true
      const bytes = extent.bytes ?? (await extent.arrival)
      const from = Math.max(offset, extent.start)
      const until = Math.min(end, extent.end)
      out.write(bytes, from - extent.start, until - from)
    }
  }

  /** Starts the fetches that [offset, end) lacks; `extents`, if given, receives all that cover it, in order. */
  request(content: Content, offset: number, end: number, extents?: Extent[]): void {
    const limit = Math.min(end, content.size)
    for (let at = offset; at < limit; ) {
      const present = content.extents.get(Math.floor(at / GRANULE))
      if (present !== undefined) {
        extents?.push(present)
        at = present.end
        continue
      }
      const start = at - (at % GRANULE)
      const extent = this.#fetch(content, start, this.#gapEnd(content, start, limit))
      extents?.push(extent)
      at = extent.end
    }
  }

  /** True if all of [offset, end) is here or on its way. */
  covers(content: Content, offset: number, end: number): boolean {
    const limit = Math.min(end, content.size)
    for (let at = offset; at < limit; ) {
      const present = content.extents.get(Math.floor(at / GRANULE))
      if (present === undefined) return false
      at = present.end
    }
    return true
  }

  /** Remembers bytes that are known to be the content's, from its start. The cache owns the buffer from now on. */
  seed(content: Content, bytes: Uint8Array): void {
    if (bytes.byteLength === 0 || bytes.byteLength > this.limit / 4) return
    const extent = new Extent(content, 0, bytes.byteLength, Promise.resolve(bytes))
    extent.bytes = bytes
    this.#register(extent)
    if (isRegistered(extent)) this.#append(extent)
  }

  /** Forgets all bytes of a version. */
  discard(content: Content): void {
    content.discarded = true
    for (const extent of new Set(content.extents.values())) {
      this.#unregister(extent)
      if (extent.bytes !== undefined) this.#detach(extent)
    }
  }

  /** Room for read-ahead: bytes that may be fetched without pushing demanded ones aside. */
  get spare(): number {
    return Math.max(0, this.limit / 4 - this.#arriving)
  }

  /** The end of the gap that begins at `start`: at most to `limit` rounded up to a granule, and to the next aligned extent. */
  #gapEnd(content: Content, start: number, limit: number): number {
    const most = Math.min(start - (start % EXTENT) + EXTENT, content.size)
    let end = start
    while (end < most && (end < limit || end === start)) {
      if (content.extents.has(end / GRANULE)) break
      end += GRANULE
    }
    return Math.min(end, content.size)
  }

  #fetch(content: Content, start: number, end: number): Extent {
    const arrival = content.fetch(content, start, end - start)
    const extent = new Extent(content, start, end, arrival)
    this.#register(extent)
    this.#arriving += end - start
    arrival.then(
      bytes => {
        extent.bytes = bytes
        this.#arrived(extent)
        if (isRegistered(extent)) this.#append(extent)
      },
      () => {
        // Readers of this extent get the error from `arrival`; if it was read-ahead, the next reader fetches again.
        this.#arrived(extent)
        this.#unregister(extent)
      },
    )
    return extent
  }

  #arrived(extent: Extent): void {
    this.#arriving -= extent.end - extent.start
    const waiting = this.#waiting
    this.#waiting = []
    for (const wake of waiting) wake()
  }

  #register(extent: Extent): void {
    if (extent.content.discarded) return
    const size = extent.end - extent.start
    this.#makeRoom(size)
    for (let at = extent.start; at < extent.end; at += GRANULE)
      extent.content.extents.set(at / GRANULE, extent)
    this.#bytes += size
  }

  #unregister(extent: Extent): void {
    if (!isRegistered(extent)) return
    const { extents } = extent.content
    for (let at = extent.start; at < extent.end; at += GRANULE) extents.delete(at / GRANULE)
    this.#bytes -= extent.end - extent.start
  }

  #makeRoom(size: number): void {
    while (this.#bytes + size > this.limit && this.#oldest !== undefined) {
      const extent = this.#oldest
      this.#detach(extent)
      if (extent.used) {
        extent.used = false
        this.#append(extent)
      } else {
        this.#unregister(extent)
      }
    }
  }

  #append(extent: Extent): void {
    extent.older = this.#newest
    extent.newer = undefined
    if (this.#newest === undefined) this.#oldest = extent
    else this.#newest.newer = extent
    this.#newest = extent
  }

  #detach(extent: Extent): void {
    if (extent.older === undefined) this.#oldest = extent.newer
    else extent.older.newer = extent.newer
    if (extent.newer === undefined) this.#newest = extent.older
    else extent.newer.older = extent.older
    extent.older = undefined
    extent.newer = undefined
  }
}

function isRegistered(extent: Extent): boolean {
  return extent.content.extents.get(extent.start / GRANULE) === extent
}
