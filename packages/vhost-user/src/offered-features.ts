// Which protocol features a back-end offers for its device, and why it withholds the others. Front-ends accept every bit that
// they have a name for, and then expect it to work: only what is complete is offered.

import type { VhostUserDevice } from './device.ts'
import { type ProtocolFeature, protocolFeatureMask } from './features.ts'
import type { BackendRequest, FrontendRequest, Gate } from './messages.ts'

/** Needs nothing from the device. */
const ALWAYS: readonly ProtocolFeature[] = [
  'MQ',
  'REPLY_ACK',
  'RESET_DEVICE',
  'CONFIGURE_MEM_SLOTS',
  'STATUS',
]

/** The members of the device that make a feature complete. */
export const DEVICE_FEATURES = {
  LOG_SHMFD: 'setLog',
  CONFIG: 'config',
  BACKEND_REQ: 'connectFrontend',
  INFLIGHT_SHMFD: 'inflightBytes',
  DEVICE_STATE: 'saveState',
} as const satisfies Partial<Record<ProtocolFeature, keyof VhostUserDevice>>

/** Why a feature is never offered. */
export const WITHHELD = {
  RARP: 'for network devices only',
  MTU: 'for network devices only',
  CROSS_ENDIAN: 'for guests of another byte order than the host, which virtio 1.0 did away with',
  CRYPTO_SESSION: 'for crypto devices only',
  PAGEFAULT:
    'each page that has not arrived yet would stop the whole process; migrate with the guest paused or by precopy',
  BACKEND_SEND_FD: 'only SHMEM_MAP and SHARED_OBJECT send descriptors to the front-end',
  HOST_NOTIFIER: 'hands doorbell registers of hardware to the guest, and there is no hardware',
  INBAND_NOTIFICATIONS: 'for simulators without eventfds; QEMU accepts it and never sends a kick',
  XEN_MMAP: 'for Xen only',
  SHARED_OBJECT: 'for GPU and video devices only',
  GET_VRING_BASE_INFLIGHT: 'the device finishes what it has taken, within a time limit, before a ring stops',
  GPA_ADDRESSES: 'spares the front-end a table that it has anyway',
  SHMEM_MAP: 'a window for mapped files needs files on the host, and storage services have none',
} as const satisfies Partial<Record<ProtocolFeature, string>>

const OTHER_REASONS: Partial<Record<FrontendRequest | BackendRequest, string>> = {
  IOTLB_MSG: 'for guests behind a virtual IOMMU, which may not share their memory with a process as a whole',
  GPU_SET_SOCKET: 'for GPU devices only',
}

/** Why a request is not served by any back-end of this package; undefined if it can be. */
export function reasonWithheld(
  name: FrontendRequest | BackendRequest,
  gate: Gate | undefined,
): string | undefined {
  return OTHER_REASONS[name] ?? (gate && (WITHHELD as Partial<Record<Gate, string>>)[gate])
}

export function offeredProtocolFeatures(device: VhostUserDevice): bigint {
  const optional = Object.entries(DEVICE_FEATURES).filter(([, member]) => device[member] !== undefined)
  return protocolFeatureMask([...ALWAYS, ...optional.map(([feature]) => feature as ProtocolFeature)])
}
