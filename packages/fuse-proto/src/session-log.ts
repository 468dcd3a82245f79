// What a session comes to, written down in memory that outlives the process: a server and its handler append each change before
// the guest can see it, and whoever opens the log after a kill reads them again. An entry is a kind, a JSON value, and two
// numbers that may be stored again in place, which is all that a change on the hot path costs.
//
// A process may end between any two stores: an entry counts from the store of its kind, the last one. A log that is full is
// written anew by those who hold the state, in another memory that takes its place in one step.

/** Bytes that every process sees which opens them by name, as a shared mapping of a file has them. */
export interface KeptMemory {
  readonly buffer: ArrayBuffer
  /** Nothing touches the buffer any more. */
  release(): void
}

/** Where memory has names. What its methods have done survives the process. */
export interface KeptFolder {
  open(name: string): KeptMemory | undefined
  /** All zeros, with room for every byte; takes the place of what has the name. Throws if there is no room. */
  create(name: string, bytes: number): KeptMemory
  /** In one step; takes the place of what is there. */
  rename(from: string, to: string): void
  /** Does nothing if there is none. */
  remove(name: string): void
}

export interface SessionEntry {
  readonly kind: number
  readonly value: unknown
  readonly first: number
  readonly second: number
}

export interface SessionLogOptions {
  readonly folder: KeptFolder
  /** What the log belongs to, such as a boot of the host and a share: another one's is not read. */
  readonly identity: string
  /** The log can be written no more; the session goes on without it. */
  readonly onError: (error: Error) => void
}

/** A place for numbers of an entry, to be stored again. Means nothing after the log was written anew. */
export type LogSlot = number
export const NO_SLOT: LogSlot = 0

const NAME = 'session'
const NEW_NAME = 'session.new'
/** `ovfs log`, and a number that grows with every change of the format. */
const MAGIC = [0x7366_766f, 0x0167_6f6c]
const HEADER_BYTES = 8
/** le32 bytes of JSON, le32 kind, two le64 floats; the JSON follows, padded to 8 bytes. */
const ENTRY_BYTES = 24
const IDENTITY = 0xffff_ffff
const LEAST_BYTES = 1 << 20
const MOST_BYTES = 1 << 29

export class SessionLog {
  readonly #options: SessionLogOptions
  readonly #writers: (() => void)[] = []
  #earlier: readonly SessionEntry[]
  #memory: KeptMemory | undefined
  #bytes = new Uint8Array(0)
  #words = new Uint32Array(0)
  #numbers = new Float64Array(4)
  /** Where the next entry goes; 0 while nothing is written. */
  #end = 0
  #rewriting = false

  /** Reads what an earlier process has left under the same identity. Nothing is written before `begin`. */
  constructor(options: SessionLogOptions) {
    this.#options = options
    const memory = options.folder.open(NAME)
    try {
      this.#earlier = memory === undefined ? [] : readEntries(memory.buffer, options.identity)
    } finally {
      memory?.release()
    }
  }

  /** What was read, in order. */
  get earlier(): readonly SessionEntry[] {
    return this.#earlier
  }

  /** True if what is appended survives. */
  get isKept(): boolean {
    return this.#end > 0
  }

  /** @param write appends all that its owner holds; called whenever the log is written anew */
  addWriter(write: () => void): void {
    this.#writers.push(write)
  }

  /** Writes what there is now in place of what was read: from here on every change is to be appended. */
  begin(): void {
    this.#earlier = []
    try {
      this.#rewrite()
    } catch (error) {
      this.#giveUp(error as Error)
    }
  }

  /** Survives the process from the moment it returns. Entries must bear to be read twice: the log may be written anew meanwhile. */
  append(kind: number, value: unknown, first = 0, second = 0): LogSlot {
    if (this.#end === 0) return NO_SLOT
    const text = asciiOf(JSON.stringify(value) ?? '')
    if (!this.#fits(text)) {
      if (this.#rewriting) throw new LogFull()
      this.begin()
      if (!this.#fits(text)) return NO_SLOT
    }
    const at = this.#end
    const slot = (at >>> 3) + 1
    this.#numbers[slot] = first
    this.#numbers[slot + 1] = second
    for (let i = 0; i < text.length; i++) this.#bytes[at + ENTRY_BYTES + i] = text.charCodeAt(i)
    this.#words[at >>> 2] = text.length
    // What lies behind it is zeros: without a kind, no entry.
    Atomics.store(this.#words, (at >>> 2) + 1, kind)
    this.#end = at + entryBytes(text)
    return slot
  }

  /** Stores the first number of an entry again. */
  setFirst(slot: LogSlot, value: number): void {
    if (slot !== NO_SLOT) this.#numbers[slot] = value
  }

  setSecond(slot: LogSlot, value: number): void {
    if (slot !== NO_SLOT) this.#numbers[slot + 1] = value
  }

  /** Something cannot be written down: what is not up to date must not be gone on with. Does nothing if nothing is kept. */
  abandon(error: Error): void {
    if (this.#rewriting) throw error
    if (this.#end > 0) this.#giveUp(error)
  }

  /** Nothing is written any more; what has been stays for the next process. */
  close(): void {
    this.#forgetMemory()
  }

  /** There is nothing to go on with. */
  discard(): void {
    this.#forgetMemory()
    this.#options.folder.remove(NAME)
  }

  #fits(text: string): boolean {
    return this.#end > 0 && this.#end + entryBytes(text) <= this.#bytes.byteLength
  }

  /** At least half of the new memory is free afterwards. */
  #rewrite(): void {
    const { folder, identity } = this.#options
    const old = this.#memory
    this.#rewriting = true
    try {
      for (let bytes = LEAST_BYTES; ; bytes *= 2) {
        if (bytes > MOST_BYTES) throw new RangeError('the log of the session would be too long')
        const memory = folder.create(NEW_NAME, bytes)
        this.#use(memory)
        if (this.#write(identity)) break
        memory.release()
      }
      folder.rename(NEW_NAME, NAME)
    } finally {
      this.#rewriting = false
      old?.release()
    }
  }

  /** False if it takes more than half. */
  #write(identity: string): boolean {
    try {
      this.append(IDENTITY, identity)
      for (const write of this.#writers) write()
      return this.#end <= this.#bytes.byteLength / 2
    } catch (error) {
      if (error instanceof LogFull) return false
      throw error
    }
  }

  #use(memory: KeptMemory): void {
    this.#memory = memory
    this.#bytes = new Uint8Array(memory.buffer)
    this.#words = new Uint32Array(memory.buffer)
    this.#numbers = new Float64Array(memory.buffer)
    this.#words.set(MAGIC)
    this.#end = HEADER_BYTES
  }

  /** What is not up to date must not be gone on with. */
  #giveUp(error: Error): void {
    this.#forgetMemory()
    const { folder, onError } = this.#options
    try {
      folder.remove(NAME)
      folder.remove(NEW_NAME)
    } finally {
      onError(error)
    }
  }

  #forgetMemory(): void {
    this.#memory?.release()
    this.#memory = undefined
    this.#bytes = new Uint8Array(0)
    this.#words = new Uint32Array(0)
    this.#numbers = new Float64Array(4)
    this.#end = 0
  }
}

class LogFull extends Error {}

/** The bytes of an entry, the prefix included. */
function entryBytes(text: string): number {
  return ENTRY_BYTES + ((text.length + 7) & ~7)
}

function asciiOf(json: string): string {
  return json.replace(/[\u0080-\uffff]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Empty if the memory is no log, or the log of something else. Throws TypeError if it is damaged. */
function readEntries(buffer: ArrayBuffer, identity: string): SessionEntry[] {
  if (buffer.byteLength < HEADER_BYTES || buffer.byteLength % 8 !== 0) return []
  const bytes = new Uint8Array(buffer)
  const words = new Uint32Array(buffer)
  const numbers = new Float64Array(buffer)
  if (words[0] !== MAGIC[0] || words[1] !== MAGIC[1]) return []
  const entries: SessionEntry[] = []
  for (let at = HEADER_BYTES; at + ENTRY_BYTES <= bytes.byteLength; ) {
    const kind = words[(at >>> 2) + 1]!
    if (kind === 0) break
    const length = words[at >>> 2]!
    const start = at + ENTRY_BYTES
    if (length > bytes.byteLength - start) throw new TypeError(`an entry at ${at} has ${length} bytes`)
    const value = parse(bytes.subarray(start, start + length), at)
    entries.push({ kind, value, first: numbers[(at >>> 3) + 1]!, second: numbers[(at >>> 3) + 2]! })
    at = start + ((length + 7) & ~7)
  }
  const [head, ...rest] = entries
  return head?.kind === IDENTITY && head.value === identity ? rest : []
}

function parse(bytes: Uint8Array, at: number): unknown {
  if (bytes.byteLength === 0) return undefined
  let text = ''
  for (let i = 0; i < bytes.byteLength; i += 4096)
    text += String.fromCharCode(...bytes.subarray(i, Math.min(i + 4096, bytes.byteLength)))
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new TypeError(`the entry at ${at} cannot be read`, { cause })
  }
}
