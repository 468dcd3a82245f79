// The device side of one split ring: takes chains that the driver made available, gives them back used, and asks for and
// sends notifications no more often than needed. Everything that the driver writes may be hostile: what it does wrong
// marks the ring broken, and a broken ring is quiet for ever.

import { BusyWait } from './busy-wait.ts'
import { Chain, type ChainOwner } from './chain.ts'
import { ChainWalker } from './chain-walk.ts'
import type { DeviceQueueOptions } from './device-queue-options.ts'
import type { DirtyLog } from './dirty-log.ts'
import { VirtqueueError, type VirtqueueErrorCode } from './errors.ts'
import type { GuestMemory, MemoryRegion } from './guest-memory.ts'
import { InflightRing } from './inflight-ring.ts'
import { Releases } from './releases.ts'
import { checkRing, type RingAddresses, resolveRing } from './ring-layout.ts'
import { UsedRing } from './used-ring.ts'

declare const queueMicrotask: (callback: () => void) => void

const NO_HALVES: Uint16Array = new Uint16Array(0)

/** Chains of one `drain`, if not said otherwise. */
const DEFAULT_BUDGET = 1024
/** With the 32768 completions that can wait for a microtask, fewer than the 65536 at which a free-running index wraps. */
const MAX_BUDGET = 16384
/**
 * During a drain, completions are shown to a polling driver in groups of this size: each store of the index moves a cache
 * line between cores. Measured with bench/ring-two-cores.ts at depth 32: 1 gives 2.6, 4 gives 3.5, 8 gives 3.7 M chains/s,
 * and more gives no more.
 */
const PUBLISH_EVERY = 8
/** A drain that moved this many bytes since it last did so publishes and notifies: copying costs far more than that. */
const FLUSH_BYTES = 128 << 10

/** What the ring says about kicks; on means at the next index to take. */
const KICKS_UNKNOWN = 0
const KICKS_OFF = 1
const KICKS_ON = 2

export class DeviceQueue implements ChainOwner {
  readonly size: number
  readonly #memory: GuestMemory
  readonly #ring: RingAddresses
  readonly #notify: () => void
  readonly #onError: (error: VirtqueueError) => void
  readonly #walker: ChainWalker
  readonly #chains: (Chain | undefined)[]

  readonly #used: UsedRing
  readonly #inflightRing: InflightRing | undefined
  /** Heads that a predecessor took and never returned. */
  readonly #abandoned: number[] = []
  #generation = -1
  /** False while some of the ring's memory is not there. */
  #mapped = false
  /** Available ring: `#avail[#availAt]` is its flags. */
  #avail = NO_HALVES
  #availAt = 0

  /** Next available index to take. */
  #lastAvail: number
  #kicks: typeof KICKS_UNKNOWN | typeof KICKS_OFF | typeof KICKS_ON = KICKS_UNKNOWN
  #inFlight = 0
  /** Bytes of the chains completed since the last #flush. */
  #movedBytes = 0
  /** Completions while the ring is not mapped: head, length, head, length ... */
  readonly #deferred: number[] = []

  readonly #wait = new BusyWait()
  #draining = false
  #stopping = false
  #keepsRecord = false
  #closed = false
  #broken: VirtqueueError | undefined
  #stopped: Promise<number> | undefined
  #resolveStopped: ((base: number) => void) | undefined
  readonly #releases = new Releases()
  #log: DirtyLog | undefined
  #flushQueued = false
  readonly #flushLater = () => {
    this.#flushQueued = false
    this.#flush()
  }

  /** Throws RING_SIZE, RING_ALIGNMENT, RING_NOT_MAPPED, INFLIGHT_INVALID. Takes nothing yet: call `drain` once after starting. */
  constructor(memory: GuestMemory, options: DeviceQueueOptions) {
    checkRing(options)
    const { size, descAddress, availAddress, usedAddress, indirect } = options
    this.size = size
    this.#memory = memory
    this.#ring = { size, descAddress, availAddress, usedAddress }
    this.#inflightRing = options.inflight && new InflightRing(options.inflight, size)
    this.#used = new UsedRing(size, options.eventIdx, this.#inflightRing)
    this.#notify = options.notify
    this.#onError = options.onError
    this.#chains = new Array(size).fill(undefined)
    const maxChainLength = options.maxChainLength ?? Math.max(size, 1024)
    this.#walker = new ChainWalker(memory, { size, indirect, maxChainLength })
    if (!this.remap()) {
      throw new VirtqueueError(
        'RING_NOT_MAPPED',
        'a part of the ring is not, or not in one piece, in guest memory',
      )
    }
    this.#used.resume()
    this.#lastAvail = (options.base ?? this.#used.index) & 0xffff
    const abandoned = this.#inflightRing?.recover(this.#used.index)
    if (abandoned) {
      this.#abandoned.push(...abandoned)
      // Each chain taken is either used or in flight.
      this.#lastAvail = (this.#used.index + abandoned.length) & 0xffff
    }
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
   * asked to kick. A call when there is nothing to do is cheap. Calls from within `handle` do nothing. Throws what `handle`
   * throws; its chain goes back with nothing written.
   */
  drain(handle: (chain: Chain) => void, budget: number = DEFAULT_BUDGET): boolean {
    if (this.#draining || !this.#isReady()) return false
    let left = Math.min(budget, MAX_BUDGET)
    this.#draining = true
    try {
      if (this.#abandoned.length > 0 && !this.#take(this.#abandoned.length, handle, this.#abandoned))
        return false
      while (!this.#stopping) {
        const pending = (Atomics.load(this.#avail, this.#availAt + 1) - this.#lastAvail) & 0xffff
        if (pending === 0) {
          if (this.#kicks === KICKS_ON) return false
          if (this.#moreCame()) continue
          this.#kicks = KICKS_ON
          this.#used.enableKicks(this.#lastAvail)
          continue
        }
        // 2.7.13: the driver makes at most `size` buffers available.
        if (pending > this.size) {
          this.#fail('AVAIL_JUMP', `${pending} chains available in a ring of ${this.size}`)
          return false
        }
        if (left <= 0) return true
        if (this.#kicks !== KICKS_OFF) {
          this.#kicks = KICKS_OFF
          this.#used.disableKicks()
        }
        const count = Math.min(pending, left)
        left -= count
        if (!this.#take(count, handle, undefined)) return false
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
    if (this.#closed) return false
    const parts = resolveRing(this.#memory, this.#ring)
    this.#mapped = parts !== undefined
    this.#kicks = KICKS_UNKNOWN
    this.#walker.setTable(parts?.desc)
    this.#avail = parts?.avail.piece.halves ?? NO_HALVES
    this.#availAt = (parts?.avail.offset ?? 0) >>> 1
    this.#used.map(parts)
    if (this.#mapped && this.#deferred.length > 0) {
      for (let i = 0; i < this.#deferred.length; i += 2) {
        this.#used.push(this.#deferred[i]!, this.#deferred[i + 1]!)
      }
      this.#deferred.length = 0
      this.#flushSoon()
    }
    return this.#mapped
  }

  /**
   * What the device writes from now on, and what it has written to chains in flight, is marked in the log; undefined: no more.
   * @param usedAddress where the used ring is, for the log; undefined if writes to it are not to be marked
   */
  setLog(log: DirtyLog | undefined, usedAddress: number | undefined): void {
    this.#log = log
    this.#used.setLog(usedAddress === undefined ? undefined : log, usedAddress ?? 0)
  }

  /**
   * Takes no more chains. The result is the next available index to process, once every chain in flight has been
   * completed and published: at once if there is none. The queue is finished then; a new one may take the ring.
   * @param keepsRecord the new one is to go on by the record of chains in flight, because nobody is told the result
   */
  stop(keepsRecord = false): number | Promise<number> {
    this.#stopping = true
    this.#keepsRecord = keepsRecord
    if (this.#inFlight === 0) {
      this.#finish()
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
    for (const chain of this.#chains) {
      if (chain === undefined || !chain.inFlight) continue
      chain.inFlight = false
      this.#log?.markSpans(chain.writable)
      chain.readable.clear()
      chain.writable.clear()
    }
    this.#inFlight = 0
    this.#close()
    this.#releases.abandon()
  }

  /**
   * For a region that was removed from the guest memory: a promise that settles when no chain in flight reaches into it
   * any more, or undefined if none does.
   */
  release(region: Pick<MemoryRegion, 'pieces'>): Promise<void> | undefined {
    this.#isReady()
    const { pieces } = region
    return this.#without(({ readable, writable }) => readable.reaches(pieces) || writable.reaches(pieces))
  }

  /** The same for all chains that are in flight now. */
  returned(): Promise<void> | undefined {
    return this.#without(() => true)
  }

  #without(matters: (chain: Chain) => boolean): Promise<void> | undefined {
    const chains = this.#chains.filter(chain => chain?.inFlight && matters(chain)) as Chain[]
    return chains.length === 0 ? undefined : this.#releases.after(new Set(chains))
  }

  /** Called by Chain.complete only. */
  retire(chain: Chain, written: number): void {
    if (!chain.inFlight) {
      if (this.#closed) return
      throw new VirtqueueError('NOT_IN_FLIGHT', `chain ${chain.head} was completed before`)
    }
    const sent = chain.readable.byteLength
    const room = chain.writable.byteLength
    // 2.7.8.2: never more than what was written from the start of the writable part; the field has 32 bits.
    const length = written > 0 ? Math.min(written, room, 0xffff_ffff) : 0
    // All of it: an answer that failed halfway has written more than it tells.
    if (this.#log !== undefined) this.#log.markSpans(chain.writable)
    chain.inFlight = false
    chain.readable.clear()
    chain.writable.clear()
    this.#inFlight--
    if (this.#isReady()) {
      this.#used.push(chain.head, length)
      this.#movedBytes += sent + length
      if (!this.#draining) this.#flushSoon()
      else if (this.#movedBytes >= FLUSH_BYTES) this.#flush()
      else if (this.#used.unpublished >= PUBLISH_EVERY) this.#used.publish()
    } else if (this.#broken === undefined) {
      this.#deferred.push(chain.head, length)
    }
    if (this.#releases.awaited) this.#releases.completed(chain)
    if (this.#resolveStopped !== undefined && this.#inFlight === 0) this.#finish()
  }

  /**
   * Takes `count` chains, new ones or those that a predecessor took and never returned. Returns false if the ring broke,
   * stopped or vanished on the way.
   */
  #take(count: number, handle: (chain: Chain) => void, abandoned: number[] | undefined): boolean {
    const mask = this.size - 1
    for (let i = 0; i < count; i++) {
      const head =
        abandoned === undefined
          ? this.#avail[this.#availAt + 2 + (this.#lastAvail & mask)]!
          : abandoned.shift()!
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
      if (abandoned === undefined) {
        this.#lastAvail = (this.#lastAvail + 1) & 0xffff
        if (this.#inflightRing !== undefined) this.#inflightRing.take(head)
      }
      chain.inFlight = true
      this.#inFlight++
      try {
        handle(chain)
      } catch (error) {
        // Nobody else will: whoever stops the queue would wait for it without end.
        if (chain.inFlight) chain.complete(0)
        throw error
      }
      if (this.#stopping || !this.#isReady()) return false
    }
    return true
  }

  /** Whether the ring may be touched, after looking whether the memory changed. */
  #isReady(): boolean {
    if (this.#memory.generation !== this.#generation) this.remap()
    return this.#mapped && this.#broken === undefined
  }

  #flushSoon(): void {
    if (this.#flushQueued) return
    this.#flushQueued = true
    queueMicrotask(this.#flushLater)
  }

  /** Shows the driver everything, then waits a moment for its next request; not while anything is still to be answered. */
  #moreCame(): boolean {
    if (this.#inFlight > 0) return false
    this.#flush()
    return this.#wait.changes(this.#avail, this.#availAt + 1, this.#lastAvail)
  }

  /** Publishes what was completed and decides once whether to notify. */
  #flush(): void {
    if (!this.#isReady()) return
    this.#movedBytes = 0
    if (this.#used.unpublished > 0) this.#used.publish()
    if (this.#log !== undefined) this.#log.announce()
    if (this.#used.notifyNeeded()) this.#notify()
  }

  /** Everything that was taken has been returned. */
  #finish(): void {
    this.#flush()
    // A broken ring is laid anew by its driver. Without the ring's memory, or not taken again, chains stay on record.
    const settled = this.#mapped && this.#abandoned.length === 0 && !this.#keepsRecord
    if (settled || this.#broken !== undefined) this.#inflightRing?.forget()
    this.#close()
  }

  /** Lets go of the ring, which may get another queue. */
  #close(): void {
    this.#closed = true
    this.#stopping = true
    this.#mapped = false
    this.#deferred.length = 0
    this.#avail = NO_HALVES
    this.#used.map(undefined)
    this.#walker.setTable(undefined)
    this.#resolveStopped?.(this.#lastAvail)
    this.#resolveStopped = undefined
  }

  #fail(code: VirtqueueErrorCode, what: string): void {
    this.#broke(new VirtqueueError(code, `available index ${this.#lastAvail}: ${what}`))
  }

  /** What was completed before is still published. */
  #broke(error: VirtqueueError): void {
    this.#flush()
    this.#broken = error
    this.#onError(error)
  }
}
