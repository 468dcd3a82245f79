// What a session comes to, written down in memory that outlives the process: a server and its handler append each change before
// the guest can see it, and whoever opens the log after a kill reads them again. An entry is a kind, a JSON value, and two
// numbers that may be stored again in place, which is all that a change on the hot path costs.
//
// A process may end between any two stores: an entry counts from the store of its kind, the last one. Of entries that belong
// together the first one's kind is stored last, and without it none of them counts. A log that is full is written anew by
// those who hold the state, in another memory that takes its place in one step.

import {
  END_AT,
  ENTRY_BYTES,
  entryBytes,
  HEADER_BYTES,
  IDENTITY,
  kindWord,
  MAGIC,
  readEntries,
  type SessionEntry,
} from './session-log-format.ts'

/** Bytes that every process sees which opens them by name, as a shared mapping of a file has them. */
export interface KeptMemory {
  readonly buffer: ArrayBuffer
  /**
   * True if somebody else has taken bytes away: what is read may be zeros, and what is stored reaches nobody. To be asked after
   * reading, because what it says of is the time before.
   */
  readonly isLost: boolean
  /** Nothing touches the buffer any more. */
  release(): void
}

/** Where memory has names. What its methods have done survives the process. */
export interface KeptFolder {
  /** Undefined if there is none. Throws TypeError if it is not as it was made. */
  open(name: string): KeptMemory | undefined
  /** All zeros, with room for every byte; takes the place of what has the name. Throws if there is no room. */
  create(name: string, bytes: number): KeptMemory
  /** In one step; takes the place of what is there. */
  rename(from: string, to: string): void
  /** Does nothing if there is none. */
  remove(name: string): void
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
/** Is there while the log is read; holds how many processes have begun to. */
const READERS = 'session.readers'
const READERS_BYTES = 4096
/** One that dies of the log would be followed by others without end. More than a few may be killed from outside meanwhile. */
const MOST_READERS = 5
const LEAST_BYTES = 1 << 20
const MOST_BYTES = 1 << 29
/** Entries that belong together find so much room: a log that is written anew between them has a part of them. */
const TOGETHER_BYTES = 1 << 18

export class SessionLog {
  readonly #options: SessionLogOptions
  readonly #writers: (() => void)[] = []
  #earlier: readonly SessionEntry[] = []
  #memory: KeptMemory | undefined
  #bytes = new Uint8Array(0)
  #words = new Uint32Array(0)
  #numbers = new Float64Array(4)
  /** Where the next entry goes; 0 while nothing is written. */
  #end = 0
  #rewriting = false
  #isTogether = false
  /** Of entries that belong together the first, and what is to be stored there: its index in words; 0 if there is none. */
  #firstAt = 0
  #firstWord = 0

  /**
   * Reads what an earlier process has left under the same identity. Nothing is written before `begin`. Throws TypeError if it is
   * damaged, or if the processes that read it have all ended before they said `understood`.
   */
  constructor(options: SessionLogOptions) {
    this.#options = options
    const memory = options.folder.open(NAME)
    if (memory === undefined) return
    try {
      countReader(options.folder)
      this.#earlier = readEntries(memory.buffer, options.identity)
      if (memory.isLost) throw new TypeError('the log of the session has become shorter')
    } finally {
      memory.release()
    }
  }

  /** What was read is in place, and has not ended this process. */
  understood(): void {
    this.#options.folder.remove(READERS)
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
    this.understood()
    try {
      this.#rewrite()
    } catch (error) {
      this.#giveUp(error as Error)
    }
  }

  /**
   * Survives the process from the moment it returns. Entries must bear to be read twice: the log may be written anew meanwhile.
   * @param kind 1 to 254
   */
  append(kind: number, value: unknown, first = 0, second = 0): LogSlot {
    if (this.#end === 0) return NO_SLOT
    if (this.#memory!.isLost) {
      this.abandon(new TypeError('somebody has shortened the log of the session'))
      return NO_SLOT
    }
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
    const word = kindWord(kind, this.#words, at + ENTRY_BYTES, text.length)
    this.#words[at >>> 2] = text.length
    this.#end = at + entryBytes(text.length)
    // What lies behind it is zeros: without a kind, no entry.
    if (this.#isTogether && this.#firstAt === 0) {
      this.#firstAt = (at >>> 2) + 1
      this.#firstWord = word
    } else Atomics.store(this.#words, (at >>> 2) + 1, word)
    if (!this.#isTogether) this.#words[END_AT] = this.#end
    return slot
  }

  /** What is appended by `task` survives the process all together, from the moment it returns, or not at all. */
  together<T>(task: () => T): T {
    if (this.#isTogether || this.#rewriting || this.#end === 0) return task()
    if (this.#end + TOGETHER_BYTES > this.#bytes.byteLength) this.begin()
    this.#isTogether = true
    try {
      return task()
    } finally {
      this.#isTogether = false
      this.#storeFirst()
    }
  }

  #storeFirst(): void {
    if (this.#firstAt === 0) return
    Atomics.store(this.#words, this.#firstAt, this.#firstWord)
    this.#words[END_AT] = this.#end
    this.#firstAt = 0
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
    return this.#end > 0 && this.#end + entryBytes(text.length) <= this.#bytes.byteLength
  }

  /** At least half of the new memory is free afterwards. */
  #rewrite(): void {
    const { folder, identity } = this.#options
    const old = this.#memory
    const wasTogether = this.#isTogether
    this.#isTogether = false
    this.#firstAt = 0
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
      this.#isTogether = wasTogether
      old?.release()
    }
  }

  /** False if it takes more than half. */
  #write(identity: string): boolean {
    try {
      this.append(IDENTITY, identity, this.#bytes.byteLength)
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
    this.#firstAt = 0
  }
}

class LogFull extends Error {}

function asciiOf(json: string): string {
  return json.replace(/[\u0080-\uffff]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Throws TypeError if there were too many before. */
function countReader(folder: KeptFolder): void {
  const memory = folder.open(READERS) ?? folder.create(READERS, READERS_BYTES)
  const words = new Uint32Array(memory.buffer)
  const earlier = words[0]!
  Atomics.store(words, 0, earlier + 1)
  memory.release()
  if (earlier >= MOST_READERS)
    throw new TypeError(`${earlier} processes in a row have ended while they read the log of the session`)
}
