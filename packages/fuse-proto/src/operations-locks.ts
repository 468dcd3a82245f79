// Rows of the operations on locks: fcntl(2) if POSIX_LOCKS was agreed, flock(2) if FLOCK_LOCKS was.

import { FUSE_LK_FLOCK } from './constants.ts'
import type { FuseHandler } from './handler.ts'
import { type Operation, operation } from './operation.ts'
import { answerEmpty } from './operations-nodes.ts'
import type { Request } from './request.ts'
import { type FileLock, LkIn, LkOut } from './structs-extended.ts'

const O = LkIn.offsets
const L = LkIn.fields.lk.offsets

function lockOf(request: Request): FileLock {
  return {
    start: request.u64(O.lk + L.start),
    end: request.u64(O.lk + L.end),
    type: request.u32(O.lk + L.type),
    pid: request.u32(O.lk + L.pid),
  }
}

function setlk(handler: FuseHandler, request: Request, wait: boolean) {
  const flock = (request.u32(O.lkFlags) & FUSE_LK_FLOCK) !== 0
  const owner = request.u64(O.owner)
  return handler.setlk!(request, request.node, request.handle(O.fh), owner, lockOf(request), { wait, flock })
}

export const LOCK_OPERATIONS: readonly Operation[] = [
  operation('GETLK', {
    node: 'node',
    request: LkIn,
    reply: [LkOut],
    methods: ['getlk'],
    missing: 'EOPNOTSUPP',
    call: (handler, request) =>
      handler.getlk!(request, request.node, request.handle(O.fh), request.u64(O.owner), lockOf(request)),
    answer: (request, lk: FileLock) => request.bytes(LkOut.toBytes({ lk })),
  }),
  operation('SETLK', {
    once: true,
    node: 'node',
    request: LkIn,
    methods: ['setlk'],
    missing: 'EOPNOTSUPP',
    call: (handler, request) => setlk(handler, request, false),
    answer: answerEmpty,
  }),
  operation('SETLKW', {
    once: true,
    node: 'node',
    request: LkIn,
    methods: ['setlk'],
    missing: 'EOPNOTSUPP',
    call: (handler, request) => setlk(handler, request, true),
    answer: answerEmpty,
  }),
]
