// What the back-end does for each request: one method a request, typed by its row in messages.ts. A request whose row has no
// method here is answered as unsupported. Methods check values; sizes, descriptor counts and negotiation are checked before.

import { BackendChannel } from './backend-channel.ts'
import type { VhostUserDevice } from './device.ts'
import { StateTransfers } from './device-state.ts'
import { DirtyLogging } from './dirty-logging.ts'
import { VhostUserError } from './errors.ts'
import { hasProtocolFeature, VHOST_F_LOG_ALL, VHOST_USER_F_PROTOCOL_FEATURES } from './features.ts'
import { createInflightRegion, InflightRegion } from './inflight-region.ts'
import { MAX_MEMORY_SLOTS, MemoryRegions } from './memory-regions.ts'
import type { FrontendRequest, Gate, PayloadOf, ReplyOf } from './messages.ts'
import { offeredProtocolFeatures } from './offered-features.ts'
import type { ConfigWindow } from './payloads.ts'
import type { ReceivedFds } from './received-fds.ts'
import { Vring } from './vring.ts'

const VHOST_VRING_F_LOG = 1
/** Back-end state transfer: the low byte is an error, bit 8 says that the front-end's descriptor is used. */
const STATE_NO_FD = 0x100n
const STATE_ERROR = 1n
/** VHOST_SET_CONFIG_TYPE_MIGRATION */
const CONFIG_FLAG_MIGRATION = 1

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
  #inflight: InflightRegion | undefined

  constructor(device: VhostUserDevice, report: (error: VhostUserError) => void) {
    this.device = device
    this.#report = report
    this.regions = new MemoryRegions(device, report as (error: unknown) => void)
    this.#log = new DirtyLogging(device, report)
    this.#state = new StateTransfers(device, report)
    this.rings = Array.from({ length: device.queueCount }, (_, i) => new Vring(i, device, report))
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
    this.device.connectFrontend?.(undefined)
  }

  #readConfig({ offset, bytes }: ConfigWindow): Uint8Array | undefined {
    const space = this.device.config?.read()
    const end = offset + bytes.byteLength
    return space && end <= space.byteLength ? space.slice(offset, end) : undefined
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
    this.#features &= VHOST_USER_F_PROTOCOL_FEATURES
    this.#log.switch(false)
    this.#status = 0n
    this.regions.announce()
  }

  readonly handlers: RequestHandlers = {
    GET_FEATURES: () => this.#offeredFeatures,

    SET_FEATURES: features => {
      const offered = this.#offeredFeatures
      if ((features & ~offered) !== 0n) {
        const extra = (features & ~offered).toString(16)
        throw new VhostUserError('BAD_FEATURES', `features 0x${extra} were not offered`)
      }
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
      const offered = offeredProtocolFeatures(this.device)
      if ((features & ~offered) !== 0n) {
        const extra = (features & ~offered).toString(16)
        throw new VhostUserError('BAD_FEATURES', `protocol features 0x${extra} were not offered`)
      }
      this.#protocolFeatures = features
    },

    GET_QUEUE_NUM: () => BigInt(this.rings.length),

    SET_VRING_ENABLE: ({ index, num }) => {
      if (num > 1) throw new VhostUserError('BAD_RING', `ring ${index}: cannot be enabled as ${num}`)
      this.#ring(index).setEnabled(num === 1)
    },

    SET_BACKEND_REQ_FD: (_, fds) => {
      this.#closeChannel()
      const needsReply = this.isNegotiated('REPLY_ACK')
      this.#channel = new BackendChannel(fds.take(), {
        needsReply,
        // Ring states: while all rings are stopped nothing is sent. The driver reads the space anew when it starts them.
        mayNotSend: () => !this.rings.some(ring => ring.running),
        failed: error => this.#report(error),
      })
      this.device.connectFrontend?.(this.#channel)
    },

    // A payload of no bytes says that the window is not in the space.
    GET_CONFIG: window => {
      const bytes = window && this.#readConfig(window)
      return window && bytes ? { ...window, bytes } : undefined
    },

    SET_CONFIG: window => {
      const { config } = this.device
      if (!window || !config?.write || !this.#readConfig(window)) {
        throw new VhostUserError('BAD_PAYLOAD', 'the configuration space cannot be written there')
      }
      try {
        config.write(window.offset, window.bytes, window.flags === CONFIG_FLAG_MIGRATION)
      } catch (cause) {
        throw new VhostUserError('DEVICE', 'the device did not take the configuration', { cause })
      }
    },

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
      const region = new InflightRegion(description, fds.peek(), size => this.#inflightBytes(size))
      for (const ring of this.rings) ring.setInflight(region)
      this.#inflight?.unmap()
      this.#inflight = region
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
