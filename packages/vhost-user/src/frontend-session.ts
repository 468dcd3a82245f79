// The front-end role: what a virtual machine monitor does, without the virtual machine. Sends one request at a time and
// checks every answer against the request's row. Memory and rings are laid by the caller; see frontend-memory.ts.

import { Connection, type Message } from './connection.ts'
import { VhostUserError } from './errors.ts'
import {
  hasProtocolFeature,
  type ProtocolFeature,
  protocolFeatureMask,
  VHOST_F_LOG_ALL,
  VHOST_USER_F_PROTOCOL_FEATURES,
} from './features.ts'
import { type ChannelHandlers, serveChannel } from './frontend-channel.ts'
import type { FrontendLog } from './frontend-log.ts'
import type { FrontendMemory, FrontendRegion } from './frontend-memory.ts'
import { FrontendRing, type RingCallbacks, type RingLayout } from './frontend-ring.ts'
import {
  type AnyRequestRow,
  FLAG_NEED_REPLY,
  FLAG_REPLY,
  FLAG_VERSION,
  FRONTEND_REQUESTS,
  type FrontendRequest,
  type Gate,
  type PayloadOf,
  type ReplyOf,
} from './messages.ts'
import { u64Payload } from './payloads.ts'
import { closeFd, NativeBuffer } from './sys/libc.ts'
import { connectSocket, createSocketPair } from './sys/unix-socket.ts'

/** A message of the back-end, undecoded. */
export interface RawReply {
  readonly request: number
  readonly flags: number
  readonly payload: Uint8Array
  /** How many descriptors came with it; they are closed. */
  readonly fdCount: number
}

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
  'CONFIG',
  'BACKEND_REQ',
]

/** VHOST_MEMORY_BASELINE_NREGIONS: what a back-end takes without CONFIGURE_MEM_SLOTS. */
const BASELINE_SLOTS = 8
const REPLY_FLAGS = FLAG_VERSION | FLAG_REPLY

interface Waiter {
  resolve(reply: RawReply): void
  reject(error: unknown): void
}

export class FrontendSession {
  readonly #connection: Connection
  readonly #waiters: Waiter[] = []
  readonly #rings = new Map<FrontendRing, RingLayout>()
  #channel: Connection | undefined
  #regions: readonly (FrontendRegion & { readonly fd: number })[] = []
  #features = 0n
  #protocolFeatures = 0n
  /** The request before; requests take turns. */
  #turn: Promise<unknown> = Promise.resolve()
  #ended: { readonly error: unknown } | undefined

  /** Owns the connected socket from now on. */
  constructor(fd: number) {
    this.#connection = new Connection(fd, {
      readsWhileSending: true,
      message: message => this.#receive(message),
      ended: error =>
        this.#end(error ?? new VhostUserError('PEER_CLOSED', 'the back-end closed the connection')),
    })
  }

  /** Throws SYSTEM_CALL or PATH_TOO_LONG. */
  static connect(path: string): FrontendSession {
    return new FrontendSession(connectSocket(path))
  }

  /** Why the connection is over; `undefined` while it is not. */
  get endedBy(): unknown {
    return this.#ended?.error
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
    this.#channel = serveChannel(mine, handlers, error => error && this.#end(error))
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
    const ring = new FrontendRing(index, { failed: error => this.#end(error), ...callbacks })
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
    const row: AnyRequestRow = FRONTEND_REQUESTS[name]
    const answer = this.#turn.then(() => this.#exchange(name, row, payload, fds))
    this.#turn = answer.catch(() => undefined)
    return answer as Promise<ReplyOf<N>>
  }

  /** Sends any message, answered or not; what comes back is for `reply`. For tests of back-ends. */
  sendMessage(request: number, flags: number, payload: Uint8Array, fds: readonly number[] = []): void {
    this.#requireOpen()
    this.#connection.send(request, flags, payload, fds)
  }

  /** Sends any bytes. For tests of back-ends. */
  sendBytes(bytes: Uint8Array, fds: readonly number[] = []): void {
    this.#requireOpen()
    const data = new NativeBuffer(bytes.byteLength)
    data.bytes.set(bytes)
    this.#connection.sendBytes(data, fds)
  }

  /** The next message of the back-end that no request waits for. */
  reply(): Promise<RawReply> {
    if (this.#ended) return Promise.reject(this.#ended.error)
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }))
  }

  /** Leaves at once, as a monitor does that is killed. Rings are closed; memory stays the caller's. */
  close(): void {
    this.#connection.close()
    this.#end(new VhostUserError('CLOSED', 'the session was closed'))
  }

  async #exchange(name: FrontendRequest, row: AnyRequestRow, payload: unknown, fds: readonly number[] = []) {
    this.#requireOpen()
    if (row.gate && !this.isNegotiated(row.gate)) {
      throw new VhostUserError('NOT_NEGOTIATED', `${name} needs ${row.gate}, which was not negotiated`)
    }
    const wantsAck = row.reply === undefined && this.isNegotiated('REPLY_ACK')
    const flags = FLAG_VERSION | (wantsAck ? FLAG_NEED_REPLY : 0)
    this.#connection.send(row.id, flags, row.payload.encode(payload), fds)
    if (row.reply) return this.#decode(name, row, row.reply.decode, await this.reply())
    if (!wantsAck) return undefined
    const result = this.#decode(name, row, u64Payload.decode, await this.reply())
    if (result !== 0n) throw new VhostUserError('REFUSED', `the back-end refused ${name} with ${result}`)
    return undefined
  }

  #decode<T>(name: FrontendRequest, row: AnyRequestRow, decode: (view: DataView) => T, reply: RawReply): T {
    if (reply.request !== row.id || reply.flags !== REPLY_FLAGS) {
      const got = `request ${reply.request} with flags 0x${reply.flags.toString(16)}`
      throw new VhostUserError('BAD_REPLY', `${name} was answered with ${got}`)
    }
    const [min, max] = row.replyFds.count(undefined)
    if (reply.fdCount < min || reply.fdCount > max) {
      throw new VhostUserError('BAD_REPLY', `${name} was answered with ${reply.fdCount} descriptors`)
    }
    try {
      return decode(new DataView(reply.payload.buffer, reply.payload.byteOffset, reply.payload.byteLength))
    } catch (cause) {
      throw new VhostUserError('BAD_REPLY', `the answer to ${name} makes no sense`, { cause })
    }
  }

  #sendTable(regions: readonly (FrontendRegion & { readonly fd: number })[]): Promise<undefined> {
    return this.request(
      'SET_MEM_TABLE',
      regions,
      regions.map(({ fd }) => fd),
    )
  }

  #receive({ request, flags, payload, fds }: Message): void {
    const waiter = this.#waiters.shift()
    if (!waiter) {
      throw new VhostUserError('BAD_REPLY', `the back-end sent message ${request} without being asked`)
    }
    const bytes = new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength).slice()
    waiter.resolve({ request, flags, payload: bytes, fdCount: fds.count })
  }

  #requireOpen(): void {
    if (this.#ended) throw this.#ended.error
  }

  #end(error: unknown): void {
    if (this.#ended) return
    this.#ended = { error }
    this.#connection.close()
    this.#channel?.close()
    for (const ring of this.#rings.keys()) ring.close()
    this.#rings.clear()
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error)
  }
}
