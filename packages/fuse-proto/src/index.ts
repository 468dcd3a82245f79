export {
  type DirectoryEntry,
  decodeListing,
  decodeReply,
  encodeRequest,
  type RequestParts,
} from './client-messages.ts'
export * from './constants.ts'
export { Errno, type ErrnoName, type ErrnoNumber, errnoName, FsError } from './errno.ts'
export { type Call, type Caller, FuseClient, type FuseTransport } from './fuse-client.ts'
export { type FuseErrorReport, FuseServer, type FuseServerOptions } from './fuse-server.ts'
export * from './handler.ts'
export { decodeInit, IMPLEMENTED_FLAGS, IMPLEMENTED_FLAGS2, negotiate } from './init.ts'
export { decodeName, encodedLength, encodeName, encodeNameInto, hasEscapedBytes } from './names.ts'
export type { Layout, NodeRole, Operation, ReplyTail, RequestTail } from './operation.ts'
export { OPERATION_BY_OPCODE, OPERATIONS, opcodeName, operationNamed } from './operations.ts'
export {
  FuseProtocolError,
  type FuseProtocolErrorCode,
  type FuseProtocolErrorPlace,
} from './protocol-error.ts'
export { attrOf, attrReplyOf, entryOf } from './replies.ts'
export type { FuseMessage } from './request-workspace.ts'
export { type Spans, spansOf } from './spans.ts'
export * from './structs.ts'
export * from './structs-extended.ts'
export { formatMessage, formatReply, formatRequest } from './trace.ts'
