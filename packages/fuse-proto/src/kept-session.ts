// What a server writes down of its session: what INIT agreed, and the answers to requests that cannot be done twice. A device
// that is started anew takes requests again which its predecessor had answered without the guest knowing: those get the
// answer that they got.

import type { SessionLog } from './session-log.ts'
import { decodeSession, encodeSession } from './session-state.ts'
import { gather, type Spans } from './spans.ts'
import type { InitOut } from './structs.ts'

declare const setTimeout: (callback: () => void, milliseconds: number) => unknown

/** Kinds of entries. A handler's own have larger numbers than these. */
const INIT = 1
const ANSWER = 2
export const FIRST_HANDLER_KIND = 16

/** The latest answers of earlier processes. Only those of a process's last turn may be unknown to the guest. */
const MOST_EARLIER = 1 << 14

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

export class KeptSession {
  readonly #log: SessionLog
  /** What INIT agreed, encoded. */
  #state: unknown
  /** Answers, by `unique`, of which the guest may not know. */
  readonly #recent = new Map<number, string>()
  #forgetting = false
  /** The same of an earlier process. */
  #earlier: ReadonlyMap<number, string> | undefined

  constructor(log: SessionLog) {
    this.#log = log
    const earlier = new Map<number, string>()
    for (const { kind, value, first } of log.earlier) {
      if (kind === INIT) this.#state = value
      else if (kind === ANSWER) earlier.set(first, String(value))
    }
    if (this.#state !== undefined) this.#earlier = new Map([...earlier].slice(-MOST_EARLIER))
    log.addWriter(() => {
      if (this.#state !== undefined) log.append(INIT, this.#state)
      for (const [unique, reply] of this.#earlier ?? []) log.append(ANSWER, reply, unique)
      for (const [unique, reply] of this.#recent) log.append(ANSWER, reply, unique)
    })
  }

  /** What INIT agreed with an earlier process; undefined if there is no session to go on with. Throws FuseProtocolError. */
  resume(): InitOut | undefined {
    const state = this.#state
    if (state === undefined) return undefined
    return decodeSession(Uint8Array.from(Array.isArray(state) ? state : [])).negotiated
  }

  /** Everything is written anew: what there is goes on under this agreement, or without one. */
  begin(negotiated: InitOut | undefined): void {
    this.#state = negotiated && stateOf(negotiated)
    this.#log.begin()
  }

  /** An earlier session's answers mean nothing any more. */
  end(): void {
    this.#earlier = undefined
    this.#recent.clear()
    this.begin(undefined)
  }

  get hasEarlier(): boolean {
    return this.#earlier !== undefined
  }

  /** The bytes that the request was answered with before; undefined if it was not. */
  earlierAnswer(unique: number): Uint8Array | undefined {
    const reply = this.#earlier?.get(unique)
    if (reply === undefined) return undefined
    return Uint8Array.from({ length: reply.length / 2 }, (_, i) =>
      Number.parseInt(reply.slice(2 * i, 2 * i + 2), 16),
    )
  }

  /** To be called before the answer is completed. */
  answered(unique: number, writable: Spans, written: number): void {
    const bytes = new Uint8Array(written)
    gather(writable, 0, bytes, 0, written)
    let reply = ''
    for (const byte of bytes) reply += HEX[byte]
    this.#recent.set(unique, reply)
    this.#log.append(ANSWER, reply, unique)
    if (this.#forgetting) return
    this.#forgetting = true
    // By then the queue has shown the guest what was completed in this turn.
    setTimeout(() => {
      this.#forgetting = false
      this.#recent.clear()
    }, 0)
  }
}

function stateOf(negotiated: InitOut): number[] {
  return [...encodeSession({ negotiated, handler: new Uint8Array(0) })]
}
