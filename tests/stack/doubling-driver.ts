// The driver's side of doubling-daemon.mjs: has numbers doubled, through guest memory that outlives any device, and looks that
// each request is answered once, and rightly.

import { setTimeout as delay } from 'node:timers/promises'
import { FrontendMemory, type FrontendRing } from '@ovfs/vhost-user'
import { DriverQueue, GuestMemory } from '@ovfs/virtqueue'
import { expect } from 'vitest'

const SIZE = 64
const DATA_AT = 0x10_0000

interface Asked {
  /** The place of the number, and behind it of its answer. */
  readonly slot: number
  readonly number: number
}

export class DoublingDriver {
  readonly memory = new FrontendMemory([{ guestAddress: 0, size: 0x20_0000 }])
  /** What the device did wrong with the ring. */
  readonly faults: unknown[] = []
  /** Of the ring, as a front-end starts it. */
  readonly layout
  /** Is kicked, when there is one. */
  ring: FrontendRing | undefined
  answered = 0
  #next = 1
  readonly #queue: DriverQueue
  readonly #numbers: Float64Array
  readonly #freeSlots = Array.from({ length: SIZE / 2 }, (_, i) => i)
  readonly #asked = new Map<number, Asked>()

  constructor() {
    const memory = new GuestMemory()
    for (const region of this.memory.regions) memory.addRegion(region)
    this.#numbers = new Float64Array(this.memory.regions[0]!.pieces[0] as ArrayBuffer, DATA_AT)
    const onError = (error: unknown) => this.faults.push(error)
    this.#queue = new DriverQueue(memory, { size: SIZE, address: 0, eventIdx: true, onError })
    const { descAddress, availAddress, usedAddress } = this.#queue.ring
    this.layout = {
      index: 0,
      size: SIZE,
      descAddress: 0,
      availAddress: availAddress - descAddress,
      usedAddress: usedAddress - descAddress,
    }
  }

  /** Takes what is answered; to be called when the ring calls. */
  readonly collect = (): void => {
    do {
      this.#queue.collect((head, written) => {
        const request = this.#asked.get(head)
        expect(request, `head ${head} was asked for`).toBeDefined()
        this.#asked.delete(head)
        expect(written).toBe(8)
        expect(this.#numbers[2 * request!.slot + 1]).toBe(2 * request!.number)
        this.#freeSlots.push(request!.slot)
        this.answered++
      })
    } while (this.#queue.enableInterrupts())
  }

  /** Asks for up to eleven numbers, as far as there is room. */
  askSome(): void {
    for (let i = Math.floor(Math.random() * 12); i > 0; i--) this.ask()
  }

  /** Asks again and again for a while, at least until one more is answered. */
  async work(): Promise<void> {
    const before = this.answered
    const moments = 5 + Math.floor(Math.random() * 20)
    for (let moment = 0; moment < moments || this.answered === before; moment++) {
      this.askSome()
      await delay(1)
    }
  }

  /** Waits until nothing is under way, and expects one answer for each request. */
  async settle(): Promise<void> {
    while (this.#asked.size > 0) await delay(1)
    expect(this.answered).toBe(this.#next - 1)
  }

  /** @param number one that no test waits for, or the next in the row */
  ask(number?: number): void {
    const slot = this.#freeSlots.shift()
    if (slot === undefined) return
    number ??= this.#next++
    this.#numbers[2 * slot] = number
    this.#numbers[2 * slot + 1] = -1
    const at = DATA_AT + 16 * slot
    const head = this.#queue.add([{ address: at, length: 8 }], [{ address: at + 8, length: 8 }], false)
    this.#asked.set(head, { slot, number })
    this.#queue.publish()
    if (this.#queue.kickNeeded()) this.ring?.kick()
  }
}
