// What stands behind the header of a message: the protocol's C structures, and a codec for each shape of payload, which
// knows how many bytes it may have. Everything on the socket is in host byte order, little-endian on all supported hosts.

import {
  array,
  bytes,
  CstructError,
  type FieldTable,
  type Infer,
  n64,
  pad,
  type Struct,
  type StructValue,
  struct,
  u8,
  u16,
  u32,
  u64,
} from '@ovfs/cstruct'
import { VhostUserError } from './errors.ts'

export const Header = struct('vhost_user_header', { request: u32, flags: u32, size: u32 })
export const VringState = struct('vhost_vring_state', { index: u32, num: u32 })
/** Used stands before avail. The three ring addresses are the front-end's own; `log` is guest-physical. */
export const VringAddr = struct('vhost_vring_addr', {
  index: u32,
  flags: u32,
  descAddress: n64,
  usedAddress: n64,
  availAddress: n64,
  logAddress: u64,
})
export const MemoryRegion = struct('vhost_user_memory_region', {
  guestAddress: n64,
  size: n64,
  userAddress: n64,
  mmapOffset: n64,
})
export const SingleMemoryRegion = struct('vhost_user_mem_reg_msg', { padding: pad(8), region: MemoryRegion })
export const Log = struct('vhost_user_log', { mmapSize: n64, mmapOffset: n64 })
export const ConfigHeader = struct('vhost_user_config', { offset: u32, size: u32, flags: u32 })
export const Iotlb = struct('vhost_iotlb_msg', {
  iova: u64,
  size: u64,
  userAddress: u64,
  perm: u8,
  type: u8,
  padding: pad(6),
})
export const VringArea = struct('vhost_user_vring_area', { vring: u64, size: u64, offset: u64 })
/** 20 bytes of fields; the C structure, and so the wire, has 24. */
export const Inflight = struct('vhost_user_inflight', {
  mmapSize: n64,
  mmapOffset: n64,
  numQueues: u16,
  queueSize: u16,
  padding: pad(4),
})
export const DeviceState = struct('vhost_user_transfer_device_state', { direction: u32, phase: u32 })
export const SharedObject = struct('vhost_user_shared', { uuid: bytes(16) })
export const ShmemMap = struct('vhost_user_mmap', {
  shmid: u8,
  padding: pad(7),
  fdOffset: n64,
  shmOffset: n64,
  size: n64,
  flags: u64,
})
export const ShmemConfig = struct('vhost_user_shmem_config', {
  regionCount: u32,
  padding: pad(4),
  sizes: array(n64, 256),
})

/** Regions in one SET_MEM_TABLE, at most (VHOST_MEMORY_BASELINE_NREGIONS). */
export const MAX_TABLE_REGIONS = 8
/** Bytes of configuration space in one message, at most (VHOST_USER_MAX_CONFIG_SIZE). */
export const MAX_CONFIG_SIZE = 256

/** Encodes and decodes one shape of payload. */
export interface Payload<T> {
  /** For tables and messages. */
  readonly name: string
  /** Bytes. */
  readonly minSize: number
  readonly maxSize: number
  /** Decodes a whole payload. Throws BAD_PAYLOAD; `cause` is cstruct's error where a field is at fault. */
  decode(view: DataView): T
  /** Throws CstructError if a value does not fit. */
  encode(value: T): Uint8Array
}

function requireSize(name: string, minSize: number, maxSize: number, have: number): void {
  if (have < minSize || have > maxSize) {
    const need = minSize === maxSize ? `${minSize}` : `${minSize} to ${maxSize}`
    throw new VhostUserError('BAD_PAYLOAD', `${name}: needs ${need} bytes, has ${have}`)
  }
}

function badPayload(name: string, cause: unknown): never {
  if (cause instanceof CstructError) {
    throw new VhostUserError('BAD_PAYLOAD', `${name}: ${cause.message}`, { cause })
  }
  throw cause
}

function payload<T>(
  name: string,
  [minSize, maxSize]: readonly [number, number],
  decode: (view: DataView) => T,
  encode: (value: T) => Uint8Array,
): Payload<T> {
  return {
    name,
    minSize,
    maxSize,
    encode,
    decode: view => {
      requireSize(name, minSize, maxSize, view.byteLength)
      try {
        return decode(view)
      } catch (error) {
        return badPayload(name, error)
      }
    },
  }
}

/** A payload that is exactly one structure. */
function whole<F extends FieldTable>(name: string, table: Struct<F>): Payload<StructValue<F>> {
  return payload(name, [table.size, table.size], view => table.decode(view), table.toBytes)
}

export const none: Payload<void> = payload(
  'none',
  [0, 0],
  () => undefined,
  () => new Uint8Array(0),
)

const U64 = struct('u64', { value: u64 })
export const u64Payload: Payload<bigint> = payload(
  'u64',
  [8, 8],
  view => U64.decode(view).value,
  value => U64.toBytes({ value }),
)

/** Which ring a descriptor is for; `noFd` says that none is attached. */
export interface VringFd {
  readonly index: number
  readonly noFd: boolean
}

const VRING_INDEX_MASK = 0xffn
const VRING_NO_FD = 0x100n

export const vringFd: Payload<VringFd> = payload(
  'vring_fd',
  [8, 8],
  view => {
    const { value } = U64.decode(view)
    if ((value & ~(VRING_INDEX_MASK | VRING_NO_FD)) !== 0n) {
      throw new VhostUserError('BAD_PAYLOAD', `vring_fd: reserved bits in 0x${value.toString(16)}`)
    }
    return { index: Number(value & VRING_INDEX_MASK), noFd: (value & VRING_NO_FD) !== 0n }
  },
  ({ index, noFd }) => U64.toBytes({ value: BigInt(index) | (noFd ? VRING_NO_FD : 0n) }),
)

const MemoryTableHeader = struct('vhost_user_memory', { regionCount: u32, padding: pad(4) })

export const memoryTable: Payload<readonly Infer<typeof MemoryRegion>[]> = payload(
  'mem_table',
  [MemoryTableHeader.size, MemoryTableHeader.size + MAX_TABLE_REGIONS * MemoryRegion.size],
  view => {
    const { regionCount } = MemoryTableHeader.decode(view)
    const have = view.byteLength - MemoryTableHeader.size
    if (have !== regionCount * MemoryRegion.size) {
      throw new VhostUserError('BAD_PAYLOAD', `mem_table: ${regionCount} regions in ${have} bytes`)
    }
    return Array.from({ length: regionCount }, (_, i) =>
      MemoryRegion.decode(view, MemoryTableHeader.size + i * MemoryRegion.size),
    )
  },
  regions => {
    const encoded = new Uint8Array(MemoryTableHeader.size + regions.length * MemoryRegion.size)
    const view = new DataView(encoded.buffer)
    MemoryTableHeader.encode({ regionCount: regions.length }, view)
    for (const [i, region] of regions.entries()) {
      MemoryRegion.encode(region, view, MemoryTableHeader.size + i * MemoryRegion.size)
    }
    return encoded
  },
)

/** A window of the device's configuration space. */
export interface ConfigWindow {
  readonly offset: number
  /** 0: what the driver may write; 1: live migration. */
  readonly flags: number
  readonly bytes: Uint8Array
}

/** GET_CONFIG may be answered with nothing at all, which says that it failed: `undefined` here. */
export const config: Payload<ConfigWindow | undefined> = payload(
  'config',
  [0, ConfigHeader.size + MAX_CONFIG_SIZE],
  view => {
    if (view.byteLength === 0) return undefined
    const { offset, size, flags } = ConfigHeader.decode(view)
    if (size !== view.byteLength - ConfigHeader.size) {
      const have = view.byteLength - ConfigHeader.size
      throw new VhostUserError('BAD_PAYLOAD', `config: says ${size} bytes, has ${have}`)
    }
    const start = view.byteOffset + ConfigHeader.size
    return { offset, flags, bytes: new Uint8Array(view.buffer.slice(start, start + size)) }
  },
  window => {
    if (!window) return new Uint8Array(0)
    const { offset, flags, bytes: content } = window
    const encoded = new Uint8Array(ConfigHeader.size + content.byteLength)
    ConfigHeader.encode({ offset, size: content.byteLength, flags }, new DataView(encoded.buffer))
    encoded.set(content, ConfigHeader.size)
    return encoded
  },
)

/** With LOG_SHMFD the log is shared memory; without, an address that only a kernel back-end can use. */
export type LogBase = Infer<typeof Log> | bigint

export const logBase: Payload<LogBase> = payload<LogBase>(
  'log',
  [8, 16],
  view => (view.byteLength === 8 ? U64.decode(view).value : Log.decode(view)),
  value => (typeof value === 'bigint' ? U64.toBytes({ value }) : Log.toBytes(value)),
)

/** A payload that this package carries, but does not look into. */
export const opaque: Payload<Uint8Array> = payload(
  'opaque',
  [0, 4096],
  view => new Uint8Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength)),
  value => value,
)

export const vringState = whole('vring_state', VringState)
export const vringAddr = whole('vring_addr', VringAddr)
export const singleMemoryRegion = whole('mem_reg_msg', SingleMemoryRegion)
export const log = whole('log', Log)
export const iotlb = whole('iotlb', Iotlb)
export const vringArea = whole('vring_area', VringArea)
export const inflight = whole('inflight', Inflight)
export const deviceState = whole('device_state', DeviceState)
export const sharedObject = whole('shared_object', SharedObject)
export const shmemMap = whole('mmap', ShmemMap)
export const shmemConfig = whole('shmem_config', ShmemConfig)
