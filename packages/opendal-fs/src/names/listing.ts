// What a directory holds, as one listing of the storage gave it and as changes made here have altered it since. Entries keep
// their places: a removed one leaves a gap, a new one goes to the end. So a place is a cookie that stays valid, and a reader
// in the middle neither loses nor repeats an untouched name.

import type { ListedObject, ObjectInfo, ObjectKind } from '../storage/storage.ts'

export interface ListingEntry {
  readonly name: string
  kind: ObjectKind
  /** Undefined if the listing had names only, or if the entry was changed since. */
  info: ObjectInfo | undefined
  /** The id kept for an inode that the guest has been shown by number only; 0 if none. */
  ino: number
  removed: boolean
  /** Set if the name only stands for what is there. */
  readonly shown: ShownSegment | undefined
}

/** See KeyNames.toShownName. */
export interface ShownSegment {
  readonly segment: string
  /** The directory, where there is a file of the same name too. */
  readonly isTwin: boolean
}

export interface SegmentNames {
  toName(segment: string): string | undefined
  spellings(name: string): readonly string[]
  toShownName(segment: string, isTwin: boolean): string | undefined
}

export class Listing {
  readonly entries: ListingEntry[] = []
  readonly #places = new Map<string, ListingEntry>()
  /** Until when the storage's part may be trusted, in milliseconds since the epoch. */
  until = 0
  /** Settles once the storage has answered; undefined after that. */
  loading: Promise<void> | undefined
  #loaded = false
  /** Told of each name that comes to the end. */
  onAppend: ((name: string) => void) | undefined

  /** The listing whose names were `begun` in another process, in their places, as `fresh` says what is left of them and new. */
  static continued(begun: readonly string[], fresh: Listing): Listing {
    const listing = new Listing()
    const places = new Map(fresh.entries.map(entry => [entry.name, entry]))
    for (const name of begun) {
      const entry = places.get(name)
      places.delete(name)
      listing.#keep(entry ?? { name, kind: 'file', info: undefined, ino: 0, removed: true, shown: undefined })
    }
    for (const entry of places.values()) listing.#keep(entry)
    listing.until = fresh.until
    listing.#loaded = true
    return listing
  }

  #keep(entry: ListingEntry): void {
    this.#places.set(entry.name, entry)
    this.entries.push(entry)
  }

  /** The storage's answer. Names that were added or removed here while it was under way stay as they are. */
  load(objects: Iterable<ListedObject>, names: SegmentNames): void {
    const byRank: [name: string, object: ListedObject][][] = []
    for (const object of objects) {
      const { segment, kind, info } = object
      const name = names.toName(segment)
      if (name === undefined) this.#loadShown(names, { segment, isTwin: false }, kind, info)
      else {
        const rank = names.spellings(name).indexOf(segment)
        byRank[rank] ??= []
        byRank[rank].push([
          name,
          rank === 0 || info === undefined ? object : { ...object, info: { ...info, segment } },
        ])
      }
    }
    // If several spellings of a name exist, the first one has the name, in whatever order they are listed.
    const owners = new Map<string, string>()
    const isAlone = byRank.length <= 1
    for (const spelled of byRank) {
      for (const [name, object] of spelled ?? []) {
        const { segment, kind, info } = object
        const owner = isAlone ? segment : (owners.get(name) ?? segment)
        if (!isAlone) owners.set(name, owner)
        if (owner === segment) this.#load(name, object, names)
        else this.#loadShown(names, { segment, isTwin: false }, kind, info)
      }
    }
    this.#loaded = true
  }

  #load(name: string, { segment, kind, info }: ListedObject, names: SegmentNames): void {
    const known = this.#places.get(name)
    if (known === undefined) this.#append(name, kind, info)
    // A file and a directory have the same name: lookups find the file.
    else if (
      !this.#loaded &&
      !known.removed &&
      known.kind === 'directory' &&
      kind === 'file' &&
      known.ino === 0
    ) {
      known.kind = kind
      known.info = info
      this.#loadShown(names, { segment, isTwin: true }, 'directory', undefined)
    } else if (!this.#loaded && known.kind === 'file' && kind === 'directory') {
      this.#loadShown(names, { segment, isTwin: true }, kind, undefined)
    }
  }

  #loadShown(names: SegmentNames, shown: ShownSegment, kind: ObjectKind, info: ObjectInfo | undefined): void {
    const name = names.toShownName(shown.segment, shown.isTwin)
    if (name === undefined || this.#places.has(name)) return
    this.#append(name, kind, info === undefined ? undefined : { ...info, segment: shown.segment }, shown)
  }

  get(name: string): ListingEntry | undefined {
    const entry = this.#places.get(name)
    return entry?.removed === true ? undefined : entry
  }

  add(name: string, kind: ObjectKind): void {
    const entry = this.#places.get(name)
    if (entry === undefined) {
      this.#append(name, kind, undefined)
      return
    }
    entry.kind = kind
    entry.info = undefined
    entry.ino = 0
    entry.removed = false
  }

  remove(name: string): void {
    const entry = this.#places.get(name)
    if (entry === undefined && this.#loaded) return
    if (entry === undefined) this.#append(name, 'file', undefined)
    const kept = this.#places.get(name)!
    kept.removed = true
    kept.info = undefined
    kept.ino = 0
  }

  #append(name: string, kind: ObjectKind, info: ObjectInfo | undefined, shown?: ShownSegment): void {
    this.#keep({ name, kind, info, ino: 0, removed: false, shown })
    this.onAppend?.(name)
  }
}
