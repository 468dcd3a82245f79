// One request while it is being served: its header, where its arguments lie, and the way its reply is written. Objects are
// pooled; a handler sees one as its RequestContext. Every field of the guest's memory is read once; arguments are read in
// place when they lie in one span, as Linux sends them, and from a private copy otherwise.

import { DirentWriter } from './dirent-writer.ts'
import { type ErrnoName, FsError } from './errno.ts'
import { decodeExtensions, NO_EXTENSIONS, type RequestExtensions } from './extensions.ts'
import { ReadData, WriteData } from './guest-data.ts'
import type { FileHandle, NodeId, RequestContext } from './handler.ts'
import { FuseProtocolError, tooLarge, truncated, wrongLength } from './protocol-error.ts'
import { type FuseMessage, NO_SESSION, type RequestWorkspace, type Session } from './request-workspace.ts'
import { secondsOf } from './seconds.ts'
import { gather, NO_SPANS, Place, type Spans, scatter } from './spans.ts'
import { InHeader, OutHeader } from './structs.ts'
import { ExtHeader } from './structs-extended.ts'
import { joinWords } from './words.ts'

const H = InHeader.offsets
const O = OutHeader.offsets

export class Request implements RequestContext {
  readonly #workspace: RequestWorkspace
  readonly #place = new Place()
  #replyInPlace = false
  message: FuseMessage | undefined
  readable: Spans = NO_SPANS
  writable: Spans = NO_SPANS
  /** The session that the request belongs to. */
  session: Session = NO_SESSION

  opcode = 0
  node = 0 as NodeId
  uid = 0
  gid = 0
  pid = 0
  umask = 0
  /** Bytes of the request as its header says, extensions excluded. */
  end = 0
  #uniqueLow = 0
  #uniqueHigh = 0
  #extensions = 0
  /** The name decoded last, for reports. */
  name: string | undefined
  /** Bytes that the guest asked for at most, for replies that are made after the arguments have gone. */
  limit = 0
  /** A copy of the head of the request and the time it came, when messages are traced. */
  traced: Uint8Array | undefined = undefined
  startedAt = 0

  /** Where the arguments are, once located: bytes [start, stop) of `view` and `bytes`. */
  #view: DataView
  #bytes: Uint8Array
  #start = 0
  #stop = 0
  /** Start of the next name or value. */
  #next = 0

  #data: WriteData | undefined = undefined
  #out: ReadData | undefined = undefined
  #dirents: DirentWriter | undefined = undefined
  /** One of the three holds guest memory. */
  #bulk = false

  constructor(workspace: RequestWorkspace) {
    this.#workspace = workspace
    this.#view = workspace.argumentView
    this.#bytes = workspace.argumentBytes
  }

  /** Names the request among those of its guest; -1 if it is above 2^53-1. */
  get unique(): number {
    return joinWords(this.#uniqueLow, this.#uniqueHigh)
  }

  /** Takes a message; false if it is too short to hold a header. */
  begin(message: FuseMessage): boolean {
    const readable = message.readable
    this.message = message
    this.readable = readable
    this.writable = message.writable
    this.name = undefined
    let view = readable.views[0] as DataView
    let at = readable.offsets[0] as number
    if (readable.count === 0 || (readable.lengths[0] as number) < InHeader.size) {
      const { header, headerBytes } = this.#workspace
      if (gather(readable, 0, headerBytes, 0, InHeader.size) < InHeader.size) return false
      view = header
      at = 0
    }
    const len = view.getUint32(at + H.len, true)
    this.opcode = view.getUint32(at + H.opcode, true)
    this.#uniqueLow = view.getUint32(at + H.unique, true)
    this.#uniqueHigh = view.getUint32(at + H.unique + 4, true)
    // A node id above 2^53-1 was never given out; -1 marks it, and `admit` refuses it.
    this.node = joinWords(
      view.getUint32(at + H.nodeid, true),
      view.getUint32(at + H.nodeid + 4, true),
    ) as NodeId
    this.uid = view.getUint32(at + H.uid, true)
    this.gid = view.getUint32(at + H.gid, true)
    this.pid = view.getUint32(at + H.pid, true)
    this.end = len
    this.umask = 0
    this.#extensions = view.getUint16(at + H.totalExtlen, true) * 8
    return true
  }

  /**
   * Checks the lengths of the header against the bytes that are there, and finds the arguments: `fixed` bytes of them,
   * or the whole rest of the request, extensions excluded, if names follow. Throws FuseProtocolError.
   */
  admit(struct: string, fixed: number, whole: boolean, limit: number): void {
    const have = this.readable.byteLength
    // fuse_in_header.len counts the whole request: fewer bytes than it says are a lie.
    if (this.end > have) throw truncated(InHeader.cName, 0, this.end, have)
    this.end -= this.#extensions
    const room = this.end - InHeader.size
    if (room < 0) {
      throw new FuseProtocolError('BAD_LENGTH', `extensions of ${this.#extensions} bytes do not fit`, {
        struct: InHeader.cName,
        offset: H.totalExtlen,
      })
    }
    if (room < fixed) throw truncated(struct, InHeader.size, fixed, room)
    if (this.node < 0) {
      throw new FuseProtocolError('TOO_LARGE', 'nodeid is above 2^53-1', {
        struct: InHeader.cName,
        offset: H.nodeid,
        errno: 'ESTALE',
      })
    }
    const length = whole ? room : fixed
    if (whole && room > limit) throw new FsError('ENAMETOOLONG', `${room} bytes of names`)
    const place = this.#place
    if (length === 0 || place.find(this.readable, InHeader.size, length)) {
      this.#view = place.view
      this.#bytes = place.bytes
      this.#start = place.offset
    } else {
      this.#view = this.#workspace.argumentView
      this.#bytes = this.#workspace.argumentBytes
      this.#start = 0
      const copied = gather(this.readable, InHeader.size, this.#bytes, 0, length)
      if (copied < length) throw truncated(struct, InHeader.size, length, copied)
    }
    this.#next = this.#start + fixed
    this.#stop = this.#start + length
  }

  /** Makes [offset, offset + length) of the arguments what `u32` and the like read, counted from there. */
  seek(offset: number, length: number): void {
    const place = this.#place
    if (place.find(this.readable, InHeader.size + offset, length)) {
      this.#view = place.view
      this.#start = place.offset
    } else {
      gather(this.readable, InHeader.size + offset, this.#workspace.argumentBytes, 0, length)
      this.#view = this.#workspace.argumentView
      this.#start = 0
    }
  }

  /** Moves the start of the names by `length` bytes. */
  skip(struct: string, length: number): void {
    const have = this.#stop - this.#next
    if (have < length) throw truncated(struct, this.end - have, length, have)
    this.#next += length
  }

  /** Bytes of the request after its header, extensions excluded. */
  get argumentLength(): number {
    return this.end - InHeader.size
  }

  /** A copy of the arguments, if all were asked for. */
  argumentBytes(): Uint8Array {
    return this.#bytes.slice(this.#start, this.#stop)
  }

  extensions(): RequestExtensions {
    if (this.#extensions === 0) return NO_EXTENSIONS
    return decodeExtensions(this.copy(ExtHeader.cName, this.argumentLength, this.#extensions))
  }

  u32(offset: number): number {
    return this.#view.getUint32(this.#start + offset, true)
  }

  /** An opaque 64-bit value. */
  u64(offset: number): bigint {
    return this.#view.getBigUint64(this.#start + offset, true)
  }

  /** A copy of `length` bytes from `offset` of the arguments. */
  copy(struct: string, offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    const copied = gather(this.readable, InHeader.size + offset, bytes, 0, length)
    if (copied === length) return bytes
    throw truncated(struct, InHeader.size + offset, length, copied)
  }

  /** A 64-bit id. `errno` answers the guest when it is above 2^53-1. */
  number(offset: number, errno: ErrnoName): number {
    const at = this.#start + offset
    const value = joinWords(this.#view.getUint32(at, true), this.#view.getUint32(at + 4, true))
    if (value < 0) throw tooLarge(InHeader.size + offset, errno)
    return value
  }

  /** A size of a file or a place in one that a program asks for: it may well ask for more than 2^53-1. */
  fileSize(offset: number): number {
    const size = this.length(offset)
    if (size === Number.MAX_SAFE_INTEGER) throw new FsError('EFBIG')
    return size
  }

  /** A 64-bit length that may be answered in part, or a place that may lie behind the end: at most 2^53-1. */
  length(offset: number): number {
    const at = this.#start + offset
    const value = joinWords(this.#view.getUint32(at, true), this.#view.getUint32(at + 4, true))
    return value < 0 ? Number.MAX_SAFE_INTEGER : value
  }

  /** A file handle; one above 2^53-1 was never given out. */
  handle(offset: number): FileHandle {
    return this.number(offset, 'EBADF') as FileHandle
  }

  /** Signed seconds. */
  seconds(offset: number): number {
    const at = this.#start + offset
    return secondsOf(this.#view.getUint32(at, true), this.#view.getInt32(at + 4, true))
  }

  /** The next file name. */
  fileName(): string {
    const names = this.#workspace.names
    const name = names.fileName(this.#bytes, this.#next, this.#stop)
    this.#next += names.length + 1
    this.name ??= name
    return name
  }

  /** The last file name: nothing may follow it, for that would be a name with a NUL inside. */
  lastFileName(): string {
    const name = this.fileName()
    this.#requireEnd()
    return name
  }

  lastPath(): string {
    const names = this.#workspace.names
    const path = names.path(this.#bytes, this.#next, this.#stop)
    this.#next += names.length + 1
    this.#requireEnd()
    return path
  }

  xattrName(): string {
    const names = this.#workspace.names
    const name = names.xattrName(this.#bytes, this.#next, this.#stop)
    this.#next += names.length + 1
    this.name ??= name
    return name
  }

  lastXattrName(): string {
    const name = this.xattrName()
    this.#requireEnd()
    return name
  }

  /** A copy of the `length` bytes that end the request. */
  lastValue(length: number): Uint8Array {
    const have = this.#stop - this.#next
    if (have !== length) throw wrongLength(this.end - have, length, have)
    return this.#bytes.slice(this.#next, this.#stop)
  }

  #requireEnd(): void {
    const rest = this.#stop - this.#next
    if (rest > 0) {
      throw new FuseProtocolError('BAD_NAME', `${rest} bytes follow the last name`, {
        struct: 'name',
        offset: this.end - rest,
        have: rest,
      })
    }
  }

  /** The `length` bytes of data that start at `offset` of the arguments, in guest memory. */
  data(offset: number, length: number): WriteData {
    this.#bulk = true
    this.#data ??= new WriteData()
    this.#data.attach(this.readable, InHeader.size + offset, length)
    return this.#data
  }

  /** Where at most `limit` bytes of reply go, in guest memory. */
  output(limit: number): ReadData {
    this.#bulk = true
    this.#out ??= new ReadData()
    this.#out.attach(this.writable, OutHeader.size, limit)
    return this.#out
  }

  /** Where a listing of at most `limit` bytes goes, in guest memory. */
  listing(limit: number, plus: boolean): DirentWriter {
    this.#bulk = true
    this.#dirents ??= new DirentWriter()
    this.#dirents.attach(this.writable, OutHeader.size, limit, plus)
    return this.#dirents
  }

  /** Bytes that were put into `output`. */
  get outputLength(): number {
    return this.#out?.length ?? 0
  }

  /** Bytes that were put into `listing`. */
  get listingLength(): number {
    return this.#dirents?.length ?? 0
  }

  /** Not even the first entry fitted into `listing`. */
  get listingOverflowed(): boolean {
    return this.#dirents?.overflowed ?? false
  }

  /** Bytes that a reply may have after its header. */
  get replyRoom(): number {
    return this.writable.byteLength - OutHeader.size
  }

  /** The place of a fixed reply of `size` bytes: guest memory if it lies in one span. Valid until `reply`. */
  body(size: number): Place {
    const place = this.#place
    this.#replyInPlace = place.find(this.writable, OutHeader.size, size)
    if (!this.#replyInPlace) place.set(this.#workspace.replyView, this.#workspace.replyBytes, 0)
    return place
  }

  /** Ends a reply whose body was written to the place that `body` gave; returns the bytes of the whole reply. */
  reply(size: number): number {
    if (!this.#replyInPlace) scatter(this.writable, OutHeader.size, this.#workspace.replyBytes, 0, size)
    return this.header(0, size)
  }

  /** Writes the reply's header for `body` bytes that are in place already. */
  header(error: number, body: number): number {
    const writable = this.writable
    const length = OutHeader.size + body
    const direct = (writable.lengths[0] as number) >= OutHeader.size
    const view = direct ? (writable.views[0] as DataView) : this.#workspace.replyView
    const at = direct ? (writable.offsets[0] as number) : 0
    view.setUint32(at + O.len, length, true)
    view.setInt32(at + O.error, error, true)
    view.setUint32(at + O.unique, this.#uniqueLow, true)
    view.setUint32(at + O.unique + 4, this.#uniqueHigh, true)
    if (!direct) scatter(writable, 0, this.#workspace.replyBytes, 0, OutHeader.size)
    return length
  }

  /** A header in the other byte order, for a guest that is big-endian; `unique` goes back as it came. */
  swappedHeader(error: number): number {
    const { replyView, replyBytes } = this.#workspace
    replyView.setUint32(O.len, OutHeader.size, false)
    replyView.setInt32(O.error, error, false)
    replyView.setUint32(O.unique, this.#uniqueLow, true)
    replyView.setUint32(O.unique + 4, this.#uniqueHigh, true)
    return scatter(this.writable, 0, replyBytes, 0, OutHeader.size)
  }

  /** Appends bytes after the header: the whole body. `source` must fit `replyRoom`. */
  bytes(source: Uint8Array): number {
    scatter(this.writable, OutHeader.size, source, 0, source.byteLength)
    return this.header(0, source.byteLength)
  }

  /** Lets go of the guest's memory: from now on handlers that hold parts of this request read and write nothing. */
  detach(): void {
    this.message = undefined
    this.readable = NO_SPANS
    this.writable = NO_SPANS
    this.traced = undefined
    if (this.#bulk) {
      this.#bulk = false
      this.#data?.detach()
      this.#out?.detach()
      this.#dirents?.detach()
    }
  }
}
