// Writes the records of READDIR and READDIRPLUS into the writable part of a request. A record is a header, a name without
// NUL, and zeros up to a multiple of 8; it is written whole or not at all. Linux fails the whole listing with EIO for one
// bad name, so a bad name is refused here, where the handler that gave it can be found.

import { FUSE_NAME_MAX } from './constants.ts'
import type { DirentPlusSink } from './handler.ts'
import { encodeNameInto } from './names.ts'
import { FuseProtocolError } from './protocol-error.ts'
import { storeEntry, storeNumber } from './reply-encoding.ts'
import { NO_SPANS, Place, type Spans, scatter } from './spans.ts'
import { Dirent, EntryOut } from './structs.ts'

const D = Dirent.offsets
const SLASH = 0x2f

// Used within one call of one writer only, so all writers share them.
const nameBytes = new Uint8Array(FUSE_NAME_MAX)
const recordBytes = new Uint8Array(EntryOut.size + Dirent.size + FUSE_NAME_MAX)
const recordView = new DataView(recordBytes.buffer)

export class DirentWriter implements DirentPlusSink {
  readonly #place = new Place()
  #spans: Spans = NO_SPANS
  #position = 0
  #limit = 0
  #plus = false
  /** Bytes of records so far. */
  length = 0
  /** The first entry of all did not fit, so that an empty reply would falsely mean the end. */
  overflowed = false

  attach(spans: Spans, position: number, limit: number, plus: boolean): void {
    this.#spans = spans
    this.#position = position
    this.#limit = limit
    this.#plus = plus
    this.length = 0
    this.overflowed = false
  }

  detach(): void {
    this.#spans = NO_SPANS
    this.#limit = 0
    this.length = 0
  }

  add(name: string, ino: number, type: number, next: number): boolean {
    return this.#append(name, undefined, ino, type, next)
  }

  addEntry(name: string, entry: EntryOut, next: number): boolean {
    return this.#append(name, entry, entry.attr.ino, (entry.attr.mode >>> 12) & 0xf, next)
  }

  #append(name: string, entry: EntryOut | undefined, ino: number, type: number, next: number): boolean {
    const nameLength = encodeEntryName(name)
    const head = this.#plus ? EntryOut.size : 0
    const size = head + Dirent.size + nameLength
    const padded = (size + 7) & ~7
    if (this.length + padded > this.#limit || this.#spans.count === 0) {
      if (this.length === 0) this.overflowed = true
      return false
    }
    const at = this.#position + this.length
    const place = this.#place
    const direct = place.find(this.#spans, at, padded)
    if (!direct) place.set(recordView, recordBytes, 0)
    const { view, bytes, offset } = place
    if (this.#plus) {
      if (entry) storeEntry(view, offset, entry)
      // Node id 0: a plain entry, without attributes and without a lookup count.
      else bytes.fill(0, offset, offset + head)
    }
    const dirent = offset + head
    storeNumber(view, dirent + D.ino, ino)
    storeNumber(view, dirent + D.off, next)
    view.setUint32(dirent + D.namelen, nameLength, true)
    view.setUint32(dirent + D.type, type, true)
    const nameAt = dirent + Dirent.size
    for (let i = 0; i < nameLength; i++) bytes[nameAt + i] = nameBytes[i] as number
    for (let i = size; i < padded; i++) bytes[offset + i] = 0
    if (!direct) scatter(this.#spans, at, bytes, 0, padded)
    this.length += padded
    return true
  }
}

/** Encodes the name into `nameBytes`; returns its length. */
function encodeEntryName(name: string): number {
  const length = encodeNameInto(name, nameBytes, 0)
  if (length <= 0) throw badName(length === 0 ? 'is empty' : `exceeds ${FUSE_NAME_MAX} bytes`)
  for (let i = 0; i < length; i++) {
    if (nameBytes[i] === SLASH || nameBytes[i] === 0) throw badName('holds a slash or NUL')
  }
  return length
}

function badName(what: string): FuseProtocolError {
  return new FuseProtocolError('BAD_NAME', `a name ${what}`, {
    struct: Dirent.cName,
    offset: Dirent.size,
    errno: 'EIO',
  })
}
