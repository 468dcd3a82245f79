// Driver and device against a model of a ring, over random schedules. The two sides act in one thread but meet as if on
// two cores: each access to a shared index (each call of Atomics) may let the other side act first, which is where lost
// wake-ups come from. Both sides only react to kicks and notifications, so a lost one leaves a buffer stuck, and then the
// run ends with work undone.

import { type Chain, DeviceQueue, DriverQueue, GuestMemory } from '@ovfs/virtqueue'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { region } from './rig.ts'

/** For a longer run: RING_MODEL_STEPS=100000000 npx vitest run packages/virtqueue/test/ring.model.test.ts */
const STEPS = Number(process.env.RING_MODEL_STEPS ?? 1_000_000)
const STEPS_A_RUN = 1000
const RING_AT = 0x1000
const DATA_AT = 0x10_0000

interface Shape {
  readonly size: number
  readonly eventIdx: boolean
  readonly base: number
  /** Sides also look when nobody told them to, which would hide most lost wake-ups. */
  readonly spurious: boolean
  readonly seed: number
}

/** Marsaglia's xorshift: small, fast, and the same on every machine. The low bits are the weaker ones. */
function generator(seed: number): (below: number) => number {
  let state = seed | 1
  return below => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return Math.floor(((state >>> 0) / 0x1_0000_0000) * below)
  }
}

/** `expect` is too slow for a million steps. */
function check(holds: boolean, message: string): void {
  if (!holds) throw new Error(message)
}

class World {
  readonly #random: (below: number) => number
  readonly #spurious: boolean
  readonly #driver: DriverQueue
  readonly #device: DeviceQueue
  readonly #data: DataView
  /** Set by one side, cleared by the other before it acts: an eventfd. */
  #kicked = false
  #notified = false
  /** The device's event loop: its own wish to go on, and microtasks. */
  #moreWaiting = false
  readonly #microtasks: (() => void)[] = []
  /** The model: what was submitted and not yet taken, in order; what is in flight; what is in use by a buffer. */
  readonly #expected: number[] = []
  readonly #held: Chain[] = []
  readonly #tags = new Map<number, number>()
  #nextTag = 1
  collected = 0
  #acting: 'driver' | 'device' | undefined
  /** One side acts within an access of the other, so none may act within its accesses. */
  #meeting = false

  constructor(shape: Shape) {
    const { size, eventIdx, base, seed } = shape
    this.#random = generator(seed)
    this.#spurious = shape.spurious
    const memory = new GuestMemory()
    const mapped = region(0, 0x10_0000_0000, 0x20_0000)
    memory.addRegion(mapped)
    this.#data = new DataView(mapped.pieces[0]!)
    const onError = (error: Error) => {
      throw error
    }
    this.#driver = new DriverQueue(memory, {
      size,
      address: RING_AT,
      eventIdx,
      tableEntries: 3,
      base,
      onError,
    })
    this.#device = new DeviceQueue(memory, {
      ...this.#driver.ring,
      base,
      eventIdx,
      indirect: true,
      notify: () => {
        this.#notified = true
      },
      onError,
    })
    this.#drain()
  }

  get outstanding(): number {
    return this.#tags.size
  }

  /** Runs `steps` random steps, then lets both sides react until nothing is pending. */
  run(steps: number): void {
    const { load, store } = Atomics
    const { queueMicrotask } = globalThis
    const meet = () => {
      const interrupted = this.#acting
      if (interrupted === undefined || this.#meeting || this.#random(4) !== 0) return
      this.#meeting = true
      this.#acting = undefined
      if (interrupted === 'device') this.#driverStep()
      else this.#deviceStep()
      this.#acting = interrupted
      this.#meeting = false
    }
    Object.assign(Atomics, {
      load: (array: Uint16Array, index: number) => {
        meet()
        return load(array, index)
      },
      store: (array: Uint16Array, index: number, value: number) => {
        meet()
        return store(array, index, value)
      },
    })
    globalThis.queueMicrotask = task => this.#microtasks.push(task)
    try {
      for (let i = 0; i < steps; i++) {
        if (this.#random(2) === 0) this.#driverStep()
        else this.#deviceStep()
      }
      while (this.#react()) {}
    } finally {
      Object.assign(Atomics, { load, store })
      globalThis.queueMicrotask = queueMicrotask
    }
  }

  /** Only what an event asks for, and the device finishing what it holds. Returns false when nothing is pending. */
  #react(): boolean {
    if (this.#microtasks.length > 0) this.#as('device', () => this.#microtasks.shift()!())
    else if (this.#held.length > 0) this.#as('device', () => this.#complete())
    else if (this.#kicked || this.#moreWaiting) this.#as('device', () => this.#drain())
    else if (this.#notified) this.#as('driver', () => this.#interrupt())
    else return false
    return true
  }

  #driverStep(): void {
    const choice = this.#random(8)
    if (choice < 4) this.#as('driver', () => this.#submit(1 + this.#random(4)))
    else if (choice < 7 && this.#notified) this.#as('driver', () => this.#interrupt())
    else if (choice === 7 && this.#spurious) this.#as('driver', () => this.#collect())
  }

  #deviceStep(): void {
    const choice = this.#random(8)
    if (choice < 4 && (this.#kicked || this.#moreWaiting)) this.#as('device', () => this.#drain())
    else if (choice < 6 && this.#held.length > 0) this.#as('device', () => this.#complete())
    else if (choice === 6)
      this.#microtasks.length > 0 && this.#as('device', () => this.#microtasks.shift()!())
    else if (choice === 7 && this.#spurious) this.#as('device', () => this.#drain())
  }

  #as(side: 'driver' | 'device', action: () => void): void {
    if (this.#acting !== undefined) return
    this.#acting = side
    action()
    this.#acting = undefined
  }

  #submit(count: number): void {
    for (let i = 0; i < count; i++) {
      const tag = this.#nextTag
      const at = DATA_AT + (tag % 4096) * 64
      const readable = [{ address: at, length: 4 }]
      const writable = [{ address: at + 8, length: 4 }]
      const indirect = this.#random(2) === 0 || this.#driver.size < 2
      const head = this.#driver.add(readable, writable, indirect)
      if (head === -1) break
      this.#nextTag++
      this.#data.setUint32(at, tag, true)
      this.#data.setUint32(at + 8, 0, true)
      check(!this.#tags.has(head), `head ${head} is in use`)
      this.#tags.set(head, tag)
      this.#expected.push(tag)
    }
    this.#driver.publish()
    if (this.#driver.kickNeeded()) this.#kicked = true
  }

  #drain(): void {
    this.#kicked = false
    this.#moreWaiting = this.#device.drain(chain => this.#handle(chain), 1 + this.#random(6))
  }

  #handle(chain: Chain): void {
    const { readable } = chain
    const tag = readable.views[0]!.getUint32(readable.offsets[0]!, true)
    check(tag === this.#expected.shift(), `buffer ${tag} was taken out of order`)
    if (this.#random(2) === 0) this.#answer(chain)
    else this.#held.push(chain)
  }

  #complete(): void {
    const index = this.#random(this.#held.length)
    this.#answer(this.#held.splice(index, 1)[0]!)
  }

  #answer(chain: Chain): void {
    const { readable, writable } = chain
    const tag = readable.views[0]!.getUint32(readable.offsets[0]!, true)
    writable.views[0]!.setUint32(writable.offsets[0]!, tag, true)
    chain.complete(4)
  }

  #interrupt(): void {
    this.#notified = false
    if (this.#random(2) === 0) this.#driver.disableInterrupts()
    do this.#collect()
    while (this.#driver.enableInterrupts())
  }

  #collect(): void {
    this.#driver.collect((head, written) => {
      const tag = this.#tags.get(head)!
      check(
        this.#data.getUint32(DATA_AT + (tag % 4096) * 64 + 8, true) === tag,
        `buffer ${tag} has a wrong answer`,
      )
      check(written === 4, `buffer ${tag} has ${written} bytes`)
      this.#tags.delete(head)
      this.collected++
    })
  }
}

const shapes = fc.record({
  size: fc.constantFrom(1, 2, 4, 16, 256),
  eventIdx: fc.boolean(),
  base: fc.constantFrom(0, 1, 32767, 65000, 65535),
  spurious: fc.boolean(),
  seed: fc.integer(),
})

describe('a ring under random schedules', () => {
  it('answers every buffer once, in order of submission, and loses no wake-up', () => {
    let collected = 0
    fc.assert(
      fc.property(shapes, shape => {
        const world = new World(shape)
        for (let round = 0; round < 10; round++) {
          world.run(STEPS_A_RUN / 10)
          expect(world.outstanding).toBe(0)
        }
        collected += world.collected
      }),
      { numRuns: Math.ceil(STEPS / STEPS_A_RUN) },
    )
    expect(collected).toBeGreaterThan(STEPS / 10)
  }, 300_000)
})
