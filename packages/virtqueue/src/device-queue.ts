// The device side of one split ring: takes chains that the driver made available, gives them back used, and asks for and
// sends notifications no more often than needed. Everything in the ring but the used part belongs to the driver, which may
// be hostile: what it does wrong marks the ring broken, and a broken ring is quiet for ever.
//
// retire() and #publish() are the only places that write to the ring's memory, apart from the two that switch kicks.

import { Chain, type ChainOwner } from './chain.ts'
import { ChainWalker } from './chain-walk.ts'
import { VirtqueueError, type VirtqueueErrorCode } from './errors.ts'
import type { GuestMemory, MemoryRegion } from './guest-memory.ts'
import {
  checkRing,
  needEvent,
  RING_HEADER_SIZE,
  type RingAddresses,
  resolveRing,
  USED_ENTRY_SIZE,
  VIRTQ_AVAIL_F_NO_INTERRUPT,
  VIRTQ_USED_F_NO_NOTIFY,
} from './ring-layout.ts'

export interface DeviceQueueOptions extends RingAddresses {
  /** Next index in the available ring to process; 0 for a new ring. */
  readonly base: number
  /** VIRTIO_RING_F_EVENT_IDX was negotiated. */
  readonly eventIdx: boolean
  /** VIRTIO_RING_F_INDIRECT_DESC was negotiated. */
  readonly indirect: boolean
  /** Tells the driver that there are used buffers. Must not throw. */
  readonly notify: () => void
  /** Called once, when the driver breaks the ring. Must not throw. */
  readonly onError: (error: VirtqueueError) => void
  /**
   * Most entries of an indirect table. The specification allows as many as the ring has; drivers with small rings are
   * known to send more, so the default is that or 1024, whichever is more. With `size` it bounds the memory that the
   * driver can make a queue use: 32 bytes for each entry of each chain in flight.
   */
  readonly maxChainLength?: number
}

declare const queueMicrotask: (callback: () => void) => void

const NO_HALVES: Uint16Array = new Uint16Array(0)
const NO_VIEW: DataView = new DataView(NO_HALVES.buffer)

/** Chains of one `drain`, if not said otherwise. */
const DEFAULT_BUDGET = 1024
/** With the 32768 completions that can wait for a microtask, fewer than the 65536 at which a free-running index wraps. */
const MAX_BUDGET = 16384
/** Completions of a drain that go unseen by a polling driver. */
const PUBLISH_EVERY = 8

interface ReleaseWait {
  readonly chains: Set<Chain>
  readonly resolve: () => void
}

export class DeviceQueue implements ChainOwner {
  readonly size: number
  readonly #memory: GuestMemory
  readonly #ring: RingAddresses
  readonly #eventIdx: boolean
  readonly #notify: () => void
  readonly #onError: (error: VirtqueueError) => void
  readonly #walker: ChainWalker
  readonly #chains: (Chain | undefined)[]

  #generation = -1
  /** False while some of the ring's memory is not there. */
  #mapped = false
  /** Available ring: `#avail[#availAt]` is its flags. */
  #avail = NO_HALVES
  #availAt = 0
  #used = NO_HALVES
  #usedAt = 0
  #usedView = NO_VIEW
  #usedElements = 0

  /** Next available index to take. */
  #lastAvail: number
  /** Next used index to write; elements from #publishedUsed on are not yet visible to the driver. */
  #nextUsed = 0
  #publishedUsed = 0
  /** The used index at the last decision whether to notify; -1 before the first one. */
  #decidedUsed = -1
  /** Kicks are asked for, at #lastAvail. */
  #armed = false
  #inFlight = 0
  /** Completions while the ring is not mapped: head, length, head, length ... */
  readonly #deferred: number[] = []

  #draining = false
  #stopping = false
  #detached = false
  #broken: VirtqueueError | undefined
  #stopped: Promise<number> | undefined
  #resolveStopped: ((base: number) => void) | undefined
  #releaseWaits: ReleaseWait[] = []
  #flushQueued = false
  readonly #flushLater = () => {
    this.#flushQueued = false
    this.#flush()
  }

  /** Throws RING_SIZE, RING_ALIGNMENT, RING_NOT_MAPPED. Takes nothing yet: call `drain` once after starting. */
  constructor(memory: GuestMemory, options: DeviceQueueOptions) {
    checkRing(options)
    const { size, descAddress, availAddress, usedAddress, indirect } = options
    this.size = size
    this.#memory = memory
    this.#ring = { size, descAddress, availAddress, usedAddress }
    this.#eventIdx = options.eventIdx
    this.#notify = options.notify
    this.#onError = options.onError
    this.#lastAvail = options.base & 0xffff
    this.#chains = new Array(size).fill(undefined)
    const maxChainLength = options.maxChainLength ?? Math.max(size, 1024)
    this.#walker = new ChainWalker(memory, { size, indirect, maxChainLength })
    if (!this.remap()) {
      throw new VirtqueueError(
        'RING_NOT_MAPPED',
        'a part of the ring is not, or not in one piece, in guest memory',
      )
    }
    this.#nextUsed = Atomics.load(this.#used, this.#usedAt + 1)
    this.#publishedUsed = this.#nextUsed
  }

  /** Chains taken and not completed. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** What the driver did wrong; the ring is dead then. */
  get broken(): VirtqueueError | undefined {
    return this.#broken
  }

  /** Next available index to take: where a successor of this queue goes on. */
  get base(): number {
    return this.#lastAvail
  }

  /**
   * Hands every available chain to `handle`, until the ring is empty or `budget` chains were taken, then notifies the
   * driver if it asked for that. Returns true if more may be waiting: call again, soon, because the driver has not been
   * asked to kick. A call when there is nothing to do is cheap. Calls from within `handle` do nothing.
   */
  drain(handle: (chain: Chain) => void, budget: number = DEFAULT_BUDGET): boolean {
    if (this.#draining || !this.#isReady()) return false
    let left = Math.min(budget, MAX_BUDGET)
    this.#draining = true
    try {
      while (!this.#stopping) {
        const pending = (Atomics.load(this.#avail, this.#availAt + 1) - this.#lastAvail) & 0xffff
        if (pending === 0) {
          if (this.#armed) return false
          this.#enableKicks()
          continue
        }
        // 2.7.13: the driver makes at most `size` buffers available.
        if (pending > this.size) {
          this.#fail('AVAIL_JUMP', `${pending} chains available in a ring of ${this.size}`)
          return false
        }
        if (left <= 0) return true
        if (this.#armed) this.#disableKicks()
        const count = Math.min(pending, left)
        left -= count
        if (!this.#take(count, handle)) return false
      }
      return false
    } finally {
      this.#draining = false
      this.#flush()
    }
  }

  /**
   * Looks again where the ring's parts are, after a change of the memory's regions. Returns whether all are there; if
   * not, the queue is quiet until they are. It notices changes by itself when it is used, so the one thing to do after
   * adding regions is to call `drain`, because kicks may have gone unheard.
   */
  remap(): boolean {
    this.#generation = this.#memory.generation
    if (this.#detached) return false
    const parts = resolveRing(this.#memory, this.#ring)
    this.#mapped = parts !== undefined
    this.#armed = false
    this.#walker.setTable(parts?.desc)
    this.#avail = parts?.avail.halves ?? NO_HALVES
    this.#availAt = (parts?.avail.offset ?? 0) >>> 1
    this.#used = parts?.used.halves ?? NO_HALVES
    this.#usedAt = (parts?.used.offset ?? 0) >>> 1
    this.#usedView = parts?.used.view ?? NO_VIEW
    this.#usedElements = (parts?.used.offset ?? 0) + RING_HEADER_SIZE
    if (this.#mapped && this.#deferred.length > 0) {
      for (let i = 0; i < this.#deferred.length; i += 2) {
        this.#writeUsed(this.#deferred[i]!, this.#deferred[i + 1]!)
      }
      this.#deferred.length = 0
      this.#flushSoon()
    }
    return this.#mapped
  }

  /**
   * Takes no more chains. The result is the next available index to process, once every chain in flight has been
   * completed and published: at once if there is none.
   */
  stop(): number | Promise<number> {
    this.#stopping = true
    if (this.#inFlight === 0) {
      this.#flush()
      return this.#lastAvail
    }
    this.#stopped ??= new Promise(resolve => {
      this.#resolveStopped = resolve
    })
    return this.#stopped
  }

  /**
   * The memory is about to vanish: empties the spans of every chain in flight and never touches memory again. Later
   * `complete` calls do nothing. Whoever waits for `stop` or `release` need not wait longer.
   */
  detach(): void {
    this.#detached = true
    this.#stopping = true
    for (const chain of this.#chains) {
      if (chain === undefined || !chain.inFlight) continue
      chain.inFlight = false
      chain.readable.clear()
      chain.writable.clear()
    }
    this.#inFlight = 0
    this.#deferred.length = 0
    this.#mapped = false
    this.#avail = NO_HALVES
    this.#used = NO_HALVES
    this.#usedView = NO_VIEW
    this.#walker.setTable(undefined)
    for (const wait of this.#releaseWaits) wait.resolve()
    this.#releaseWaits = []
    this.#resolveStopped?.(this.#lastAvail)
    this.#resolveStopped = undefined
  }

  /**
   * For a region that was removed from the guest memory: a promise that settles when no chain in flight reaches into it
   * any more, or undefined if none does.
   */
  release(region: Pick<MemoryRegion, 'pieces'>): Promise<void> | undefined {
    this.#isReady()
    const chains = new Set<Chain>()
    for (const chain of this.#chains) {
      if (
        chain?.inFlight &&
        (chain.readable.reaches(region.pieces) || chain.writable.reaches(region.pieces))
      ) {
        chains.add(chain)
      }
    }
    if (chains.size === 0) return undefined
    return new Promise(resolve => this.#releaseWaits.push({ chains, resolve }))
  }

  /** Called by Chain.complete only. */
  retire(chain: Chain, written: number): void {
    if (!chain.inFlight) {
      if (this.#detached) return
      throw new VirtqueueError('NOT_IN_FLIGHT', `chain ${chain.head} was completed before`)
    }
    const room = chain.writable.byteLength
    // 2.7.8.2: never more than what was written from the start of the writable part; the field has 32 bits.
    const length = written > 0 ? Math.min(written, room, 0xffff_ffff) : 0
    chain.inFlight = false
    chain.readable.clear()
    chain.writable.clear()
    this.#inFlight--
    if (this.#broken === undefined) {
      if (this.#isReady()) this.#writeUsed(chain.head, length)
      else this.#deferred.push(chain.head, length)
      if (!this.#draining) this.#flushSoon()
      else if (((this.#nextUsed - this.#publishedUsed) & 0xffff) >= PUBLISH_EVERY) this.#publish()
    }
    if (this.#releaseWaits.length > 0) this.#settleReleases(chain)
    if (this.#resolveStopped !== undefined && this.#inFlight === 0) {
      this.#flush()
      this.#resolveStopped(this.#lastAvail)
      this.#resolveStopped = undefined
    }
  }

  /** Takes `count` chains; returns false if the ring broke, stopped or vanished on the way. */
  #take(count: number, handle: (chain: Chain) => void): boolean {
    const mask = this.size - 1
    for (let i = 0; i < count; i++) {
      const head = this.#avail[this.#availAt + 2 + (this.#lastAvail & mask)]!
      if (head >= this.size) {
        this.#fail('BAD_HEAD', `head ${head} in a ring of ${this.size}`)
        return false
      }
      let chain = this.#chains[head]
      if (chain === undefined) {
        chain = new Chain(this, head)
        this.#chains[head] = chain
      }
      if (chain.inFlight) {
        this.#fail('HEAD_IN_FLIGHT', `head ${head} is available again before it was used`)
        return false
      }
      if (!this.#walker.walk(head, chain.readable, chain.writable)) {
        chain.readable.clear()
        chain.writable.clear()
        this.#broke(this.#walker.fault!)
        return false
      }
      this.#lastAvail = (this.#lastAvail + 1) & 0xffff
      chain.inFlight = true
      this.#inFlight++
      handle(chain)
      if (this.#stopping || !this.#isReady()) return false
    }
    return true
  }

  /** Whether the ring may be touched, after looking whether the memory changed. */
  #isReady(): boolean {
    if (this.#memory.generation !== this.#generation) this.remap()
    return this.#mapped && this.#broken === undefined
  }

  #writeUsed(head: number, length: number): void {
    const at = this.#usedElements + (this.#nextUsed & (this.size - 1)) * USED_ENTRY_SIZE
    this.#usedView.setUint32(at, head, true)
    this.#usedView.setUint32(at + 4, length, true)
    this.#nextUsed = (this.#nextUsed + 1) & 0xffff
  }

  /** Shows the driver all used elements. Sequentially consistent: replies and elements are seen no later than the index. */
  #publish(): void {
    Atomics.store(this.#used, this.#usedAt + 1, this.#nextUsed)
    this.#publishedUsed = this.#nextUsed
  }

  #flushSoon(): void {
    if (this.#flushQueued) return
    this.#flushQueued = true
    queueMicrotask(this.#flushLater)
  }

  /** Publishes what was completed and decides once whether to notify. */
  #flush(): void {
    if (!this.#isReady() || this.#draining) return
    if (this.#publishedUsed !== this.#nextUsed) this.#publish()
    const before = this.#decidedUsed
    const after = this.#nextUsed
    if (before === after) return
    this.#decidedUsed = after
    // The load below must not pass the store of the used index: both are Atomics, so there is a full barrier between.
    if (!this.#eventIdx) {
      if ((Atomics.load(this.#avail, this.#availAt) & VIRTQ_AVAIL_F_NO_INTERRUPT) === 0) this.#notify()
    } else if (
      before === -1 ||
      needEvent(Atomics.load(this.#avail, this.#availAt + 2 + this.size), after, before)
    ) {
      this.#notify()
    }
  }

  /** 2.7.10: asks for a kick at the next available chain. The caller looks at the available index again afterwards. */
  #enableKicks(): void {
    this.#armed = true
    if (this.#eventIdx) Atomics.store(this.#used, this.#usedAt + 2 + this.size * 4, this.#lastAvail)
    else Atomics.store(this.#used, this.#usedAt, 0)
  }

  /** With event-idx nothing needs doing: the index at which a kick was asked for falls behind. */
  #disableKicks(): void {
    this.#armed = false
    if (!this.#eventIdx) Atomics.store(this.#used, this.#usedAt, VIRTQ_USED_F_NO_NOTIFY)
  }

  #settleReleases(chain: Chain): void {
    this.#releaseWaits = this.#releaseWaits.filter(wait => {
      wait.chains.delete(chain)
      if (wait.chains.size > 0) return true
      wait.resolve()
      return false
    })
  }

  #fail(code: VirtqueueErrorCode, what: string): void {
    this.#broke(new VirtqueueError(code, `available index ${this.#lastAvail}: ${what}`))
  }

  /** What was completed before is still published. */
  #broke(error: VirtqueueError): void {
    this.#draining = false
    this.#flush()
    this.#broken = error
    this.#onError(error)
  }
}
