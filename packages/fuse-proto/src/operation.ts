// What one row of the operations table says: how a request of the operation is laid out, what answers it, and which method
// of a handler it becomes.

import type { FieldTable, Struct } from '@ovfs/cstruct'
import { Opcode, type OperationName } from './constants.ts'
import type { ErrnoName } from './errno.ts'
import type { Awaitable, FuseHandler } from './handler.ts'
import type { Request } from './request.ts'

/** What `nodeid` in the header names. */
export type NodeRole = 'node' | 'parent' | 'new parent' | 'old parent' | 'source' | 'none'

/** What the bytes after structures and names are. */
export type RequestTail = 'data' | 'value' | 'target' | 'forgets' | 'mappings'
export type ReplyTail = 'data' | 'value' | 'names' | 'target' | 'dirents' | 'direntplus records'

export interface Layout {
  readonly node: NodeRole
  /** Structure at the start of the arguments. */
  readonly request?: Struct<FieldTable>
  /** NUL-terminated names after it. */
  readonly names?: 1 | 2
  readonly requestTail?: RequestTail
  /** Structures of a successful reply, after its header. */
  readonly reply?: readonly Struct<FieldTable>[]
  readonly replyTail?: ReplyTail
  /** The operation is never answered. */
  readonly silent?: true
  /** Done twice it would have another outcome than done once: a request that was answered must not be carried out again. */
  readonly once?: true
  /**
   * What Linux makes of ENOSYS: the operation is not sent again during the mount and its callers get this. Without
   * it ENOSYS reaches the application each time.
   */
  readonly enosys?: string
}

/** Success with this value, when the handler has no method. */
export interface Fallback<T> {
  readonly value: T
}

export interface Dispatch<T> {
  /** Why no method of a handler serves the operation. */
  readonly reason?: string
  /** Methods of the handler, one of which serves the operation; none if the package only knows its messages. */
  readonly methods?: readonly (keyof FuseHandler)[]
  /** Answer when the handler has none of them: an errno, or a success that is harmless. */
  readonly missing: ErrnoName | Fallback<T>
  /** Decodes the arguments and calls the method; only called when the handler has it. */
  call?(handler: FuseHandler, request: Request): Awaitable<T>
  /** Writes the reply; returns its length, 0 for no reply. */
  answer?(request: Request, result: T): number
  /** Bytes of the reply that stand although the method failed after giving them: lookups of a listing that were counted. */
  partial?(request: Request): number
}

export interface Operation extends Layout, Dispatch<unknown> {
  readonly name: OperationName
  readonly opcode: number
  /** Size of the request's structure. */
  readonly requestSize: number
  /** Size of the reply's structures. */
  readonly replySize: number
}

export function operation<T>(name: OperationName, row: Layout & Dispatch<T>): Operation {
  return {
    ...(row as Layout & Dispatch<unknown>),
    name,
    opcode: Opcode[name],
    requestSize: row.request?.size ?? 0,
    replySize: row.reply?.reduce((sum, part) => sum + part.size, 0) ?? 0,
  }
}
