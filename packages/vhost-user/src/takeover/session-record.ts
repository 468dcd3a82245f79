// What the next process must know of a session, in shared memory that the store keeps: recording is a few stores, no system
// call, and what was stored survives SIGKILL. There are two slots. A change is written to the one that is not in force, and one
// store of its number puts it in force, together with the answer to the message that made the change.
//
// The message itself stays in the socket until then (it is peeked). So a process that dies before the store has done nothing, and
// the next one carries the message out; one that dies after it leaves a message to discard and an answer to send, and how far it
// got with each is told by positions that the kernel moves (sys/stream-position.ts).

import { VhostUserError } from '../errors.ts'
import { Mapping } from '../sys/mapping.ts'
import { createMemFd } from '../sys/memfd.ts'

/**
 * u32 each: magic, number of the format, generation in force, last generation that is finished; how many processes have taken the
 * session over since one of them got on with it.
 */
const HEADER = { magic: 0, format: 1, inForce: 2, finished: 3, takeovers: 4 } as const
const MAGIC = 0x7573_7672
/** Changes with every change of what is recorded: a process of another version must not guess. */
const FORMAT = 1
/** u32 each: length of the state, of the message, where the answer starts in the file, and its length. */
const SLOT = { state: 0, message: 1, answerAt: 2, answer: 3 } as const
const SLOT_HEADER_SIZE = 16
/** More than the state of a session with as many regions and rings as there can be. */
const SLOT_SIZE = 256 << 10
const SLOTS_AT = 4096
const ANSWERS_AT = SLOTS_AT + 2 * SLOT_SIZE
/**
 * Answers lie one behind the other, because what sendfile has sent is still read from here until the peer has it. So there is
 * room for more than the socket holds unread.
 */
const ANSWERS_SIZE = 256 << 10
/** What the socket holds unread, at most half of the room. */
export const MAX_UNREAD = 128 << 10
const RECORD_SIZE = ANSWERS_AT + ANSWERS_SIZE

/** What is left to do for the generation in force. */
export interface Unfinished {
  /** Bytes of the message that is done with. */
  readonly message: number
  /** Its answer, in the record's file. */
  readonly answerAt: number
  readonly answer: number
}

export class SessionRecord {
  readonly #mapping: Mapping
  readonly #bytes: Uint8Array
  readonly #words: Uint32Array
  #nextAnswerAt = ANSWERS_AT

  /** The memory file of a new record; the caller owns the descriptor. */
  static create(): number {
    return createMemFd('vhost-user-session', RECORD_SIZE)
  }

  /** A new record, or a predecessor's; the descriptor is lent. Throws TAKEOVER if another version has written it. */
  constructor(fd: number) {
    this.#mapping = new Mapping({ fd, offset: 0, size: RECORD_SIZE })
    this.#bytes = new Uint8Array(this.#mapping.pieces[0]!)
    this.#words = new Uint32Array(this.#mapping.pieces[0]!)
    const magic = this.#words[HEADER.magic]
    if (magic === 0) {
      this.#words[HEADER.format] = FORMAT
      Atomics.store(this.#words, HEADER.magic, MAGIC)
    } else if (magic !== MAGIC || this.#words[HEADER.format] !== FORMAT) {
      const format = this.#words[HEADER.format]
      this.#mapping.unmap()
      throw new VhostUserError('TAKEOVER', `the session is recorded in format ${format}, this is ${FORMAT}`)
    }
    try {
      const last = this.unfinished
      if (last) this.#nextAnswerAt = last.answerAt + last.answer
    } catch (error) {
      this.#mapping.unmap()
      throw error
    }
  }

  /** `new`: nothing has been read yet. `over`: the front-end has gone or was sent away. */
  get stage(): 'new' | 'going on' | 'over' {
    if (this.#words[HEADER.inForce] !== 0) return 'going on'
    return this.#words[HEADER.finished] === 0 ? 'new' : 'over'
  }

  /** Processes that have taken the session over, one after the other, and of which none got on with it. */
  get takeovers(): number {
    return this.#words[HEADER.takeovers]!
  }

  set takeovers(count: number) {
    Atomics.store(this.#words, HEADER.takeovers, count)
  }

  /** The state in force; undefined or null if there is none. Throws TAKEOVER if it cannot be read. */
  get state(): unknown {
    const generation = this.#words[HEADER.inForce]!
    if (generation === 0) return undefined
    const at = slotAt(generation)
    const length = Math.min(this.#words[at / 4 + SLOT.state]!, SLOT_SIZE - SLOT_HEADER_SIZE)
    const text = Buffer.from(this.#bytes.buffer, at + SLOT_HEADER_SIZE, length)
    try {
      return JSON.parse(text.toString())
    } catch (cause) {
      throw new VhostUserError('TAKEOVER', 'the record of a session cannot be read', { cause })
    }
  }

  /** What the predecessor did not come to; undefined if it had finished. Throws TAKEOVER if that lies outside of the record. */
  get unfinished(): Unfinished | undefined {
    const generation = this.#words[HEADER.inForce]!
    if (generation === 0 || generation === this.#words[HEADER.finished]) return undefined
    const slot = slotAt(generation) / 4
    const [message, answerAt, answer] = [SLOT.message, SLOT.answerAt, SLOT.answer].map(
      field => this.#words[slot + field]!,
    )
    // sendfile sends nothing from behind the end of a file, however often it is asked.
    if (answerAt! < ANSWERS_AT || answerAt! + answer! > RECORD_SIZE)
      throw new VhostUserError('TAKEOVER', `the record of a session has an answer at ${answerAt}`)
    return { message: message!, answerAt: answerAt!, answer: answer! }
  }

  /**
   * Writes down the next state and the answer; nothing of it is in force until `enforce`. Without a state nobody can go on with
   * the session.
   */
  prepare(state: unknown, message: number, answer: Uint8Array): Unfinished {
    const at = slotAt(next(this.#words[HEADER.inForce]!))
    const text = Buffer.from(JSON.stringify(state ?? null))
    if (text.length > SLOT_SIZE - SLOT_HEADER_SIZE) {
      throw new VhostUserError('TAKEOVER', `a session of ${text.length} bytes does not fit in its record`)
    }
    if (this.#nextAnswerAt + answer.byteLength > RECORD_SIZE) this.#nextAnswerAt = ANSWERS_AT
    const answerAt = this.#nextAnswerAt
    this.#nextAnswerAt += answer.byteLength
    this.#bytes.set(answer, answerAt)
    this.#bytes.set(text, at + SLOT_HEADER_SIZE)
    this.#words.set([text.length, message, answerAt, answer.byteLength], at / 4)
    return { message, answerAt, answer: answer.byteLength }
  }

  /** The one store by which everything prepared has happened. */
  enforce(): void {
    Atomics.store(this.#words, HEADER.inForce, next(this.#words[HEADER.inForce]!))
  }

  /** The message has been discarded, and its answer sent. */
  finish(): void {
    Atomics.store(this.#words, HEADER.finished, this.#words[HEADER.inForce]!)
  }

  /** There is no session any more that anybody could go on with. */
  end(): void {
    Atomics.store(this.#words, HEADER.inForce, 0)
  }

  unmap(): void {
    this.#mapping.unmap()
  }
}

/** 0 means that nothing is in force; the next slot is always the other one. */
function next(generation: number): number {
  return generation === 0xffff_ffff ? 2 : generation + 1
}

function slotAt(generation: number): number {
  return SLOTS_AT + (generation & 1) * SLOT_SIZE
}
