// Whole sessions in the wrong order: each message is right by itself, and comes when no monitor would send it.

import { FrontendMemory, type FrontendRing, FrontendSession } from '@ovfs/vhost-user'
import { DriverQueue, GuestMemory } from '@ovfs/virtqueue'
import { fuseMessage } from './fuse-message.ts'
import { initMessage } from './good-guest.ts'
import type { Level } from './level.ts'
import { Random } from './random.ts'
import type { Victim } from './victim.ts'

const MOVES = [
  'handshake',
  'owner',
  'reset owner',
  'features',
  'no features',
  'status',
  'status 0',
  'reset device',
  'add memory',
  'remove memory',
  'empty table',
  'start ring',
  'stop ring',
  'base of a ring',
  'enable ring',
  'disable ring',
  'new kick',
  'no kick',
  'requests',
  'init',
  'look away',
  'half a message',
] as const

interface Move {
  readonly what: (typeof MOVES)[number]
  readonly seed: number
}

export interface SessionCase {
  readonly moves: readonly Move[]
  /** Requests go out without waiting for the answer to the one before. */
  readonly hasty: boolean
}

const MEMORY = 0x80000
const RING_BYTES = 0x10000
const SIZE = 32
/** A seed that makes a move about ring 1, to which INIT goes. */
const ON_REQUEST_QUEUE = 1
const VERSION_1 = 1n << 32n
const PROTOCOL_FEATURES = 1n << 30n

export class SessionLevel implements Level<SessionCase> {
  readonly name = 'session'
  messages = 0
  readonly #victim: Victim

  constructor(victim: Victim) {
    this.#victim = victim
  }

  generate(random: Random): SessionCase {
    const moves = random.times(40, () => ({ what: random.pick(MOVES), seed: random.next() }))
    const opening = ['handshake', 'add memory', 'start ring', 'init'] as const
    const opened = random.oneIn(3) ? [] : opening.map(what => ({ what, seed: ON_REQUEST_QUEUE }))
    return { moves: [...opened, ...moves], hasty: random.oneIn(3) }
  }

  async run({ moves, hasty }: SessionCase, moment: () => Promise<void>): Promise<void> {
    const front = new FrontEnd(this.#victim.socketPath)
    this.messages = moves.length
    try {
      for (const { what, seed } of moves) {
        if (front.isOver) break
        const done = front.make(what, new Random(seed)).catch((error: Error) => {
          // Refused, sent away, or impossible for the front-end itself: all of that is to be expected.
          if (error instanceof TypeError) throw error
        })
        // What the back-end waits for now never comes.
        if (what === 'half a message') break
        if (!hasty) await done
        else await new Promise(setImmediate)
        await moment()
      }
    } finally {
      front.close()
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

class FrontEnd {
  readonly #session: FrontendSession
  readonly #memories: FrontendMemory[] = []
  readonly #queues = new Map<number, { ring: FrontendRing; queue: DriverQueue }>()

  constructor(socketPath: string) {
    this.#session = FrontendSession.connect(socketPath)
  }

  get isOver(): boolean {
    return this.#session.endedBy !== undefined
  }

  close(): void {
    this.#session.close()
    for (const memory of this.#memories) memory.close()
  }

  async make(what: Move['what'], random: Random): Promise<void> {
    const session = this.#session
    const index = random.below(3)
    switch (what) {
      case 'handshake':
        await session.handshake()
        break
      case 'owner':
        await session.request('SET_OWNER')
        break
      case 'reset owner':
        await session.request('RESET_OWNER')
        break
      case 'features':
        await session.setFeatures(VERSION_1 | PROTOCOL_FEATURES | (BigInt(random.below(4)) << 28n))
        break
      case 'no features':
        await session.setFeatures(0n)
        break
      case 'status':
        await session.request('SET_STATUS', 0xfn)
        break
      case 'status 0':
        await session.request('SET_STATUS', 0n)
        break
      case 'reset device':
        await session.request('RESET_DEVICE')
        break
      case 'add memory':
        await this.#addMemory(random)
        break
      case 'remove memory': {
        const memory = this.#memories[random.below(this.#memories.length)]
        if (memory) await session.removeMemory(memory)
        break
      }
      case 'empty table':
        await session.request('SET_MEM_TABLE', [])
        break
      case 'start ring':
        await this.#startRing(index)
        break
      case 'stop ring': {
        const started = this.#queues.get(index)
        if (started) await session.stopRing(started.ring)
        break
      }
      case 'base of a ring':
        await session.request('GET_VRING_BASE', { index, num: 0 })
        break
      case 'enable ring':
      case 'disable ring':
        await session.request('SET_VRING_ENABLE', { index, num: what === 'enable ring' ? 1 : 0 })
        break
      case 'new kick':
      case 'no kick': {
        const fds = [...this.#queues.values()].slice(0, 1).map(({ ring }) => ring.kickFd)
        const noFd = what === 'no kick'
        await session.request('SET_VRING_KICK', { index, noFd }, noFd ? [] : fds)
        break
      }
      case 'requests':
        this.#send(
          index,
          random.times(8, () => fuseMessage(random)),
        )
        break
      case 'init':
        this.#send(1, [await initMessage()])
        break
      case 'look away':
        await new Promise(setImmediate)
        break
      case 'half a message':
        session.sendBytes(random.bytes(1 + random.below(11)))
        break
    }
  }

  async #addMemory(random: Random): Promise<void> {
    if (this.#memories.length > 8) return
    const guestAddress = (this.#memories.length === 0 ? 0 : random.below(6)) * MEMORY
    const memory = new FrontendMemory([{ guestAddress, size: MEMORY }])
    this.#memories.push(memory)
    await this.#session.addMemory(memory)
  }

  async #startRing(index: number): Promise<void> {
    const [memory] = this.#memories
    if (!memory) return
    const guest = new GuestMemory()
    for (const region of memory.regions) guest.addRegion(region)
    const address = index * RING_BYTES
    const queue = new DriverQueue(guest, { size: SIZE, address, eventIdx: false, onError: () => undefined })
    const place = (user: number) => address + (user - queue.ring.descAddress)
    const ring = await this.#session.startRing({
      index,
      size: SIZE,
      descAddress: address,
      availAddress: place(queue.ring.availAddress),
      usedAddress: place(queue.ring.usedAddress),
    })
    this.#queues.set(index, { ring, queue })
  }

  /** Puts requests into the ring, whatever has become of it meanwhile. */
  #send(index: number, messages: readonly Uint8Array[]): void {
    const started = this.#queues.get(index)
    const [memory] = this.#memories
    if (!started || !memory || this.isOver) return
    const bytes = new Uint8Array(memory.regions[0]!.pieces[0] as ArrayBuffer)
    for (const [i, message] of messages.entries()) {
      const at = 0x40000 + i * 0x1000
      bytes.set(message.subarray(0, 0x800), at)
      const readable = [{ address: at, length: Math.min(message.byteLength, 0x800) }]
      started.queue.add(readable, [{ address: at + 0x800, length: 0x800 }], false)
    }
    started.queue.publish()
    started.ring.kick()
  }
}
