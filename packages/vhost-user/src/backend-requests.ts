// What the back-end does for each request: one method a request, typed by its row in messages.ts. A request whose row has no
// method here is answered as unsupported. Methods check values; sizes, descriptor counts and negotiation are checked before.

import { BackendChannel } from './backend-channel.ts'
import { readConfig, writeConfig } from './config-window.ts'
import type { VhostUserDevice } from './device.ts'
import { StateTransfers } from './device-state.ts'
import { DirtyLogging } from './dirty-logging.ts'
import { VhostUserError } from './errors.ts'
import { hasProtocolFeature, VHOST_F_LOG_ALL, VHOST_USER_F_PROTOCOL_FEATURES } from './features.ts'
import { createInflightRegion, InflightRegion } from './inflight-region.ts'
import { MAX_MEMORY_SLOTS, MemoryRegions } from './memory-regions.ts'
import type { FrontendRequest, Gate, PayloadOf, ReplyOf } from './messages.ts'
import { offeredProtocolFeatures } from './offered-features.ts'
import type { ReceivedFds } from './received-fds.ts'
import { closeForeignFd } from './sys/foreign-fd.ts'
import type { FdName, InheritedFds, SavedState } from './takeover/saved-session.ts'
import type { SessionKeeper } from './takeover/session-keeper.ts'
import { Vring } from './vring.ts'

const VHOST_VRING_F_LOG = 1
/** Back-end state transfer: the low byte is an error, bit 8 says that the front-end's descriptor is used. */
const STATE_NO_FD = 0x100n
const STATE_ERROR = 1n

type MaybeLater<T> = T | Promise<T>

export type RequestHandlers = {
  readonly [N in FrontendRequest]?: (
    payload: PayloadOf<N>,
    fds: ReceivedFds,
  ) => MaybeLater<[ReplyOf<N>] extends [undefined] ? void : ReplyOf<N> | ReplyWithFds<ReplyOf<N>>>
}

/** A reply that descriptors go with; they are closed once sent. */
export class ReplyWithFds<R> {
  readonly value: R
  readonly fds: readonly number[]

  constructor(value: R, fds: readonly number[]) {
    this.value = value
    this.fds = fds
  }
}

/** The state that requests work on; lives as long as the connection. */
export class BackendState {
  readonly device: VhostUserDevice
  readonly regions: MemoryRegions
  readonly rings: readonly Vring[]
  readonly #log: DirtyLogging
  readonly #state: StateTransfers
  readonly #report: (error: VhostUserError) => void
  #features = 0n
  #protocolFeatures = 0n
  #status = 0n
  #owned = false
  #channel: BackendChannel | undefined
  #channelName: FdName | undefined
  #inflight: InflightRegion | undefined
  #savedInflight: SavedState['inflight']
  readonly #keeper: SessionKeeper | undefined

  constructor(device: VhostUserDevice, report: (error: VhostUserError) => void, keeper?: SessionKeeper) {
    this.device = device
    this.#report = report
    this.#keeper = keeper
    this.regions = new MemoryRegions(device, report as (error: unknown) => void, keeper?.kept)
    this.#log = new DirtyLogging(device, report, keeper?.kept)
    this.#state = new StateTransfers(device, report)
    const { queueCount: length } = device
    this.rings = Array.from({ length }, (_, i) => new Vring(i, device, report, keeper?.ringRecords))
  }

  /** For a successor, which then restores it. */
  save({ kept }: SessionKeeper): SavedState {
    return {
      owned: this.#owned,
      features: `${this.#features}`,
      protocolFeatures: `${this.#protocolFeatures}`,
      status: Number(this.#status),
      regions: this.regions.save(),
      log: this.#log.save(),
      ...(this.#channelName !== undefined && { channel: this.#channelName }),
      ...(this.#savedInflight && { inflight: this.#savedInflight }),
      rings: this.rings.map(ring => ring.save(kept)),
    }
  }

  /**
   * What a predecessor had, into a device that is as new. Throws if it cannot be had again. A state transfer under way is not
   * among it: its pipe has broken, and CHECK_DEVICE_STATE says so.
   * @returns resolves when the buffers are returned that were in flight
   */
  restore(saved: SavedState, fds: InheritedFds): Promise<unknown> {
    if (saved.rings.length !== this.rings.length || saved.log.usedRings.length !== this.rings.length) {
      throw new VhostUserError(
        'TAKEOVER',
        `a session of ${saved.rings.length} rings, not ${this.rings.length}`,
      )
    }
    this.#owned = saved.owned
    this.#features = BigInt(saved.features)
    this.#protocolFeatures = BigInt(saved.protocolFeatures)
    this.#status = BigInt(saved.status)
    this.device.setFeatures(this.#features & ~(VHOST_USER_F_PROTOCOL_FEATURES | VHOST_F_LOG_ALL))
    this.regions.restore(saved.regions, fds)
    this.#log.restore(saved.log, fds)
    if (saved.channel !== undefined) this.#openChannel(fds.take(saved.channel), true)
    if (saved.inflight) this.#useInflight(saved.inflight, fds.peek(saved.inflight.fd))
    const earlier: (void | Promise<void>)[] = []
    this.#forEachRing(ring => {
      earlier.push(ring.restore(saved.rings[ring.index]!, fds))
    })
    return Promise.all(earlier)
  }

  /** Lets go of everything without a word to the device but that its memory goes: a successor goes on. The rings are drained. */
  async leave(): Promise<void> {
    for (const ring of this.rings) ring.close()
    this.#closeChannel()
    this.#state.cancel()
    await this.regions.leave()
    this.#inflight?.unmap()
    this.#log.switch(false)
    this.#log.clear()
  }

  cancelTransfers(): void {
    this.#state.cancel()
  }

  isNegotiated(gate: Gate): boolean {
    return gate === 'PROTOCOL_FEATURES'
      ? (this.#features & VHOST_USER_F_PROTOCOL_FEATURES) !== 0n
      : hasProtocolFeature(this.#protocolFeatures, gate)
  }

  /** A second SET_OWNER on a connection, or its end: nothing of the session is left, only what was negotiated before it. */
  async endSession(): Promise<void> {
    for (const ring of this.rings) ring.silence()
    this.#state.cancel()
    try {
      // The device may use guest memory until its promise settles. If it fails, the mappings stay: better leaked than gone
      // under its hands.
      await this.#resetDevice()
      this.#log.clear()
      this.#inflight?.unmap()
      this.#inflight = undefined
      this.#savedInflight = undefined
      this.#keeper?.ringRecords.clear()
      await this.regions.clear()
    } finally {
      for (const ring of this.rings) ring.close()
      this.#status = 0n
    }
  }

  /** The connection is over, and the last session with it. */
  async close(): Promise<void> {
    this.#closeChannel()
    await this.endSession()
  }

  #inflightBytes(size: number): number {
    return this.device.inflightBytes?.(size) ?? 0
  }

  #closeChannel(): void {
    if (!this.#channel) return
    this.#channel.close()
    this.#channel = undefined
    this.#channelName = undefined
    this.device.connectFrontend?.(undefined)
  }

  /** @param inherited answers to a predecessor may still come */
  #openChannel(fd: number, inherited: boolean): void {
    const options = {
      needsReply: this.isNegotiated('REPLY_ACK'),
      inherited,
      // Ring states: while all rings are stopped nothing is sent. The driver reads the space anew when it starts them.
      mayNotSend: () => !this.rings.some(ring => ring.running),
      failed: (error: VhostUserError) => this.#report(error),
    }
    try {
      this.#channel = new BackendChannel(fd, options)
    } catch (error) {
      closeForeignFd(fd)
      throw error
    }
    this.#channelName = this.#keeper?.kept.nameOf(fd)
    this.device.connectFrontend?.(this.#channel)
  }

  #useInflight(description: PayloadOf<'SET_INFLIGHT_FD'>, fd: number): void {
    const region = new InflightRegion(description, fd, size => this.#inflightBytes(size))
    for (const ring of this.rings) ring.setInflight(region)
    this.#inflight?.unmap()
    this.#inflight = region
    const name = this.#keeper?.kept.nameOf(fd)
    this.#savedInflight = name === undefined ? undefined : { ...description, fd: name }
  }

  /** Lets the device finish what it has taken. */
  async drainRings(): Promise<void> {
    await Promise.all(this.rings.map(ring => ring.stop()))
  }

  async #resetDevice(): Promise<void> {
    try {
      await this.device.reset()
    } catch (cause) {
      throw new VhostUserError('DEVICE_LOST', 'the device could not be reset', { cause })
    }
  }

  get #offeredFeatures(): bigint {
    const log = this.device.setLog ? VHOST_F_LOG_ALL : 0n
    return this.device.features | VHOST_USER_F_PROTOCOL_FEATURES | log
  }

  #ring(index: number): Vring {
    const ring = this.rings[index]
    if (!ring) {
      throw new VhostUserError('BAD_RING', `ring ${index} of a device that has ${this.rings.length}`)
    }
    return ring
  }

  /** What one ring's device cannot do must not keep the others from it. */
  #forEachRing(action: (ring: Vring) => void): void {
    for (const ring of this.rings) {
      try {
        action(ring)
      } catch (error) {
        if (!(error instanceof VhostUserError)) throw error
        this.#report(error)
      }
    }
  }

  async #driverReset(keepsBases = false): Promise<void> {
    for (const ring of this.rings) ring.silence()
    await this.#resetDevice()
    for (const ring of this.rings) ring.reset(keepsBases)
    this.#inflight?.clear()
    this.#keeper?.ringRecords.clear()
    this.#features &= VHOST_USER_F_PROTOCOL_FEATURES
    this.#log.switch(false)
    this.#status = 0n
    this.regions.announce()
  }

  readonly handlers: RequestHandlers = {
    GET_FEATURES: () => this.#offeredFeatures,

    SET_FEATURES: features => {
      requireOffered('features', features, this.#offeredFeatures)
      try {
        this.device.setFeatures(features & ~(VHOST_USER_F_PROTOCOL_FEATURES | VHOST_F_LOG_ALL))
      } catch (cause) {
        throw new VhostUserError('DEVICE', 'the device did not take the features', { cause })
      }
      this.#features = features
      this.#log.switch((features & VHOST_F_LOG_ALL) !== 0n)
      // Ring states: without protocol features there is no SET_VRING_ENABLE, and rings are enabled from the start.
      if (!this.isNegotiated('PROTOCOL_FEATURES')) this.#forEachRing(ring => ring.setEnabled(true))
    },

    SET_OWNER: () => {
      // QEMU replugs a device on a living connection, without a word about the old session's memory.
      if (this.#owned) return this.endSession()
      this.#owned = true
    },

    // Deprecated, and ambiguous: some front-ends mean a reset, others a mere disconnect. Both go on to stop the rings.
    RESET_OWNER: () => {
      for (const ring of this.rings) ring.setEnabled(false)
    },

    SET_MEM_TABLE: async (table, fds) => {
      await this.regions.replace(table, index => fds.peek(index))
      this.#forEachRing(ring => ring.memoryChanged())
    },

    SET_LOG_BASE: (base, fds) => {
      // The address of a log that only a kernel back-end could reach.
      if (typeof base === 'bigint') throw new VhostUserError('BAD_PAYLOAD', 'a log without shared memory')
      this.#log.replace(base, fds.peek())
      return base
    },

    SET_LOG_FD: (_, fds) => this.#log.setSignal(fds.take()),

    SET_VRING_NUM: ({ index, num }) => this.#ring(index).setSize(num),

    SET_VRING_ADDR: ({ index, flags, descAddress, availAddress, usedAddress, logAddress }) => {
      const logged = flags === VHOST_VRING_F_LOG && this.isNegotiated('LOG_SHMFD')
      if (flags !== 0 && !logged) {
        throw new VhostUserError('BAD_RING', `ring ${index}: flags ${flags} are not supported`)
      }
      if (logged && logAddress > Number.MAX_SAFE_INTEGER) {
        throw new VhostUserError('BAD_RING', `ring ${index}: it is logged at 0x${logAddress.toString(16)}`)
      }
      this.#ring(index).setAddresses({ descAddress, availAddress, usedAddress })
      this.#log.setUsedRing(index, logged ? Number(logAddress) : undefined)
    },

    SET_VRING_BASE: ({ index, num }) => this.#ring(index).setBase(num),

    GET_VRING_BASE: ({ index }) => {
      const base = this.#ring(index).stop()
      return typeof base === 'number' ? { index, num: base } : base.then(num => ({ index, num }))
    },

    SET_VRING_KICK: ({ index, noFd }, fds) => this.#ring(index).setKick(noFd ? undefined : fds.take()),

    SET_VRING_CALL: ({ index, noFd }, fds) => this.#ring(index).setCall(noFd ? undefined : fds.take()),

    SET_VRING_ERR: ({ index, noFd }, fds) => this.#ring(index).setErr(noFd ? undefined : fds.take()),

    GET_PROTOCOL_FEATURES: () => offeredProtocolFeatures(this.device),

    SET_PROTOCOL_FEATURES: features => {
      requireOffered('protocol features', features, offeredProtocolFeatures(this.device))
      this.#protocolFeatures = features
    },

    GET_QUEUE_NUM: () => BigInt(this.rings.length),

    SET_VRING_ENABLE: ({ index, num }) => {
      if (num > 1) throw new VhostUserError('BAD_RING', `ring ${index}: cannot be enabled as ${num}`)
      this.#ring(index).setEnabled(num === 1)
    },

    SET_BACKEND_REQ_FD: (_, fds) => {
      this.#closeChannel()
      this.#openChannel(fds.take(), false)
    },

    // A payload of no bytes says that the window is not in the space.
    GET_CONFIG: window => readConfig(this.device, window),

    SET_CONFIG: window => writeConfig(this.device, window),

    RESET_DEVICE: () => this.#driverReset(),

    GET_MAX_MEM_SLOTS: () => BigInt(MAX_MEMORY_SLOTS),

    ADD_MEM_REG: async ({ region }, fds) => {
      await this.regions.add(region, fds.peek())
      this.#forEachRing(ring => ring.memoryChanged())
    },

    REM_MEM_REG: ({ region }) => this.regions.remove(region),

    GET_INFLIGHT_FD: asked => {
      const { description, fd } = createInflightRegion(asked, size => this.#inflightBytes(size))
      return new ReplyWithFds(description, [fd])
    },

    SET_INFLIGHT_FD: (description, fds) => {
      if (this.rings.some(ring => ring.running)) {
        throw new VhostUserError('BAD_RING', 'a record of buffers in flight comes while rings run')
      }
      this.#useInflight(description, fds.peek())
    },

    SET_DEVICE_STATE_FD: (request, fds) => {
      try {
        if (this.rings.some(ring => ring.running)) {
          throw new VhostUserError('BAD_RING', 'the device state is asked for while rings run')
        }
        this.#state.begin(request, () => fds.take())
        return STATE_NO_FD
      } catch (error) {
        if (!(error instanceof VhostUserError)) throw error
        this.#report(error)
        return STATE_NO_FD | STATE_ERROR
      }
    },

    CHECK_DEVICE_STATE: () => this.#state.check().then(succeeded => (succeeded ? 0n : STATE_ERROR)),

    SET_STATUS: status => {
      if (status > 0xffn)
        throw new VhostUserError('BAD_PAYLOAD', `device status ${status} is more than a byte`)
      // virtio 1.2, 2.1: writing 0 resets the device. QEMU 7.2 does so at each stop of a disk, before it asks where the rings
      // stand, and goes on from there: what the device has taken is finished, and the answer stays true.
      if (status === 0n) return this.drainRings().then(() => this.#driverReset(true))
      this.#status = status
    },

    GET_STATUS: () => this.#status,
  }
}

function requireOffered(what: string, features: bigint, offered: bigint): void {
  const extra = features & ~offered
  if (extra !== 0n) {
    throw new VhostUserError('BAD_FEATURES', `${what} 0x${extra.toString(16)} were not offered`)
  }
}
