// The front-end role: what a virtual machine monitor does, without the virtual machine. Sends one request at a time and
// checks every answer against the request's row. Memory and rings are laid by the caller; see frontend-memory.ts.

import type { Connection } from './connection.ts'
import { VhostUserError } from './errors.ts'
import {
  hasProtocolFeature,
  type ProtocolFeature,
  protocolFeatureMask,
  VHOST_F_LOG_ALL,
  VHOST_USER_F_PROTOCOL_FEATURES,
} from './features.ts'
import { type ChannelHandlers, serveChannel } from './frontend-channel.ts'
import { type RawReply, RequestExchange } from './frontend-exchange.ts'
import type { FrontendLog } from './frontend-log.ts'
import type { FrontendMemory, FrontendRegion } from './frontend-memory.ts'
import { FrontendRing, type RingCallbacks, type RingLayout } from './frontend-ring.ts'
import type { FrontendRequest, Gate, PayloadOf, ReplyOf } from './messages.ts'
import { StateReceiver, StateSender } from './state-transfer.ts'
import { closeForeignFd } from './sys/foreign-fd.ts'
import { closeFd, NativeBuffer } from './sys/libc.ts'
import { createPipe } from './sys/pipe.ts'
import { connectSocket, createSocketPair } from './sys/unix-socket.ts'

export interface Negotiated {
  /** Features in use, VHOST_USER_F_PROTOCOL_FEATURES included. */
  readonly features: bigint
  readonly protocolFeatures: bigint
  /** Rings that the back-end can serve; 1 if it cannot tell. */
  readonly queueCount: number
  /** Memory regions that the back-end can hold. */
  readonly memorySlots: number
}

export interface HandshakeOptions {
  /** Features to use if offered; by default all. VHOST_F_LOG_ALL is not among them: see `startLogging`. */
  readonly features?: bigint
  /** Protocol features to use if offered. */
  readonly protocolFeatures?: readonly ProtocolFeature[]
}

const DEFAULT_PROTOCOL_FEATURES: readonly ProtocolFeature[] = [
  'MQ',
  'REPLY_ACK',
  'CONFIGURE_MEM_SLOTS',
  'RESET_DEVICE',
  'STATUS',
  'LOG_SHMFD',
  'INFLIGHT_SHMFD',
  'DEVICE_STATE',
  'CONFIG',
  'BACKEND_REQ',
]

const DIRECTION_SAVE = 0
const DIRECTION_LOAD = 1
/** VHOST_MEMORY_BASELINE_NREGIONS: what a back-end takes without CONFIGURE_MEM_SLOTS. */
const BASELINE_SLOTS = 8

/** Memory of a back-end for what is in flight, kept by the front-end for its successor. */
export interface InflightMemory extends PayloadOf<'SET_INFLIGHT_FD'> {
  /** Owned by the caller of `createInflight`. */
  readonly fd: number
}

export class FrontendSession {
  readonly #exchange: RequestExchange
  readonly #rings = new Map<FrontendRing, RingLayout>()
  #channel: Connection | undefined
  #regions: readonly (FrontendRegion & { readonly fd: number })[] = []
  #features = 0n
  #protocolFeatures = 0n

  /** Owns the connected socket from now on. */
  constructor(fd: number) {
    this.#exchange = new RequestExchange(fd, {
      isNegotiated: gate => this.isNegotiated(gate),
      ended: () => this.#release(),
    })
  }

  /** Throws SYSTEM_CALL or PATH_TOO_LONG. */
  static connect(path: string): FrontendSession {
    return new FrontendSession(connectSocket(path))
  }

  /** Why the connection is over; `undefined` while it is not. */
  get endedBy(): unknown {
    return this.#exchange.endedBy
  }

  /** What a monitor does when it creates the device, and the choice of features. */
  async handshake(options: HandshakeOptions = {}): Promise<Negotiated> {
    const wanted = (options.features ?? 2n ** 64n - 1n) & ~VHOST_F_LOG_ALL
    const offered = await this.request('GET_FEATURES')
    let queueCount = 1
    let memorySlots = BASELINE_SLOTS
    if ((offered & wanted & VHOST_USER_F_PROTOCOL_FEATURES) !== 0n) {
      const supported = await this.request('GET_PROTOCOL_FEATURES')
      const chosen = supported & protocolFeatureMask(options.protocolFeatures ?? DEFAULT_PROTOCOL_FEATURES)
      await this.request('SET_PROTOCOL_FEATURES', chosen)
      this.#protocolFeatures = chosen
      if (this.isNegotiated('MQ')) queueCount = Number(await this.request('GET_QUEUE_NUM'))
      if (this.isNegotiated('CONFIGURE_MEM_SLOTS')) {
        memorySlots = Number(await this.request('GET_MAX_MEM_SLOTS'))
      }
    }
    await this.request('SET_OWNER')
    await this.setFeatures(offered & wanted)
    return { features: this.#features, protocolFeatures: this.#protocolFeatures, queueCount, memorySlots }
  }

  async setFeatures(features: bigint): Promise<void> {
    await this.request('SET_FEATURES', features)
    this.#features = features
  }

  isNegotiated(gate: Gate): boolean {
    return gate === 'PROTOCOL_FEATURES'
      ? (this.#features & VHOST_USER_F_PROTOCOL_FEATURES) !== 0n
      : hasProtocolFeature(this.#protocolFeatures, gate)
  }

  /** Gives the back-end a socket for requests of its own; needs BACKEND_REQ. */
  async openChannel(handlers: ChannelHandlers): Promise<void> {
    const [mine, theirs] = createSocketPair()
    this.#channel?.close()
    this.#channel = serveChannel(mine, handlers, error => error && this.#exchange.end(error))
    try {
      await this.request('SET_BACKEND_REQ_FD', undefined, [theirs])
    } finally {
      closeFd(theirs)
    }
  }

  /** Bytes of the device's configuration space; needs CONFIG. Throws REFUSED if they are not all there. */
  async readConfig(offset: number, length: number): Promise<Uint8Array> {
    const answer = await this.request('GET_CONFIG', { offset, flags: 0, bytes: new Uint8Array(length) })
    if (answer?.bytes.byteLength !== length) {
      throw new VhostUserError('REFUSED', `no ${length} bytes at ${offset} in the configuration space`)
    }
    return answer.bytes
  }

  /** Announces more guest memory. The memory must stay open until it is removed or the session is closed. */
  async addMemory(memory: FrontendMemory): Promise<void> {
    const added = memory.regions.map(region => ({ ...region, fd: memory.fd }))
    if (this.isNegotiated('CONFIGURE_MEM_SLOTS')) {
      for (const region of added) await this.request('ADD_MEM_REG', { region }, [region.fd])
    } else {
      await this.#sendTable([...this.#regions, ...added])
    }
    this.#regions = [...this.#regions, ...added]
  }

  /** Takes announced memory away. */
  async removeMemory(memory: FrontendMemory): Promise<void> {
    const rest = this.#regions.filter(({ fd }) => fd !== memory.fd)
    if (this.isNegotiated('CONFIGURE_MEM_SLOTS')) {
      for (const region of memory.regions) await this.request('REM_MEM_REG', { region })
    } else {
      await this.#sendTable(rest)
    }
    this.#regions = rest
  }

  /** Hands a ring over to the device and enables it. The ring lies in announced memory. */
  async startRing(layout: RingLayout, callbacks: Partial<RingCallbacks> = {}): Promise<FrontendRing> {
    const { index } = layout
    const ring = new FrontendRing(index, { failed: error => this.#exchange.end(error), ...callbacks })
    try {
      await this.request('SET_VRING_NUM', { index, num: layout.size })
      await this.request('SET_VRING_BASE', { index, num: layout.base ?? 0 })
      await this.#sendAddresses(layout)
      await this.request('SET_VRING_KICK', { index, noFd: false }, [ring.kickFd])
      await this.request('SET_VRING_CALL', { index, noFd: false }, [ring.callFd])
      await this.request('SET_VRING_ERR', { index, noFd: false }, [ring.errFd])
      if (this.isNegotiated('PROTOCOL_FEATURES')) await this.request('SET_VRING_ENABLE', { index, num: 1 })
    } catch (error) {
      ring.close()
      throw error
    }
    this.#rings.set(ring, layout)
    return ring
  }

  /** Takes the ring back; resolves to the next available index for the device, for a later start. */
  async stopRing(ring: FrontendRing): Promise<number> {
    const { index } = ring
    if (this.isNegotiated('PROTOCOL_FEATURES')) await this.request('SET_VRING_ENABLE', { index, num: 0 })
    const { num } = await this.request('GET_VRING_BASE', { index, num: 0 })
    this.#rings.delete(ring)
    ring.close()
    return num
  }

  /** Lets the back-end make memory for what is in flight in rings of at most that size. Needs INFLIGHT_SHMFD. */
  async createInflight(numQueues: number, queueSize: number): Promise<InflightMemory> {
    const asked = { mmapSize: 0, mmapOffset: 0, numQueues, queueSize }
    const { reply, fds } = await this.requestWithFds('GET_INFLIGHT_FD', asked)
    if (fds[0] === undefined)
      throw new VhostUserError('REFUSED', 'the back-end keeps no record of what is in flight')
    return { ...reply, fd: fds[0] }
  }

  /** From now on rings start with this memory, which may hold what a predecessor of the back-end left. */
  async useInflight({ fd, ...description }: InflightMemory): Promise<void> {
    await this.request('SET_INFLIGHT_FD', description, [fd])
  }

  /** The state of the device, whose rings are all stopped. Needs DEVICE_STATE. Throws REFUSED if the back-end fails. */
  async saveState(): Promise<Uint8Array> {
    const { readEnd, writeEnd } = createPipe()
    const receiver = new StateReceiver(readEnd)
    try {
      await this.#transferState(DIRECTION_SAVE, writeEnd)
    } catch (error) {
      receiver.cancel()
      throw error
    }
    const state = await receiver.done
    await this.#checkState()
    return state
  }

  /** Makes the device go on where another has stopped. Needs DEVICE_STATE; to be called before anything is started. */
  async loadState(state: Uint8Array): Promise<void> {
    const { readEnd, writeEnd } = createPipe()
    const sender = new StateSender(writeEnd)
    try {
      await this.#transferState(DIRECTION_LOAD, readEnd)
    } catch (error) {
      sender.cancel()
      throw error
    }
    sender.send(state)
    await sender.done
    await this.#checkState()
  }

  /** Lends the descriptor and closes it. */
  async #transferState(direction: number, fd: number): Promise<void> {
    try {
      const request = { direction, phase: 0 }
      const { reply, fds } = await this.requestWithFds('SET_DEVICE_STATE_FD', request, [fd])
      for (const theirs of fds) closeForeignFd(theirs)
      // A channel of the back-end's own is allowed by the specification; nobody has been seen to want one.
      if (reply !== 0x100n) throw new VhostUserError('REFUSED', `the device state was answered with ${reply}`)
    } finally {
      closeFd(fd)
    }
  }

  async #checkState(): Promise<void> {
    const result = await this.request('CHECK_DEVICE_STATE')
    if (result !== 0n) throw new VhostUserError('REFUSED', `the device state failed with ${result}`)
  }

  /** From now on the back-end marks in the log what it writes; takes the place of another log. Needs LOG_SHMFD. */
  async startLogging(log: FrontendLog): Promise<void> {
    const { mmapSize, mmapOffset, fd } = log
    await this.request('SET_LOG_BASE', { mmapSize, mmapOffset }, [fd])
    await this.#switchLogging(this.#features | VHOST_F_LOG_ALL)
  }

  async stopLogging(): Promise<void> {
    await this.#switchLogging(this.#features & ~VHOST_F_LOG_ALL)
  }

  async #switchLogging(features: bigint): Promise<void> {
    if (features === this.#features) return
    await this.setFeatures(features)
    for (const layout of this.#rings.values()) await this.#sendAddresses(layout)
  }

  #sendAddresses({ index, descAddress, usedAddress, availAddress }: RingLayout): Promise<undefined> {
    const logged = (this.#features & VHOST_F_LOG_ALL) !== 0n
    return this.request('SET_VRING_ADDR', {
      index,
      flags: logged ? 1 : 0,
      descAddress: this.userAddressOf(descAddress),
      usedAddress: this.userAddressOf(usedAddress),
      availAddress: this.userAddressOf(availAddress),
      logAddress: logged ? BigInt(usedAddress) : 0n,
    })
  }

  /** The front-end's address, in announced memory, of a guest-physical one. */
  userAddressOf(guestAddress: number): number {
    for (const region of this.#regions) {
      const offset = guestAddress - region.guestAddress
      if (offset >= 0 && offset < region.size) return region.userAddress + offset
    }
    throw new RangeError(`0x${guestAddress.toString(16)} is not in announced memory`)
  }

  /**
   * Sends a request and waits for its answer: the reply that belongs to it, else the acknowledgement if REPLY_ACK is
   * negotiated, else nothing. The descriptors are lent. Throws NOT_NEGOTIATED, REFUSED, BAD_REPLY or PEER_CLOSED.
   */
  request<N extends FrontendRequest>(
    name: N,
    ...[payload, fds]: PayloadOf<N> extends void
      ? [payload?: undefined, fds?: readonly number[]]
      : [payload: PayloadOf<N>, fds?: readonly number[]]
  ): Promise<ReplyOf<N>> {
    return this.#exchange.request(name, payload, fds) as Promise<ReplyOf<N>>
  }

  /** The same for a request whose reply brings descriptors, which are the caller's. */
  async requestWithFds<N extends FrontendRequest>(
    name: N,
    payload: PayloadOf<N>,
    fds?: readonly number[],
  ): Promise<{ readonly reply: ReplyOf<N>; readonly fds: readonly number[] }> {
    const kept: number[] = []
    try {
      const reply = await this.#exchange.request(name, payload, fds, received => kept.push(...received))
      return { reply: reply as ReplyOf<N>, fds: kept }
    } catch (error) {
      for (const fd of kept) closeForeignFd(fd)
      throw error
    }
  }

  /** Sends any message, answered or not; what comes back is for `reply`. For tests of back-ends. */
  sendMessage(request: number, flags: number, payload: Uint8Array, fds: readonly number[] = []): void {
    this.#exchange.send(request, flags, payload, fds)
  }

  /** Sends any bytes. For tests of back-ends. */
  sendBytes(bytes: Uint8Array, fds: readonly number[] = []): void {
    const data = new NativeBuffer(bytes.byteLength)
    data.bytes.set(bytes)
    this.#exchange.sendBytes(data, fds)
  }

  /** The next message of the back-end that no request waits for. */
  reply(): Promise<RawReply> {
    return this.#exchange.reply()
  }

  /** Leaves at once, as a monitor does that is killed. Rings are closed; memory stays the caller's. */
  close(): void {
    this.#exchange.end(new VhostUserError('CLOSED', 'the session was closed'))
  }

  #sendTable(regions: readonly (FrontendRegion & { readonly fd: number })[]): Promise<undefined> {
    return this.request(
      'SET_MEM_TABLE',
      regions,
      regions.map(({ fd }) => fd),
    )
  }

  #release(): void {
    this.#channel?.close()
    for (const ring of this.#rings.keys()) ring.close()
    this.#rings.clear()
  }
}
