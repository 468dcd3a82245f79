// Rows of the operations on extended attributes.

import { XATTR_LIST_MAX, XATTR_SIZE_MAX } from './constants.ts'
import { FsError } from './errno.ts'
import type { FuseHandler } from './handler.ts'
import { encodeName } from './names.ts'
import { type Operation, operation } from './operation.ts'
import { answerEmpty } from './operations-nodes.ts'
import { FuseProtocolError } from './protocol-error.ts'
import type { Request } from './request.ts'
import { OutHeader } from './structs.ts'
import { GetxattrIn, GetxattrOut, SetxattrIn, SetxattrInCompat } from './structs-extended.ts'

function setxattr(handler: FuseHandler, request: Request) {
  const size = request.u32(SetxattrIn.offsets.size)
  const flags = request.u32(SetxattrIn.offsets.flags)
  // setxattr(2): E2BIG for a value beyond the limit of all file systems.
  if (size > XATTR_SIZE_MAX) throw new FsError('E2BIG', `a value of ${size} bytes`)
  let setxattrFlags = 0
  if (request.session.setxattrExt) {
    request.skip(SetxattrIn.cName, SetxattrIn.size - SetxattrInCompat.size)
    setxattrFlags = request.u32(SetxattrIn.offsets.setxattrFlags)
  }
  const name = request.xattrName()
  return handler.setxattr!(request, request.node, name, request.lastValue(size), flags, setxattrFlags)
}

/** Answers with the value, or with its length when the guest asked for 0 bytes. */
function answerValue(request: Request, value: Uint8Array): number {
  const length = value.byteLength
  if (request.limit > 0) {
    // getxattr(2): ERANGE when the value is longer than the buffer.
    if (length > Math.min(request.limit, request.replyRoom)) throw new FsError('ERANGE')
    return request.bytes(value)
  }
  if (request.replyRoom < GetxattrOut.size) {
    throw new FuseProtocolError('NO_ROOM', 'the reply does not fit', {
      struct: GetxattrOut.cName,
      offset: OutHeader.size,
      need: GetxattrOut.size,
      have: request.replyRoom,
      errno: 'EIO',
    })
  }
  const { view, offset } = request.body(GetxattrOut.size)
  view.setUint32(offset + GetxattrOut.offsets.size, length, true)
  view.setUint32(offset + GetxattrOut.offsets.padding, 0, true)
  return request.reply(GetxattrOut.size)
}

function answerNames(request: Request, names: readonly string[]): number {
  const bytes = names.length === 0 ? new Uint8Array(0) : encodeName(`${names.join('\0')}\0`)
  // listxattr(2): E2BIG when the list exceeds what can be returned.
  if (bytes.byteLength > XATTR_LIST_MAX) throw new FsError('E2BIG')
  return answerValue(request, bytes)
}

export const XATTR_OPERATIONS: readonly Operation[] = [
  operation('SETXATTR', {
    once: true,
    node: 'node',
    request: SetxattrInCompat,
    names: 1,
    requestTail: 'value',
    enosys: 'EOPNOTSUPP',
    methods: ['setxattr'],
    missing: 'ENOSYS',
    call: setxattr,
    answer: answerEmpty,
  }),
  operation('GETXATTR', {
    node: 'node',
    request: GetxattrIn,
    names: 1,
    replyTail: 'value',
    enosys: 'EOPNOTSUPP',
    methods: ['getxattr'],
    missing: 'ENOSYS',
    call: (handler, request) => {
      request.limit = request.u32(GetxattrIn.offsets.size)
      return handler.getxattr!(request, request.node, request.lastXattrName())
    },
    answer: answerValue,
  }),
  operation('LISTXATTR', {
    node: 'node',
    request: GetxattrIn,
    replyTail: 'names',
    enosys: 'EOPNOTSUPP',
    methods: ['listxattr'],
    missing: 'ENOSYS',
    call: (handler, request) => {
      request.limit = request.u32(GetxattrIn.offsets.size)
      return handler.listxattr!(request, request.node)
    },
    answer: answerNames,
  }),
  operation('REMOVEXATTR', {
    once: true,
    node: 'node',
    names: 1,
    enosys: 'EOPNOTSUPP',
    methods: ['removexattr'],
    missing: 'ENOSYS',
    call: (handler, request) => handler.removexattr!(request, request.node, request.lastXattrName()),
    answer: answerEmpty,
  }),
]
