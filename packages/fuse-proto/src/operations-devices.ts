// Rows of the operations that come from character and block devices, and from memory mappings of the device's own window.

import { FsError } from './errno.ts'
import type { FuseHandler, IoctlReply } from './handler.ts'
import { type Operation, operation } from './operation.ts'
import { FuseProtocolError } from './protocol-error.ts'
import type { Request } from './request.ts'
import { InHeader } from './structs.ts'
import * as X from './structs-extended.ts'

const NO_WINDOW = "needs a DAX window, which QEMU's vhost-user-fs does not have"
/** FUSE_IOCTL_MAX_IOV pages; the size of a command's argument has 14 bits anyway. */
const MAX_IOCTL_BYTES = 256 * 4096

function ioctl(handler: FuseHandler, request: Request) {
  const o = X.IoctlIn.offsets
  const size = request.u32(o.inSize)
  const have = request.argumentLength - X.IoctlIn.size
  // fuse_ioctl_in.in_size announces the data.
  if (size > have) {
    throw new FuseProtocolError('BAD_LENGTH', `${size} bytes of data are announced, ${have} are there`, {
      struct: X.IoctlIn.cName,
      offset: InHeader.size + o.inSize,
      need: size,
      have,
    })
  }
  if (size > MAX_IOCTL_BYTES) throw new FsError('EINVAL', `an ioctl with ${size} bytes`)
  request.limit = Math.min(request.u32(o.outSize), request.replyRoom - X.IoctlOut.size)
  const input = request.copy(X.IoctlIn.cName, X.IoctlIn.size, size)
  const fh = request.handle(o.fh)
  return handler.ioctl!(
    request,
    request.node,
    fh,
    request.u32(o.cmd),
    request.u64(o.arg),
    input,
    request.limit,
  )
}

function answerIoctl(request: Request, { result, data = new Uint8Array(0) }: IoctlReply): number {
  if (data.byteLength > request.limit) {
    throw new RangeError(`the handler returned ${data.byteLength} bytes, the caller takes ${request.limit}`)
  }
  const reply = new Uint8Array(X.IoctlOut.size + data.byteLength)
  reply.set(X.IoctlOut.toBytes({ result, flags: 0, inIovs: 0, outIovs: 0 }))
  reply.set(data, X.IoctlOut.size)
  return request.bytes(reply)
}

export const DEVICE_OPERATIONS: readonly Operation[] = [
  operation('BMAP', {
    node: 'node',
    request: X.BmapIn,
    reply: [X.BmapOut],
    enosys: 'EINVAL',
    reason: 'only file systems on block devices get it',
    missing: 'ENOSYS',
  }),
  operation('IOCTL', {
    once: true,
    node: 'node',
    request: X.IoctlIn,
    requestTail: 'data',
    reply: [X.IoctlOut],
    replyTail: 'data',
    methods: ['ioctl'],
    missing: 'ENOTTY',
    call: ioctl,
    answer: answerIoctl,
  }),
  operation('POLL', {
    node: 'node',
    request: X.PollIn,
    reply: [X.PollOut],
    enosys: 'always ready',
    reason: 'needs the notification POLL, which no virtio-fs guest takes',
    missing: 'ENOSYS',
  }),
  operation('SETUPMAPPING', {
    node: 'node',
    request: X.SetupmappingIn,
    reason: NO_WINDOW,
    missing: 'ENOSYS',
  }),
  operation('REMOVEMAPPING', {
    node: 'node',
    request: X.RemovemappingIn,
    requestTail: 'mappings',
    reason: NO_WINDOW,
    missing: 'ENOSYS',
  }),
]
