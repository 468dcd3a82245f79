// The feature bits of the protocol itself. A device's own bits (VIRTIO_F_*, VIRTIO_RING_F_*) pass through untouched.

/** Offers the protocol features below; acknowledged, rings start disabled and SET_VRING_ENABLE governs them. */
export const VHOST_USER_F_PROTOCOL_FEATURES = 1n << 30n
/** Asks for dirty-page logging. */
export const VHOST_F_LOG_ALL = 1n << 26n

/** Bit numbers of VHOST_USER_PROTOCOL_F_*. */
export const PROTOCOL_FEATURE_BITS = {
  MQ: 0,
  LOG_SHMFD: 1,
  RARP: 2,
  REPLY_ACK: 3,
  MTU: 4,
  BACKEND_REQ: 5,
  CROSS_ENDIAN: 6,
  CRYPTO_SESSION: 7,
  PAGEFAULT: 8,
  CONFIG: 9,
  BACKEND_SEND_FD: 10,
  HOST_NOTIFIER: 11,
  INFLIGHT_SHMFD: 12,
  RESET_DEVICE: 13,
  INBAND_NOTIFICATIONS: 14,
  CONFIGURE_MEM_SLOTS: 15,
  STATUS: 16,
  XEN_MMAP: 17,
  SHARED_OBJECT: 18,
  DEVICE_STATE: 19,
  GET_VRING_BASE_INFLIGHT: 20,
  GPA_ADDRESSES: 21,
  SHMEM_MAP: 22,
} as const

export type ProtocolFeature = keyof typeof PROTOCOL_FEATURE_BITS

export function protocolFeatureMask(features: Iterable<ProtocolFeature>): bigint {
  let mask = 0n
  for (const feature of features) mask |= 1n << BigInt(PROTOCOL_FEATURE_BITS[feature])
  return mask
}

export function hasProtocolFeature(mask: bigint, feature: ProtocolFeature): boolean {
  return ((mask >> BigInt(PROTOCOL_FEATURE_BITS[feature])) & 1n) === 1n
}
