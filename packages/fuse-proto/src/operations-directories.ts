// Rows of the operations on open directories and on the whole file system.

import { FUSE_FSYNC_FDATASYNC } from './constants.ts'
import { FsError } from './errno.ts'
import type { FuseHandler, OpenReply } from './handler.ts'
import { type Operation, operation } from './operation.ts'
import { answerOpen } from './operations-files.ts'
import { answerEmpty } from './operations-nodes.ts'
import type { Request } from './request.ts'
import * as S from './structs.ts'
import { SyncfsIn } from './structs-extended.ts'

/** A listing comes in pieces anyway, so a guest that offers more gets no longer ones. */
const MAX_LISTING = 1024 * 1024
const NOTHING_OPENED: OpenReply = { fh: 0 as OpenReply['fh'], openFlags: 0 }

function readdir(handler: FuseHandler, request: Request, plus: boolean) {
  const o = S.ReadIn.offsets
  const fh = request.handle(o.fh)
  const cookie = request.number(o.offset, 'EINVAL')
  const room = Math.min(request.u32(o.size), request.replyRoom, MAX_LISTING)
  const sink = request.listing(room, plus)
  return plus && handler.readdirplus
    ? handler.readdirplus(request, request.node, fh, cookie, sink)
    : handler.readdir!(request, request.node, fh, cookie, sink)
}

function answerListing(request: Request): number {
  // getdents(2): EINVAL when the first entry does not fit; an empty reply would mean the end of the directory.
  if (request.listingOverflowed) throw new FsError('EINVAL', 'no room for one entry')
  return request.header(0, request.listingLength)
}

export const DIRECTORY_OPERATIONS: readonly Operation[] = [
  operation('OPENDIR', {
    once: true,
    node: 'node',
    request: S.OpenIn,
    reply: [S.OpenOut],
    enosys: 'directories are opened without asking and cached',
    methods: ['opendir'],
    missing: { value: NOTHING_OPENED },
    call: (handler, request) => handler.opendir!(request, request.node, request.u32(S.OpenIn.offsets.flags)),
    answer: answerOpen,
  }),
  operation('READDIR', {
    node: 'node',
    request: S.ReadIn,
    replyTail: 'dirents',
    methods: ['readdir'],
    missing: 'ENOTDIR',
    call: (handler, request) => readdir(handler, request, false),
    answer: answerListing,
    partial: request => request.listingLength,
  }),
  operation('RELEASEDIR', {
    once: true,
    node: 'node',
    request: S.ReleaseIn,
    methods: ['releasedir'],
    missing: { value: undefined },
    call: (handler, request) =>
      handler.releasedir!(request, request.node, request.handle(S.ReleaseIn.offsets.fh)),
    answer: answerEmpty,
  }),
  operation('FSYNCDIR', {
    node: 'node',
    request: S.FsyncIn,
    enosys: 'success',
    methods: ['fsyncdir'],
    missing: { value: undefined },
    call: (handler, request) =>
      handler.fsyncdir!(
        request,
        request.node,
        request.handle(S.FsyncIn.offsets.fh),
        (request.u32(S.FsyncIn.offsets.fsyncFlags) & FUSE_FSYNC_FDATASYNC) !== 0,
      ),
    answer: answerEmpty,
  }),
  operation('READDIRPLUS', {
    node: 'node',
    request: S.ReadIn,
    replyTail: 'direntplus records',
    methods: ['readdirplus', 'readdir'],
    missing: 'ENOTDIR',
    call: (handler, request) => readdir(handler, request, true),
    answer: answerListing,
    partial: request => request.listingLength,
  }),
  operation('SYNCFS', {
    node: 'node',
    request: SyncfsIn,
    enosys: 'success',
    methods: ['syncfs'],
    missing: { value: undefined },
    call: (handler, request) => handler.syncfs!(request, request.node),
    answer: answerEmpty,
  }),
]
