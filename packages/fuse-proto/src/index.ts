export {
  type DirectoryEntry,
  decodeListing,
  decodeReply,
  encodeRequest,
  type RequestParts,
} from './client-messages.ts'
export * from './constants.ts'
export { Errno, type ErrnoName, type ErrnoNumber, errnoName, FsError } from './errno.ts'
export {
  decodeExtensions,
  encodeExtensions,
  NO_EXTENSIONS,
  type RequestExtensions,
  type SecurityContext,
} from './extensions.ts'
export { IMPLEMENTED_FLAGS, IMPLEMENTED_FLAGS2, REFUSED_FEATURES } from './features.ts'
export { FLAG_SETS, type FlagSet } from './flag-sets.ts'
export {
  type Call,
  type Caller,
  type Created,
  FuseClient,
  type FuseTransport,
  type IoctlCall,
} from './fuse-client.ts'
export { type FuseErrorReport, FuseServer, type FuseServerOptions } from './fuse-server.ts'
export * from './handler.ts'
export { decodeInit, negotiate } from './init.ts'
export { FIRST_HANDLER_KIND } from './kept-session.ts'
export { decodeName, encodedLength, encodeName, encodeNameInto, hasEscapedBytes } from './names.ts'
export {
  decodeNotification,
  encodeNotification,
  NOTIFICATIONS,
  type Notification,
  type NotificationName,
} from './notifications.ts'
export type { Layout, NodeRole, Operation, ReplyTail, RequestTail } from './operation.ts'
export { OPERATION_BY_OPCODE, OPERATIONS, opcodeName, operationNamed } from './operations.ts'
export {
  FuseProtocolError,
  type FuseProtocolErrorCode,
  type FuseProtocolErrorPlace,
} from './protocol-error.ts'
export { attrOf, attrReplyOf, entryOf } from './replies.ts'
export type { FuseMessage } from './request-workspace.ts'
export {
  type KeptFolder,
  type KeptMemory,
  type LogSlot,
  NO_SLOT,
  SessionLog,
  type SessionLogOptions,
} from './session-log.ts'
export type { SessionEntry } from './session-log-format.ts'
export { type Spans, spansOf } from './spans.ts'
export * from './structs.ts'
export * from './structs-extended.ts'
export { formatMessage, formatNotification, formatReply, formatRequest } from './trace.ts'
