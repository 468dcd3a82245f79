export { BackendServer, type BackendServerOptions } from './backend-server.ts'
export { BackendSession, type BackendSessionOptions } from './backend-session.ts'
export type {
  ConfigSpace,
  DirtyLogArea,
  FrontendChannel,
  MappedRegion,
  RingConfig,
  VhostUserDevice,
} from './device.ts'
export { VhostUserError, type VhostUserErrorCode } from './errors.ts'
export {
  hasProtocolFeature,
  PROTOCOL_FEATURE_BITS,
  type ProtocolFeature,
  protocolFeatureMask,
  VHOST_F_LOG_ALL,
  VHOST_USER_F_PROTOCOL_FEATURES,
} from './features.ts'
export type { ChannelHandlers } from './frontend-channel.ts'
export type { RawReply } from './frontend-exchange.ts'
export { FrontendLog } from './frontend-log.ts'
export { FrontendMemory, type FrontendRegion, type RegionLayout } from './frontend-memory.ts'
export { FrontendRing, type RingCallbacks, type RingLayout } from './frontend-ring.ts'
export {
  FrontendSession,
  type HandshakeOptions,
  type InflightMemory,
  type Negotiated,
} from './frontend-session.ts'
export { type MappedFile, MappedFolder } from './mapped-folder.ts'
export {
  BACKEND_REQUESTS,
  type BackendRequest,
  FRONTEND_REQUESTS,
  type FrontendRequest,
  type PayloadOf,
  type ReplyOf,
} from './messages.ts'
export type { FdStore } from './takeover/fd-store.ts'
export { InProcessFdStore } from './takeover/in-process-store.ts'
export { type ListeningSocket, ServiceManager } from './takeover/service-manager.ts'
