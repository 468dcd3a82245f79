// Bytes on the control socket: messages that are half, doubled, too long, of the wrong size, with wrong, missing and too many
// descriptors, descriptors that are no memory and no eventfds, and memory files that become shorter after they were announced.

import { closeSync, ftruncateSync, openSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FRONTEND_REQUESTS, FrontendMemory, FrontendRing, FrontendSession } from '@ovfs/vhost-user'
import type { Level } from './level.ts'
import { mutated, type Random } from './random.ts'
import type { Victim } from './victim.ts'

const FDS = ['memfd', 'file', 'eventfd', 'null', 'folder', 'proc', 'short'] as const
type FdKind = (typeof FDS)[number]

interface Step {
  /** Hexadecimal. */
  readonly bytes: string
  readonly fds?: readonly FdKind[]
  /** The memory file becomes empty after this step, and the ring in it is kicked. */
  readonly shorten?: true
}

export type SocketCase = readonly Step[]

const IDS = Object.values(FRONTEND_REQUESTS).map(({ id }) => id)
/** Sizes of the fixed payloads, and what is beyond them. */
const SIZES = [0, 8, 8, 8, 8, 12, 16, 20, 24, 32, 40, 40, 72, 264, 4096, 4097]
const MEMORY = 0x10000
/** More do not fit in one message of ours; no request may have more than 8. */
const MOST_FDS = 32

export class SocketLevel implements Level<SocketCase> {
  readonly name = 'socket'
  messages = 0
  readonly #victim: Victim

  constructor(victim: Victim) {
    this.#victim = victim
  }

  generate(random: Random): SocketCase {
    const steps = random.times(24, () => ({
      bytes: message(random).toString('hex'),
      ...(random.oneIn(2) && { fds: random.times(random.oneIn(20) ? MOST_FDS : 3, () => random.pick(FDS)) }),
      ...(random.oneIn(12) && { shorten: true as const }),
    }))
    // Half of the cases get past the handshake, or nothing beyond it would ever be reached.
    return random.oneIn(2) ? steps : [...handshake(), ...steps]
  }

  async run(steps: SocketCase, moment: () => Promise<void>): Promise<void> {
    const { fdOf, shorten, close } = descriptors(this.#victim.folder)
    const session = FrontendSession.connect(this.#victim.socketPath)
    this.messages = 0
    try {
      for (const { bytes, fds = [], shorten: shortened } of steps) {
        if (session.endedBy !== undefined) break
        // Answers are taken as they come, or the first would end the session.
        for (let i = 0; i < 4; i++) session.reply().catch(() => undefined)
        session.sendBytes(Buffer.from(bytes, 'hex'), fds.map(fdOf))
        this.messages++
        if (shortened) shorten()
        await new Promise(setImmediate)
        await moment()
      }
    } catch (error) {
      // The back-end sent the peer away, as it may; anything else is a fault of this level.
      if (session.endedBy === undefined) throw error
    } finally {
      session.close()
      close()
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

function message(random: Random): Buffer {
  const size = random.pick(SIZES)
  const payload = Buffer.alloc(random.oneIn(8) ? random.below(size + 9) : size)
  for (let at = 0; at + 8 <= payload.length; at += 8) payload.writeBigUInt64LE(random.edge(64), at)
  if (random.oneIn(2)) plausible(random, payload)
  const header = Buffer.alloc(12)
  header.writeUInt32LE(random.oneIn(12) ? random.next() : random.pick(IDS), 0)
  header.writeUInt32LE(random.oneIn(12) ? random.next() : random.pick([1, 9, 9]), 4)
  header.writeUInt32LE(random.oneIn(12) ? Number(random.edge(32)) : size, 8)
  const whole = Buffer.concat([header, payload])
  return random.oneIn(5) ? mutated(random, whole) : whole
}

/** Values that come near to what is allowed: a small ring index and size, or one region that fits its file. */
function plausible(random: Random, payload: Buffer): void {
  if (payload.length === 8) {
    payload.writeUInt32LE(random.below(3), 0)
    payload.writeUInt32LE(random.pick([0, 1, 1, 16, 256]), 4)
  } else if (payload.length >= 40) {
    const at = random.below(1 << 8) * 4096
    payload.writeBigUInt64LE(1n, 0)
    payload.writeBigUInt64LE(BigInt(at), 8)
    payload.writeBigUInt64LE(random.pick([4096n, BigInt(MEMORY), 0n, 1n]), 16)
    payload.writeBigUInt64LE(BigInt(at), 24)
    payload.writeBigUInt64LE(random.pick([0n, 0n, 4096n]), 32)
  }
}

/** Protocol features, owner, features, and 64 KiB of memory that can become shorter. */
function handshake(): Step[] {
  const words = (...values: bigint[]) => {
    const bytes = Buffer.alloc(values.length * 8)
    for (const [i, value] of values.entries()) bytes.writeBigUInt64LE(value, i * 8)
    return bytes
  }
  const step = (request: number, payload: Buffer, fds: FdKind[] = []): Step => {
    const header = Buffer.alloc(12)
    for (const [i, value] of [request, 1, payload.length].entries()) header.writeUInt32LE(value, i * 4)
    return { bytes: Buffer.concat([header, payload]).toString('hex'), fds }
  }
  const protocolFeatures = 0x8009n
  const features = (1n << 30n) | (1n << 32n)
  return [
    step(16, words(protocolFeatures)),
    step(3, Buffer.alloc(0)),
    step(2, words(features)),
    step(37, words(0n, 0n, BigInt(MEMORY), 0n, 0n), ['file']),
    step(8, Buffer.from('0000000010000000', 'hex')),
    step(9, words(0n, 0x0n, 0x2000n, 0x1000n, 0n)),
    step(12, words(0n), ['eventfd']),
    step(18, Buffer.from('0000000001000000', 'hex')),
  ]
}

/** One descriptor of each kind, of this process. */
function descriptors(folder: string) {
  const path = join(tmpdir(), `ovfs-fuzz-memory-${process.pid}`)
  writeFileSync(path, Buffer.alloc(MEMORY))
  const memory = new FrontendMemory([{ guestAddress: 0, size: MEMORY }])
  const short = new FrontendMemory([{ guestAddress: 0, size: 4096 }])
  const ring = new FrontendRing(0, { failed: () => undefined })
  const opened = { file: openSync(path, 'r+'), null: openSync('/dev/null', 'r+') }
  const more = { folder: openSync(folder, 'r'), proc: openSync('/proc/self/maps', 'r') }
  const all: Record<FdKind, number> = {
    ...opened,
    ...more,
    memfd: memory.fd,
    short: short.fd,
    eventfd: ring.kickFd,
  }
  return {
    fdOf: (kind: FdKind) => all[kind],
    shorten: () => {
      ftruncateSync(opened.file, 0)
      ring.kick()
    },
    close: () => {
      for (const fd of [...Object.values(opened), ...Object.values(more)]) closeSync(fd)
      ring.close()
      memory.close()
      short.close()
    },
  }
}
