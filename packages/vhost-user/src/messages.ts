// Every request of the protocol, one row each: number, payload, descriptors, reply, and the feature that it needs. The rows
// drive encoding, decoding, validation and dispatch in both roles, and the tables of the README. A request is added here.

import type { ProtocolFeature } from './features.ts'
import {
  config,
  deviceState,
  inflight,
  iotlb,
  log,
  logBase,
  memoryTable,
  none,
  opaque,
  type Payload,
  sharedObject,
  shmemConfig,
  shmemMap,
  singleMemoryRegion,
  u64Payload,
  vringAddr,
  vringArea,
  vringFd,
  vringState,
} from './payloads.ts'

/** How many descriptors come with a payload, lowest and highest count. */
export interface DescriptorRule<P> {
  readonly label: string
  count(payload: P): readonly [min: number, max: number]
}

const noFds: DescriptorRule<unknown> = { label: '', count: () => [0, 0] }
const oneFd: DescriptorRule<unknown> = { label: '1', count: () => [1, 1] }
const mayFd: DescriptorRule<unknown> = { label: '0 or 1', count: () => [0, 1] }
const unlessNoFd: DescriptorRule<{ readonly noFd: boolean }> = {
  label: '1 unless bit 8',
  count: ({ noFd }) => (noFd ? [0, 0] : [1, 1]),
}
const onePerRegion: DescriptorRule<readonly unknown[]> = {
  label: '1 a region',
  count: ({ length }) => [length, length],
}
const logFd: DescriptorRule<unknown> = {
  label: '1 with LOG_SHMFD',
  count: base => (typeof base === 'bigint' ? [0, 0] : [1, 1]),
}
const noFdFlag: DescriptorRule<{ readonly vring: bigint }> = {
  label: '1 unless bit 8',
  count: ({ vring }) => ((vring & 0x100n) === 0n ? [1, 1] : [0, 0]),
}

/** What must have been negotiated: a protocol feature, or VHOST_USER_F_PROTOCOL_FEATURES itself. */
export type Gate = ProtocolFeature | 'PROTOCOL_FEATURES'

export interface RequestRow<P, R> {
  readonly id: number
  readonly payload: Payload<P>
  readonly fds: DescriptorRule<P>
  /** The reply that is part of the request; `undefined` if there is only the ack that NEED_REPLY asks for. */
  readonly reply: Payload<R> | undefined
  /** Descriptors with the reply. */
  readonly replyFds: DescriptorRule<unknown>
  readonly gate: Gate | undefined
}

interface Extras<P> {
  readonly fds?: DescriptorRule<P>
  readonly replyFds?: DescriptorRule<unknown>
  readonly gate?: Gate
}

/** A request that is answered only if NEED_REPLY asks for it. */
function command<P>(
  id: number,
  payload: Payload<P>,
  extras: Extras<NoInfer<P>> = {},
): RequestRow<P, undefined> {
  return {
    id,
    payload,
    reply: undefined,
    fds: extras.fds ?? noFds,
    replyFds: noFds,
    gate: extras.gate,
  }
}

/** A request that is always answered. */
function query<P, R>(
  id: number,
  payload: Payload<P>,
  reply: Payload<R>,
  extras: Extras<NoInfer<P>> = {},
): RequestRow<P, R> {
  return {
    id,
    payload,
    reply,
    fds: extras.fds ?? noFds,
    replyFds: extras.replyFds ?? noFds,
    gate: extras.gate,
  }
}

/** VHOST_USER_*: what the front-end asks of the back-end. */
export const FRONTEND_REQUESTS = {
  GET_FEATURES: query(1, none, u64Payload),
  SET_FEATURES: command(2, u64Payload),
  SET_OWNER: command(3, none),
  RESET_OWNER: command(4, none),
  SET_MEM_TABLE: command(5, memoryTable, { fds: onePerRegion }),
  SET_LOG_BASE: query(6, logBase, log, { fds: logFd, gate: 'LOG_SHMFD' }),
  SET_LOG_FD: command(7, none, { fds: oneFd, gate: 'LOG_SHMFD' }),
  SET_VRING_NUM: command(8, vringState),
  SET_VRING_ADDR: command(9, vringAddr),
  SET_VRING_BASE: command(10, vringState),
  GET_VRING_BASE: query(11, vringState, vringState),
  SET_VRING_KICK: command(12, vringFd, { fds: unlessNoFd }),
  SET_VRING_CALL: command(13, vringFd, { fds: unlessNoFd }),
  SET_VRING_ERR: command(14, vringFd, { fds: unlessNoFd }),
  GET_PROTOCOL_FEATURES: query(15, none, u64Payload),
  SET_PROTOCOL_FEATURES: command(16, u64Payload),
  GET_QUEUE_NUM: query(17, none, u64Payload, { gate: 'MQ' }),
  SET_VRING_ENABLE: command(18, vringState, { gate: 'PROTOCOL_FEATURES' }),
  SEND_RARP: command(19, u64Payload, { gate: 'RARP' }),
  NET_SET_MTU: command(20, u64Payload, { gate: 'MTU' }),
  SET_BACKEND_REQ_FD: command(21, none, { fds: oneFd, gate: 'BACKEND_REQ' }),
  IOTLB_MSG: query(22, iotlb, u64Payload),
  SET_VRING_ENDIAN: command(23, vringState, { gate: 'CROSS_ENDIAN' }),
  GET_CONFIG: query(24, config, config, { gate: 'CONFIG' }),
  SET_CONFIG: command(25, config, { gate: 'CONFIG' }),
  CREATE_CRYPTO_SESSION: query(26, opaque, opaque, { gate: 'CRYPTO_SESSION' }),
  CLOSE_CRYPTO_SESSION: command(27, u64Payload, { gate: 'CRYPTO_SESSION' }),
  POSTCOPY_ADVISE: query(28, none, none, { replyFds: oneFd, gate: 'PAGEFAULT' }),
  POSTCOPY_LISTEN: command(29, none, { gate: 'PAGEFAULT' }),
  POSTCOPY_END: query(30, none, u64Payload, { gate: 'PAGEFAULT' }),
  GET_INFLIGHT_FD: query(31, inflight, inflight, { replyFds: mayFd, gate: 'INFLIGHT_SHMFD' }),
  SET_INFLIGHT_FD: command(32, inflight, { fds: oneFd, gate: 'INFLIGHT_SHMFD' }),
  GPU_SET_SOCKET: command(33, none, { fds: oneFd }),
  RESET_DEVICE: command(34, none, { gate: 'RESET_DEVICE' }),
  VRING_KICK: command(35, vringState, { gate: 'INBAND_NOTIFICATIONS' }),
  GET_MAX_MEM_SLOTS: query(36, none, u64Payload, { gate: 'CONFIGURE_MEM_SLOTS' }),
  ADD_MEM_REG: command(37, singleMemoryRegion, { fds: oneFd, gate: 'CONFIGURE_MEM_SLOTS' }),
  REM_MEM_REG: command(38, singleMemoryRegion, { fds: mayFd, gate: 'CONFIGURE_MEM_SLOTS' }),
  SET_STATUS: command(39, u64Payload, { gate: 'STATUS' }),
  GET_STATUS: query(40, none, u64Payload, { gate: 'STATUS' }),
  GET_SHARED_OBJECT: query(41, sharedObject, none, { replyFds: mayFd, gate: 'SHARED_OBJECT' }),
  SET_DEVICE_STATE_FD: query(42, deviceState, u64Payload, {
    fds: oneFd,
    replyFds: mayFd,
    gate: 'DEVICE_STATE',
  }),
  CHECK_DEVICE_STATE: query(43, none, u64Payload, { gate: 'DEVICE_STATE' }),
  GET_SHMEM_CONFIG: query(44, none, shmemConfig, { gate: 'SHMEM_MAP' }),
} as const

/** VHOST_USER_BACKEND_*: what the back-end asks of the front-end, on the socket that SET_BACKEND_REQ_FD brought. */
export const BACKEND_REQUESTS = {
  IOTLB_MSG: command(1, iotlb, { gate: 'BACKEND_REQ' }),
  CONFIG_CHANGE_MSG: command(2, none, { gate: 'CONFIG' }),
  VRING_HOST_NOTIFIER_MSG: command(3, vringArea, { fds: noFdFlag, gate: 'HOST_NOTIFIER' }),
  VRING_CALL: command(4, vringState, { gate: 'INBAND_NOTIFICATIONS' }),
  VRING_ERR: command(5, vringState, { gate: 'INBAND_NOTIFICATIONS' }),
  SHARED_OBJECT_ADD: command(6, sharedObject, { gate: 'SHARED_OBJECT' }),
  SHARED_OBJECT_REMOVE: command(7, sharedObject, { gate: 'SHARED_OBJECT' }),
  SHARED_OBJECT_LOOKUP: query(8, sharedObject, u64Payload, { replyFds: mayFd, gate: 'SHARED_OBJECT' }),
  SHMEM_MAP: command(9, shmemMap, { fds: oneFd, gate: 'SHMEM_MAP' }),
  SHMEM_UNMAP: command(10, shmemMap, { gate: 'SHMEM_MAP' }),
} as const

export type FrontendRequest = keyof typeof FRONTEND_REQUESTS
export type BackendRequest = keyof typeof BACKEND_REQUESTS

/** What a front-end request carries, decoded. */
export type PayloadOf<N extends FrontendRequest> =
  (typeof FRONTEND_REQUESTS)[N] extends RequestRow<infer P, unknown> ? P : never
/** What the reply to it carries, decoded; `undefined` where there is only an ack. */
export type ReplyOf<N extends FrontendRequest> =
  (typeof FRONTEND_REQUESTS)[N] extends RequestRow<infer _, infer R> ? R : never

/** The row without its payload types, for code that goes over all rows. */
// biome-ignore lint/suspicious/noExplicitAny: rows of every payload type
export type AnyRequestRow = RequestRow<any, any>

const frontendNames = new Map<number, FrontendRequest>(
  Object.entries(FRONTEND_REQUESTS).map(([name, row]) => [row.id, name as FrontendRequest]),
)

/** The name of a front-end request, `undefined` if the number is not assigned. */
export function frontendRequestName(id: number): FrontendRequest | undefined {
  return frontendNames.get(id)
}

/** Payload bytes of one message, at most: more than any message of the specification has. */
export const MAX_PAYLOAD_SIZE = 4096

export const FLAG_VERSION = 0x1
export const FLAG_REPLY = 0x4
export const FLAG_NEED_REPLY = 0x8
const FLAG_VERSION_MASK = 0x3
const FLAGS_DEFINED = FLAG_VERSION_MASK | FLAG_REPLY | FLAG_NEED_REPLY

/** What is wrong with the flags of a header; `undefined` if nothing. Message Specification, Header. */
export function flagsFault(flags: number): string | undefined {
  if ((flags & FLAG_VERSION_MASK) !== FLAG_VERSION) return `version ${flags & FLAG_VERSION_MASK} is not 1`
  if ((flags & ~FLAGS_DEFINED) !== 0) return `reserved bits in flags 0x${flags.toString(16)}`
  return undefined
}
