// Rings in shared memory, written by a driver that keeps no rule, and rewritten while the device, another process, reads them:
// loops, wrong heads, indices that jump, tables in tables, buffers anywhere, requests that change under the device's hands.

import { closeSync, readSync, writeSync } from 'node:fs'
import { FrontendMemory, FrontendSession } from '@ovfs/vhost-user'
import { fuseMessage } from './fuse-message.ts'
import { sayInit } from './good-guest.ts'
import type { Level } from './level.ts'
import { mutated, Random } from './random.ts'
import type { Victim } from './victim.ts'

/** Bytes put into guest memory, then perhaps a kick, then perhaps a storm of changes while the device looks. */
interface Step {
  readonly writes: readonly { readonly at: number; readonly bytes: string }[]
  readonly kick: boolean
  /** Seed of the storm; 0 for none. */
  readonly storm: number
}

export interface RingCase {
  readonly size: number
  /** Bits 28 and 29: indirect and event-idx. */
  readonly features: number
  readonly steps: readonly Step[]
  /** What the front-end writes into its record of buffers in flight, once before each step; without it, it keeps none. */
  readonly forged?: Step['writes']
  /** A guest that keeps the rules has said INIT before, on another ring. */
  readonly begins?: true
}

const MEMORY = 0x40000
/** Up to 256 descriptors: the ring's parts, indirect tables, requests, room for replies. */
const DESC = 0x0000
const AVAIL = 0x1000
const USED = 0x2000
const TABLES = 0x4000
const REQUESTS = 0x8000
const REPLIES = 0x20000
const SLOT = 0x400
const STORM_WRITES = 4000
const VERSION_1 = 1n << 32n
const PROTOCOL_FEATURES = 1n << 30n
/** The request queue; hiprio is 0. */
const QUEUE = 1
const GOOD_RING = { index: 2, address: 0x30000, requestAddress: 0x31000 }

export class RingLevel implements Level<RingCase> {
  readonly name = 'ring'
  messages = 0
  readonly #victim: Victim

  constructor(victim: Victim) {
    this.#victim = victim
  }

  generate(random: Random): RingCase {
    const size = random.pick([1, 2, 4, 8, 16, 64, 256])
    let index = 0
    const steps = random.times(8, () => {
      const writes = [...requests(random), ...chains(random, size)]
      const heads = random.times(Math.min(size, 8), () => random.below(random.oneIn(30) ? 0x10000 : size))
      for (const head of heads) {
        writes.push({ at: AVAIL + 4 + 2 * (index & (size - 1)), bytes: u16(head) })
        index = (index + 1) & 0xffff
      }
      // Jumps: backwards, by more than the ring holds, over the wrap.
      if (random.oneIn(10)) index = Number(random.edge(16))
      writes.push({ at: AVAIL + 2, bytes: u16(index) }, { at: AVAIL, bytes: u16(random.below(3)) })
      if (random.oneIn(4)) writes.push({ at: AVAIL + 4 + 2 * size, bytes: u16(Number(random.edge(16))) })
      return { writes, kick: !random.oneIn(10), storm: random.oneIn(3) ? random.next() : 0 }
    })
    const which = random.below(4)
    const forged = random.oneIn(3) && { forged: forgeries(random, size) }
    return { size, features: which, steps, ...forged, ...(random.oneIn(2) && { begins: true as const }) }
  }

  async run({ size, features, steps, forged, begins }: RingCase, moment: () => Promise<void>): Promise<void> {
    const memory = new FrontendMemory([{ guestAddress: 0, size: MEMORY }])
    const bytes = Buffer.from(memory.regions[0]!.pieces[0] as ArrayBuffer)
    const session = FrontendSession.connect(this.#victim.socketPath)
    this.messages = 0
    let inflight: number | undefined
    try {
      await session.handshake({ features: VERSION_1 | PROTOCOL_FEATURES | (BigInt(features) << 28n) })
      await session.addMemory(memory)
      const record = forged && (await session.createInflight(QUEUE + 1, size))
      if (record) {
        inflight = record.fd
        await session.useInflight(record)
      }
      const layout = { index: QUEUE, size, descAddress: DESC, availAddress: AVAIL, usedAddress: USED }
      if (begins) await sayInit(session, memory, { ...GOOD_RING, eventIdx: (features & 2) !== 0 })
      const ring = await session.startRing(layout)
      for (const [index, { writes, kick, storm }] of steps.entries()) {
        const forgery = forged?.[index]
        if (forgery && inflight !== undefined)
          writeSync(inflight, Buffer.from(forgery.bytes, 'hex'), 0, null, forgery.at)
        for (const write of writes) bytes.set(Buffer.from(write.bytes, 'hex'), write.at)
        this.messages += writes.length
        if (kick) ring.kick()
        if (storm !== 0) rage(new Random(storm), bytes)
        await new Promise(setImmediate)
        await moment()
      }
      // The device answers, so it has not been caught in a loop by the ring.
      await session.request('GET_FEATURES')
      // What lies in the file beside the region is nobody's business.
      const beside = Buffer.alloc(4096)
      readSync(memory.fd, beside, 0, beside.length, 0)
      if (beside.some(byte => byte !== 0)) throw new Error('the device wrote beside the region')
    } finally {
      session.close()
      memory.close()
      if (inflight !== undefined) closeSync(inflight)
    }
    // The front-end has just left.
    await moment()
  }

  requireHealthy(thoroughly: boolean) {
    return thoroughly ? this.#victim.requireHealthy() : this.#victim.requireServing()
  }

  get strike() {
    return this.#victim.strike
  }

  holdings() {
    return this.#victim.holdings()
  }

  async close(): Promise<void> {}
}

/** Changes everything that the device may be reading, for as long as it takes the device to read it. */
function rage(random: Random, bytes: Buffer): void {
  for (let count = 0; count < STORM_WRITES; count++) {
    const area = random.pick([DESC, AVAIL, TABLES, REQUESTS])
    bytes[area + random.below(area === REQUESTS ? 4 * SLOT : 0x200)] = random.next()
  }
}

function requests(random: Random): Step['writes'][number][] {
  return random.times(4, () => {
    const message = fuseMessage(random)
    const bytes = random.oneIn(3) ? mutated(random, message) : message
    return { at: REQUESTS + random.below(8) * SLOT, bytes: bytes.subarray(0, SLOT).toString('hex') }
  })
}

/** Words of the record: its head, and what it says of a buffer (vhost-user, inflight I/O tracking: queue_region_split). */
function forgeries(random: Random, size: number): Step['writes'][number][] {
  const block = Math.ceil((16 + 16 * size) / 64) * 64
  return random.times(8, () => {
    const at = QUEUE * block + (random.oneIn(2) ? 8 + 2 * random.below(4) : 16 + random.below(16 * size))
    const bytes = random.oneIn(2) ? u16(random.pick([0, 1, size, 0xffff, random.below(0x10000)])) : '01'
    return { at, bytes }
  })
}

/** Descriptors, in the ring's own table and in indirect ones. */
function chains(random: Random, size: number): Step['writes'][number][] {
  return random.times(12, () => {
    const inTable = random.oneIn(3)
    const entries = inTable ? 16 : size
    const at = (inTable ? TABLES + random.below(4) * 0x100 : DESC) + random.below(entries) * 16
    return { at, bytes: descriptor(random, entries) }
  })
}

function descriptor(random: Random, entries: number): string {
  const bytes = Buffer.alloc(16)
  const kind = random.below(5)
  const write = kind === 1
  const indirect = kind === 2
  const place = indirect
    ? TABLES + random.below(4) * 0x100
    : write
      ? REPLIES + random.below(8) * SLOT
      : REQUESTS + random.below(8) * SLOT
  const length = indirect ? 16 * random.below(18) : write ? random.below(8) * 0x80 : 40 + random.below(200)
  bytes.writeBigUInt64LE(
    random.oneIn(12) ? random.edge(64) : BigInt(place + (random.oneIn(8) ? random.below(16) : 0)),
    0,
  )
  bytes.writeUInt32LE(random.oneIn(12) ? Number(random.edge(32)) : length, 8)
  const flags = (random.oneIn(2) ? 1 : 0) | (write ? 2 : 0) | (indirect ? 4 : 0)
  bytes.writeUInt16LE(random.oneIn(15) ? random.below(0x10000) : flags, 12)
  bytes.writeUInt16LE(random.oneIn(15) ? random.below(0x10000) : random.below(entries), 14)
  return bytes.toString('hex')
}

function u16(value: number): string {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(value & 0xffff)
  return bytes.toString('hex')
}
