// Messages that the file system sends unasked: a reply header whose `unique` is 0 and whose `error` is the code. A guest takes
// them on the notification queue of virtio-fs, which no Linux guest and no VMM has yet, or from /dev/fuse. The answer to
// RETRIEVE comes as the request NOTIFY_REPLY.

import type { FieldTable, Infer, Struct } from '@ovfs/cstruct'
import { concatenate } from './concatenate.ts'
import { NotifyCode } from './constants.ts'
import { decodeName, encodeName } from './names.ts'
import { FuseProtocolError, truncated } from './protocol-error.ts'
import { OutHeader } from './structs.ts'
import * as X from './structs-extended.ts'

export type NotificationName = keyof typeof NotifyCode

/** What follows the structure of a notification. */
type Tail = 'name' | 'data' | 'node ids'

interface NotificationLayout {
  readonly body?: Struct<FieldTable>
  readonly tail?: Tail
  /** The field of the structure that counts the tail, in bytes without the NUL of a name, or in node ids. */
  readonly count?: string
}

const LAYOUTS = {
  POLL: { body: X.NotifyPollWakeupOut },
  INVAL_INODE: { body: X.NotifyInvalInodeOut },
  INVAL_ENTRY: { body: X.NotifyInvalEntryOut, tail: 'name', count: 'namelen' },
  STORE: { body: X.NotifyStoreOut, tail: 'data', count: 'size' },
  RETRIEVE: { body: X.NotifyRetrieveOut },
  DELETE: { body: X.NotifyDeleteOut, tail: 'name', count: 'namelen' },
  RESEND: {},
  INC_EPOCH: {},
  PRUNE: { body: X.NotifyPruneOut, tail: 'node ids', count: 'count' },
} as const satisfies Record<NotificationName, NotificationLayout>

/** Rows of the README's table and of tests. */
export const NOTIFICATIONS: Readonly<Record<NotificationName, NotificationLayout>> = LAYOUTS

export type Notification =
  | ({ readonly code: 'POLL' } & Infer<typeof X.NotifyPollWakeupOut>)
  | ({ readonly code: 'INVAL_INODE' } & Infer<typeof X.NotifyInvalInodeOut>)
  | ({ readonly code: 'INVAL_ENTRY'; readonly name: string } & Omit<X.NotifyInvalEntryOut, 'namelen'>)
  | ({ readonly code: 'STORE'; readonly data: Uint8Array } & Omit<X.NotifyStoreOut, 'size'>)
  | ({ readonly code: 'RETRIEVE' } & Infer<typeof X.NotifyRetrieveOut>)
  | ({ readonly code: 'DELETE'; readonly name: string } & Omit<X.NotifyDeleteOut, 'namelen'>)
  | { readonly code: 'RESEND' }
  | { readonly code: 'INC_EPOCH' }
  | { readonly code: 'PRUNE'; readonly nodes: readonly number[] }

/** Members of a Notification that are its tail. */
const MEMBER = { name: 'name', data: 'data', 'node ids': 'nodes' } as const

const NODE_ID_SIZE = 8

/** The whole message, its header included. */
export function encodeNotification(notification: Notification): Uint8Array {
  const { body, tail, count }: NotificationLayout = NOTIFICATIONS[notification.code]
  const fields: Record<string, unknown> = { ...notification }
  const parts: Uint8Array[] = []
  if (tail !== undefined) {
    const bytes = encodeTail(tail, fields[MEMBER[tail]])
    const nul = tail === 'name' ? 1 : 0
    fields[count as string] = tail === 'node ids' ? bytes.byteLength / NODE_ID_SIZE : bytes.byteLength - nul
    parts.push(bytes)
  }
  if (body) parts.unshift(body.toBytes(fields as never))
  const len = parts.reduce((sum, part) => sum + part.byteLength, OutHeader.size)
  return concatenate([OutHeader.toBytes({ len, error: NotifyCode[notification.code], unique: 0n }), ...parts])
}

function encodeTail(tail: Tail, value: unknown): Uint8Array {
  if (tail === 'name') return encodeName(`${value as string}\0`)
  if (tail === 'data') return value as Uint8Array
  const nodes = value as readonly number[]
  const bytes = new Uint8Array(nodes.length * NODE_ID_SIZE)
  const view = new DataView(bytes.buffer)
  for (const [i, node] of nodes.entries()) view.setBigUint64(i * NODE_ID_SIZE, BigInt(node), true)
  return bytes
}

/** Throws FuseProtocolError for what is no notification, or not a whole one. */
export function decodeNotification(bytes: Uint8Array): Notification {
  if (bytes.byteLength < OutHeader.size) throw truncated(OutHeader.cName, 0, OutHeader.size, bytes.byteLength)
  const { len, error, unique } = OutHeader.fromBytes(bytes)
  if (unique !== 0n) throw bad('it is the reply to a request', OutHeader.offsets.unique)
  if (len !== bytes.byteLength)
    throw bad(`len is ${len}, ${bytes.byteLength} bytes are there`, OutHeader.offsets.len)
  const code = (Object.keys(NotifyCode) as NotificationName[]).find(name => NotifyCode[name] === error)
  if (code === undefined) throw bad(`code ${error} is not known`, OutHeader.offsets.error)
  const { body, tail, count }: NotificationLayout = NOTIFICATIONS[code]
  const end = OutHeader.size + (body?.size ?? 0)
  if (bytes.byteLength < end) throw truncated(body!.cName, OutHeader.size, body!.size, len - OutHeader.size)
  const fields: Record<string, unknown> = { code, ...body?.fromBytes(bytes.subarray(OutHeader.size, end)) }
  if (tail === undefined) {
    if (len !== end) throw bad(`${len - end} bytes follow ${code}`, end)
  } else {
    fields[MEMBER[tail]] = decodeTail(tail, bytes.subarray(end), fields[count as string] as number, end)
    delete fields[count as string]
  }
  return fields as unknown as Notification
}

function decodeTail(tail: Tail, bytes: Uint8Array, count: number, offset: number): unknown {
  const size = tail === 'node ids' ? count * NODE_ID_SIZE : tail === 'name' ? count + 1 : count
  if (bytes.byteLength !== size)
    throw bad(`a tail of ${size} bytes is announced, ${bytes.byteLength} are there`, offset)
  if (tail === 'data') return bytes.slice()
  if (tail === 'name') {
    if (count === 0 || bytes.indexOf(0) !== count) throw bad('its name does not end where it says', offset)
    return decodeName(bytes, 0, count)
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Array.from({ length: count }, (_, i) => {
    const node = view.getBigUint64(i * NODE_ID_SIZE, true)
    if (node > BigInt(Number.MAX_SAFE_INTEGER)) throw bad('a node id is above 2^53-1', offset)
    return Number(node)
  })
}

function bad(message: string, offset: number): FuseProtocolError {
  return new FuseProtocolError('BAD_LENGTH', message, { struct: 'notification', offset })
}
