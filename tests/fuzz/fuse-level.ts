// FUSE messages, straight into the server over a whole file system in memory: each must be answered once, with a reply that a
// guest kernel takes, and nothing may be written outside of the room for it.

import { FuseClient, type FuseServer, ROOT_NODE, spansOf } from '@ovfs/fuse-proto'
import { Operator } from '@ovfs/opendal-fs'
import { heldBytes } from './collected.ts'
import { holdingsOf } from './flatness.ts'
import { FuseLife } from './fuse-life.ts'
import { fuseMessage, INIT } from './fuse-message.ts'
import type { Level } from './level.ts'
import { mutated, Random } from './random.ts'

interface Step {
  /** Hexadecimal. */
  readonly request: string
  /** Bytes for the reply. */
  readonly room: number
  /** Where the request is cut in two pieces of memory. */
  readonly cut: number
}

export type FuseCase = readonly Step[]

const MARK = 0xa5
const MARGIN = 64
const HEADER = 16
const SILENT = new Set([2, 41, 42])
/** As many as a queue of a guest may have in flight. */
const IN_FLIGHT = 128
const STEPS_PER_MOMENT = 16

export class FuseLevel implements Level<FuseCase> {
  readonly name = 'fuse'
  messages = 0
  readonly #trouble: string[] = []
  /** One for all cases: the binding never lets go of an operator that has once failed. */
  readonly #operator = new Operator('memory')
  readonly #isKept: boolean
  #life: FuseLife | undefined
  readonly strike: (() => Promise<void>) | undefined

  /** @param isKept sessions are, for successors */
  constructor(isKept: boolean) {
    this.#isKept = isKept
    if (isKept) this.strike = () => this.#strike()
  }

  generate(random: Random): FuseCase {
    const step = (bytes: Buffer): Step => ({
      request: bytes.toString('hex'),
      room: random.oneIn(8) ? random.below(200) : random.pick([4096, 8192]),
      cut: random.oneIn(3) ? random.below(bytes.length + 1) : 0,
    })
    const messages = random.times(400, () => {
      const message = fuseMessage(random)
      return step(random.oneIn(4) ? mutated(random, message) : message)
    })
    return random.oneIn(10) ? messages : [step(fuseMessage(random, INIT)), ...messages]
  }

  async run(steps: FuseCase, moment: () => Promise<void>): Promise<void> {
    this.#life = await FuseLife.begin(this.#operator, this.#isKept)
    this.messages = steps.length
    this.#trouble.length = 0
    try {
      const flight = new Set<Promise<void>>()
      for (const [index, step] of steps.entries()) {
        if (this.#isKept && index % STEPS_PER_MOMENT === 0) {
          await Promise.all(flight)
          await moment()
        }
        const answer = this.#send(this.#life.server, step)
        flight.add(answer)
        void answer.then(() => flight.delete(answer))
        if (flight.size >= IN_FLIGHT) await Promise.race(flight)
      }
      await Promise.all(flight)
      if (this.#trouble.length > 0) throw new Error(this.#trouble.slice(0, 5).join('; '))
      await requireHealthy(this.#life.server)
    } finally {
      await this.#life.end()
      await this.#operator.removeAll('/')
    }
  }

  async holdings() {
    return { heap: await heldBytes(), ...holdingsOf('self') }
  }

  async close(): Promise<void> {}

  async #strike(): Promise<void> {
    this.#life = await this.#life!.succeed(new Random(this.messages))
  }

  #send(server: FuseServer, { request, room, cut }: Step): Promise<void> {
    const bytes = Buffer.from(request, 'hex')
    const memory = new Uint8Array(room + 2 * MARGIN).fill(MARK)
    const reply = memory.subarray(MARGIN, MARGIN + room)
    const parts = [bytes.subarray(0, cut), bytes.subarray(cut)].filter(part => part.length > 0)
    return new Promise(resolve => {
      let answered = 0
      const complete = (written: number) => {
        answered++
        const fault = answered > 1 ? 'answered twice' : faultOf(bytes, reply, written, memory)
        if (fault) this.#trouble.push(`${fault}: ${request.slice(0, 120)}`)
        resolve()
      }
      server.handle({ readable: spansOf(parts), writable: spansOf(room > 0 ? [reply] : []), complete })
    })
  }
}

/** What a guest kernel, or its neighbours in memory, would object to. */
function faultOf(
  request: Buffer,
  reply: Uint8Array,
  written: number,
  memory: Uint8Array,
): string | undefined {
  const margins = [memory.subarray(0, MARGIN), memory.subarray(MARGIN + reply.length)]
  if (margins.some(margin => margin.some(byte => byte !== MARK))) return 'wrote outside of the room'
  if (written > reply.length) return `claims ${written} of ${reply.length} bytes`
  const opcode = request.length >= 8 ? request.readUInt32LE(4) : 0
  if (request.length < 40 || reply.length < HEADER || SILENT.has(opcode)) {
    return written === 0 || (SILENT.has(opcode) === false && written === HEADER)
      ? undefined
      : `answers with ${written} bytes`
  }
  const view = new DataView(reply.buffer, reply.byteOffset, reply.byteLength)
  // A foreign byte order is answered in that order.
  if (opcode === 0x1a00_0000) return written === HEADER ? undefined : `answers with ${written} bytes`
  if (view.getUint32(0, true) !== written) return `len ${view.getUint32(0, true)}, ${written} written`
  const error = view.getInt32(4, true)
  if (error > 0 || error < -511 || (error !== 0 && written !== HEADER))
    return `error ${error}, ${written} bytes`
  return view.getBigUint64(8, true) === request.readBigUInt64LE(8) ? undefined : 'answers another request'
}

async function requireHealthy(server: FuseServer): Promise<void> {
  const client = new FuseClient({
    submit: (request, room) =>
      new Promise(resolve => {
        const reply = new Uint8Array(room)
        const complete = (written: number) => resolve(reply.subarray(0, written))
        server.handle({ readable: spansOf(request), writable: spansOf([reply]), complete })
      }),
  })
  await client.init()
  const name = 'a new file'
  const { entry, open } = await client.create(ROOT_NODE, name)
  await client.write(entry.nodeid, open.fh, 0, Buffer.from(name))
  await client.flush(entry.nodeid, open.fh)
  const text = Buffer.from(await client.read(entry.nodeid, open.fh, 0, 100)).toString()
  if (text !== name) throw new Error(`a good guest reads ${JSON.stringify(text)}`)
}
