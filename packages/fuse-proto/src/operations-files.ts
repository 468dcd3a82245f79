// Rows of the operations on open files: opening, data, durability and space.

import { FUSE_FSYNC_FDATASYNC, FUSE_RELEASE_FLOCK_UNLOCK } from './constants.ts'
import { FsError } from './errno.ts'
import type { CreateReply, FuseHandler, NodeId, OpenReply } from './handler.ts'
import { type Operation, operation } from './operation.ts'
import { answerEmpty } from './operations-nodes.ts'
import { FuseProtocolError } from './protocol-error.ts'
import { storeEntry, storeNumber, storeOpen } from './reply-encoding.ts'
import type { Request } from './request.ts'
import * as S from './structs.ts'
import * as X from './structs-extended.ts'

/** 256 pages of 64 KiB, the largest request of any guest, four times over. Nobody honest asks for more at once. */
const MAX_READ = 64 * 1024 * 1024
/** COPY_FILE_RANGE answers in 32 bits, so it never copies more; whole pages. */
const MAX_COPY = 0xffff_f000
const NOTHING_OPENED: OpenReply = { fh: 0 as OpenReply['fh'], openFlags: 0 }

export function answerOpen(request: Request, reply: OpenReply): number {
  const { view, offset } = request.body(S.OpenOut.size)
  storeOpen(view, offset, reply)
  return request.reply(S.OpenOut.size)
}

function answerCreate(request: Request, reply: CreateReply): number {
  const size = S.EntryOut.size + S.OpenOut.size
  const { view, offset } = request.body(size)
  storeEntry(view, offset, reply.entry)
  storeOpen(view, offset + S.EntryOut.size, reply.open)
  return request.reply(size)
}

/** Count of bytes taken, in the 8 bytes of `fuse_write_out`. */
function answerWritten(request: Request, count: number): number {
  if (!(count >= 0 && count <= request.limit)) {
    throw new RangeError(`the handler took ${count} of ${request.limit} bytes`)
  }
  const { view, offset } = request.body(S.WriteOut.size)
  view.setUint32(offset + S.WriteOut.offsets.size, count, true)
  view.setUint32(offset + S.WriteOut.offsets.padding, 0, true)
  return request.reply(S.WriteOut.size)
}

/** One 64-bit number: LSEEK's offset, COPY_FILE_RANGE_64's count. */
function answerNumber(request: Request, value: number): number {
  const { view, offset } = request.body(X.LseekOut.size)
  storeNumber(view, offset, value)
  return request.reply(X.LseekOut.size)
}

function read(handler: FuseHandler, request: Request) {
  const o = S.ReadIn.offsets
  const fh = request.handle(o.fh)
  const offset = request.length(o.offset)
  const size = Math.min(request.u32(o.size), request.replyRoom)
  if (size > MAX_READ) throw new FsError('EINVAL', `a read of ${size} bytes`)
  return handler.read!(request, request.node, fh, offset, size, request.output(size))
}

function write(handler: FuseHandler, request: Request) {
  const o = S.WriteIn.offsets
  const size = request.u32(o.size)
  const have = request.argumentLength - S.WriteIn.size
  // fuse_write_in.size announces the data; a guest that sends another amount means something else than it says.
  if (size !== have) {
    throw new FuseProtocolError('BAD_LENGTH', `${size} bytes of data are announced, ${have} are there`, {
      struct: S.WriteIn.cName,
      offset: S.InHeader.size + o.size,
      need: size,
      have,
    })
  }
  // fuse_init_out.max_write bounds every WRITE of the session.
  if (size > request.session.maxWrite) throw new FsError('EINVAL', `a write of ${size} bytes`)
  const fh = request.handle(o.fh)
  const offset = request.fileSize(o.offset)
  request.limit = size
  const data = request.data(S.WriteIn.size, size)
  return handler.write!(
    request,
    request.node,
    fh,
    offset,
    data,
    request.u32(o.writeFlags),
    request.u32(o.flags),
  )
}

function create(handler: FuseHandler, request: Request) {
  const o = S.CreateIn.offsets
  const flags = request.u32(o.flags)
  const mode = request.u32(o.mode)
  const openFlags = request.u32(o.openFlags)
  request.umask = request.u32(o.umask)
  return handler.create!(request, request.node, request.lastFileName(), mode, flags, openFlags)
}

/** The name that comes with it means nothing: Linux sends `/`. */
function tmpfile(handler: FuseHandler, request: Request) {
  const o = S.CreateIn.offsets
  request.umask = request.u32(o.umask)
  const flags = request.u32(o.flags)
  request.lastPath()
  return handler.tmpfile!(request, request.node, request.u32(o.mode), flags, request.u32(o.openFlags))
}

function flush(handler: FuseHandler, request: Request) {
  const o = S.FlushIn.offsets
  return handler.flush!(request, request.node, request.handle(o.fh), request.u64(o.lockOwner))
}

function release(handler: FuseHandler, request: Request) {
  const o = S.ReleaseIn.offsets
  const flocked = (request.u32(o.releaseFlags) & FUSE_RELEASE_FLOCK_UNLOCK) !== 0
  const owner = flocked ? request.u64(o.lockOwner) : undefined
  return handler.release!(request, request.node, request.handle(o.fh), owner)
}

function copyFileRange(handler: FuseHandler, request: Request, max: number) {
  const o = X.CopyFileRangeIn.offsets
  // copy_file_range(2): flags must be 0.
  if (request.u32(o.flags) !== 0 || request.u32(o.flags + 4) !== 0) throw new FsError('EINVAL', 'flags')
  request.limit = Math.min(request.length(o.len), max)
  return handler.copyFileRange!(
    request,
    request.node,
    request.handle(o.fhIn),
    request.length(o.offIn),
    request.number(o.nodeidOut, 'ESTALE') as NodeId,
    request.handle(o.fhOut),
    request.fileSize(o.offOut),
    request.limit,
  )
}

export const FILE_OPERATIONS: readonly Operation[] = [
  operation('OPEN', {
    once: true,
    node: 'node',
    request: S.OpenIn,
    reply: [S.OpenOut],
    enosys: 'files are opened without asking, with handle 0',
    methods: ['open'],
    missing: { value: NOTHING_OPENED },
    call: (handler, request) =>
      handler.open!(
        request,
        request.node,
        request.u32(S.OpenIn.offsets.flags),
        request.u32(S.OpenIn.offsets.openFlags),
      ),
    answer: answerOpen,
  }),
  operation('READ', {
    node: 'node',
    request: S.ReadIn,
    replyTail: 'data',
    methods: ['read'],
    missing: 'EINVAL',
    call: read,
    answer: request => request.header(0, request.outputLength),
  }),
  operation('WRITE', {
    node: 'node',
    request: S.WriteIn,
    requestTail: 'data',
    reply: [S.WriteOut],
    methods: ['write'],
    missing: 'EINVAL',
    call: write,
    answer: answerWritten,
  }),
  operation('RELEASE', {
    once: true,
    node: 'node',
    request: S.ReleaseIn,
    methods: ['release'],
    missing: { value: undefined },
    call: release,
    answer: answerEmpty,
  }),
  operation('FSYNC', {
    node: 'node',
    request: S.FsyncIn,
    enosys: 'success',
    methods: ['fsync'],
    missing: { value: undefined },
    call: (handler, request) =>
      handler.fsync!(
        request,
        request.node,
        request.handle(S.FsyncIn.offsets.fh),
        (request.u32(S.FsyncIn.offsets.fsyncFlags) & FUSE_FSYNC_FDATASYNC) !== 0,
      ),
    answer: answerEmpty,
  }),
  operation('FLUSH', {
    node: 'node',
    request: S.FlushIn,
    enosys: 'success',
    methods: ['flush'],
    missing: { value: undefined },
    call: flush,
    answer: answerEmpty,
  }),
  operation('CREATE', {
    once: true,
    node: 'parent',
    request: S.CreateIn,
    names: 1,
    reply: [S.EntryOut, S.OpenOut],
    enosys: 'MKNOD and OPEN are used',
    methods: ['create'],
    missing: 'ENOSYS',
    call: create,
    answer: answerCreate,
  }),
  operation('FALLOCATE', {
    node: 'node',
    request: X.FallocateIn,
    enosys: 'EOPNOTSUPP',
    methods: ['fallocate'],
    missing: 'ENOSYS',
    call: (handler, request) =>
      handler.fallocate!(
        request,
        request.node,
        request.handle(X.FallocateIn.offsets.fh),
        request.fileSize(X.FallocateIn.offsets.offset),
        request.fileSize(X.FallocateIn.offsets.length),
        request.u32(X.FallocateIn.offsets.mode),
      ),
    answer: answerEmpty,
  }),
  operation('LSEEK', {
    node: 'node',
    request: X.LseekIn,
    reply: [X.LseekOut],
    enosys: 'the file is all data, with one hole at its end',
    methods: ['lseek'],
    missing: 'ENOSYS',
    call: (handler, request) =>
      handler.lseek!(
        request,
        request.node,
        request.handle(X.LseekIn.offsets.fh),
        request.length(X.LseekIn.offsets.offset),
        request.u32(X.LseekIn.offsets.whence),
      ),
    answer: answerNumber,
  }),
  operation('COPY_FILE_RANGE', {
    once: true,
    node: 'source',
    request: X.CopyFileRangeIn,
    reply: [S.WriteOut],
    enosys: 'the guest copies by READ and WRITE',
    methods: ['copyFileRange'],
    missing: 'ENOSYS',
    call: (handler, request) => copyFileRange(handler, request, MAX_COPY),
    answer: answerWritten,
  }),
  operation('COPY_FILE_RANGE_64', {
    once: true,
    node: 'source',
    request: X.CopyFileRangeIn,
    reply: [X.CopyFileRangeOut],
    enosys: 'COPY_FILE_RANGE is used',
    methods: ['copyFileRange'],
    missing: 'ENOSYS',
    call: (handler, request) => copyFileRange(handler, request, Number.MAX_SAFE_INTEGER),
    answer: answerNumber,
  }),
  operation('TMPFILE', {
    once: true,
    node: 'parent',
    request: S.CreateIn,
    names: 1,
    reply: [S.EntryOut, S.OpenOut],
    enosys: 'EOPNOTSUPP',
    methods: ['tmpfile'],
    missing: 'ENOSYS',
    call: tmpfile,
    answer: answerCreate,
  }),
]
