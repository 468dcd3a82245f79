// Rows of the operations on nodes and names: looking up, attributes, creating, removing, renaming, linking.

import {
  FATTR_ATIME,
  FATTR_ATIME_NOW,
  FATTR_CTIME,
  FATTR_FH,
  FATTR_GID,
  FATTR_KILL_SUIDGID,
  FATTR_MODE,
  FATTR_MTIME,
  FATTR_MTIME_NOW,
  FATTR_SIZE,
  FATTR_UID,
  FUSE_GETATTR_FH,
  FUSE_ROOT_ID,
} from './constants.ts'
import { FsError } from './errno.ts'
import type { AttrReply, FuseHandler, NodeId, SetattrChange, StatxReply, Timestamp } from './handler.ts'
import { encodeName } from './names.ts'
import { type Operation, operation } from './operation.ts'
import { FuseProtocolError, truncated } from './protocol-error.ts'
import { storeAttrOut, storeEntry, storeStatfs } from './reply-encoding.ts'
import type { Request } from './request.ts'
import * as S from './structs.ts'
import { StatxIn, StatxOut } from './structs-extended.ts'

/** FORGETs in one BATCH_FORGET: 1 MiB of them, the largest transfer; a count in the billions is no honest one. */
const MAX_FORGETS = 65536
/** FORGETs that are copied at once. */
const FORGET_CHUNK = 1024

const O = {
  setattr: S.SetattrIn.offsets,
  mknod: S.MknodIn.offsets,
}

export function answerEmpty(request: Request): number {
  return request.header(0, 0)
}

export function answerEntry(request: Request, entry: S.EntryOut): number {
  const { view, offset } = request.body(S.EntryOut.size)
  storeEntry(view, offset, entry)
  return request.reply(S.EntryOut.size)
}

function answerAttr(request: Request, reply: AttrReply): number {
  const { view, offset } = request.body(S.AttrOut.size)
  storeAttrOut(view, offset, reply)
  return request.reply(S.AttrOut.size)
}

function getattr(handler: FuseHandler, request: Request) {
  const withHandle = (request.u32(S.GetattrIn.offsets.getattrFlags) & FUSE_GETATTR_FH) !== 0
  return handler.getattr!(
    request,
    request.node,
    withHandle ? request.handle(S.GetattrIn.offsets.fh) : undefined,
  )
}

function statx(handler: FuseHandler, request: Request) {
  const o = StatxIn.offsets
  const withHandle = (request.u32(o.getattrFlags) & FUSE_GETATTR_FH) !== 0
  const fh = withHandle ? request.handle(o.fh) : undefined
  return handler.statx!(request, request.node, fh, request.u32(o.sxFlags), request.u32(o.sxMask))
}

function setattr(handler: FuseHandler, request: Request) {
  const o = O.setattr
  const valid = request.u32(o.valid)
  const time = (set: number, now: number, sec: number, nsec: number): Timestamp | 'now' | undefined => {
    if ((valid & now) !== 0) return 'now'
    if ((valid & set) === 0) return undefined
    const fraction = request.u32(nsec)
    // utimensat(2): nanoseconds beyond 999999999 are EINVAL.
    if (fraction > 999_999_999) throw new FsError('EINVAL', `${fraction} nanoseconds`)
    return { sec: request.seconds(sec), nsec: fraction }
  }
  // Fields whose bit is not set hold no meaning and are not looked at.
  const change: SetattrChange = {
    valid,
    mode: (valid & FATTR_MODE) !== 0 ? request.u32(o.mode) : undefined,
    uid: (valid & FATTR_UID) !== 0 ? request.u32(o.uid) : undefined,
    gid: (valid & FATTR_GID) !== 0 ? request.u32(o.gid) : undefined,
    size: (valid & FATTR_SIZE) !== 0 ? request.fileSize(o.size) : undefined,
    atime: time(FATTR_ATIME, FATTR_ATIME_NOW, o.atime, o.atimensec),
    mtime: time(FATTR_MTIME, FATTR_MTIME_NOW, o.mtime, o.mtimensec),
    ctime: time(FATTR_CTIME, 0, o.ctime, o.ctimensec) as Timestamp | undefined,
    fh: (valid & FATTR_FH) !== 0 ? request.handle(o.fh) : undefined,
    killSuidgid: (valid & FATTR_KILL_SUIDGID) !== 0,
  }
  return handler.setattr!(request, request.node, change)
}

function forgetOne(handler: FuseHandler, node: NodeId, nlookup: number): void {
  // The root is never looked up, so it cannot be forgotten.
  if (node !== FUSE_ROOT_ID) handler.forget!(node, nlookup)
}

function batchForget(handler: FuseHandler, request: Request): void {
  const count = request.u32(S.BatchForgetIn.offsets.count)
  const have = request.argumentLength - S.BatchForgetIn.size
  const need = count * S.ForgetOne.size
  if (need > have) throw truncated(S.ForgetOne.cName, S.InHeader.size + S.BatchForgetIn.size, need, have)
  if (count > MAX_FORGETS) {
    throw new FuseProtocolError('BAD_LENGTH', `${count} at once`, {
      struct: S.ForgetOne.cName,
      offset: S.InHeader.size,
    })
  }
  for (let done = 0; done < count; done += FORGET_CHUNK) {
    const step = Math.min(FORGET_CHUNK, count - done)
    request.seek(S.BatchForgetIn.size + done * S.ForgetOne.size, step * S.ForgetOne.size)
    for (let i = 0; i < step; i++) {
      const at = i * S.ForgetOne.size
      const node = request.number(at + S.ForgetOne.offsets.nodeid, 'ESTALE') as NodeId
      forgetOne(handler, node, request.length(at + S.ForgetOne.offsets.nlookup))
    }
  }
}

function rename(handler: FuseHandler, request: Request, flags: number) {
  const newParent = request.number(S.RenameIn.offsets.newdir, 'ESTALE') as NodeId
  const name = request.fileName()
  return handler.rename!(request, request.node, name, newParent, request.lastFileName(), flags)
}

const NO_STATFS: S.KstatfsOut = {
  blocks: 0,
  bfree: 0,
  bavail: 0,
  files: 0,
  ffree: 0,
  bsize: 4096,
  namelen: 255,
  frsize: 4096,
}

export const NODE_OPERATIONS: readonly Operation[] = [
  operation('LOOKUP', {
    node: 'parent',
    names: 1,
    reply: [S.EntryOut],
    methods: ['lookup'],
    missing: 'ENOENT',
    call: (handler, request) => handler.lookup!(request, request.node, request.lastFileName()),
    answer: answerEntry,
  }),
  operation('FORGET', {
    node: 'node',
    request: S.ForgetIn,
    silent: true,
    methods: ['forget'],
    missing: { value: undefined },
    call: (handler, request) => forgetOne(handler, request.node, request.length(S.ForgetIn.offsets.nlookup)),
  }),
  operation('GETATTR', {
    node: 'node',
    request: S.GetattrIn,
    reply: [S.AttrOut],
    methods: ['getattr'],
    missing: 'EIO',
    call: getattr,
    answer: answerAttr,
  }),
  operation('SETATTR', {
    node: 'node',
    request: S.SetattrIn,
    reply: [S.AttrOut],
    methods: ['setattr'],
    missing: 'EPERM',
    call: setattr,
    answer: answerAttr,
  }),
  operation('READLINK', {
    node: 'node',
    replyTail: 'target',
    methods: ['readlink'],
    missing: 'EINVAL',
    call: (handler, request) => handler.readlink!(request, request.node),
    answer: (request, target: string) => {
      const bytes = encodeName(target)
      if (bytes.byteLength > request.replyRoom) throw new FsError('ENAMETOOLONG')
      return request.bytes(bytes)
    },
  }),
  operation('SYMLINK', {
    once: true,
    node: 'parent',
    names: 1,
    requestTail: 'target',
    reply: [S.EntryOut],
    methods: ['symlink'],
    missing: 'EPERM',
    call: (handler, request) => {
      const name = request.fileName()
      return handler.symlink!(request, request.node, name, request.lastPath())
    },
    answer: answerEntry,
  }),
  operation('MKNOD', {
    once: true,
    node: 'parent',
    request: S.MknodIn,
    names: 1,
    reply: [S.EntryOut],
    methods: ['mknod'],
    missing: 'EPERM',
    call: (handler, request) => {
      const mode = request.u32(O.mknod.mode)
      const rdev = request.u32(O.mknod.rdev)
      request.umask = request.u32(O.mknod.umask)
      return handler.mknod!(request, request.node, request.lastFileName(), mode, rdev)
    },
    answer: answerEntry,
  }),
  operation('MKDIR', {
    once: true,
    node: 'parent',
    request: S.MkdirIn,
    names: 1,
    reply: [S.EntryOut],
    methods: ['mkdir'],
    missing: 'EPERM',
    call: (handler, request) => {
      const mode = request.u32(S.MkdirIn.offsets.mode)
      request.umask = request.u32(S.MkdirIn.offsets.umask)
      return handler.mkdir!(request, request.node, request.lastFileName(), mode)
    },
    answer: answerEntry,
  }),
  operation('UNLINK', {
    once: true,
    node: 'parent',
    names: 1,
    methods: ['unlink'],
    missing: 'EPERM',
    call: (handler, request) => handler.unlink!(request, request.node, request.lastFileName()),
    answer: answerEmpty,
  }),
  operation('RMDIR', {
    once: true,
    node: 'parent',
    names: 1,
    methods: ['rmdir'],
    missing: 'EPERM',
    call: (handler, request) => handler.rmdir!(request, request.node, request.lastFileName()),
    answer: answerEmpty,
  }),
  operation('RENAME', {
    once: true,
    node: 'old parent',
    request: S.RenameIn,
    names: 2,
    methods: ['rename'],
    missing: 'EPERM',
    call: (handler, request) => rename(handler, request, 0),
    answer: answerEmpty,
  }),
  operation('LINK', {
    once: true,
    node: 'new parent',
    request: S.LinkIn,
    names: 1,
    reply: [S.EntryOut],
    methods: ['link'],
    missing: 'EPERM',
    call: (handler, request) => {
      const node = request.number(S.LinkIn.offsets.oldnodeid, 'ESTALE') as NodeId
      return handler.link!(request, node, request.node, request.lastFileName())
    },
    answer: answerEntry,
  }),
  operation('STATFS', {
    node: 'node',
    reply: [S.StatfsOut],
    methods: ['statfs'],
    missing: { value: NO_STATFS },
    call: (handler, request) => handler.statfs!(request, request.node),
    answer: (request, reply: S.KstatfsOut) => {
      const { view, offset } = request.body(S.StatfsOut.size)
      storeStatfs(view, offset, reply)
      return request.reply(S.StatfsOut.size)
    },
  }),
  operation('ACCESS', {
    node: 'node',
    request: S.AccessIn,
    enosys: 'allowed',
    methods: ['access'],
    missing: 'ENOSYS',
    call: (handler, request) => handler.access!(request, request.node, request.u32(S.AccessIn.offsets.mask)),
    answer: answerEmpty,
  }),
  operation('BATCH_FORGET', {
    node: 'none',
    request: S.BatchForgetIn,
    requestTail: 'forgets',
    silent: true,
    methods: ['forget'],
    missing: { value: undefined },
    call: batchForget,
  }),
  operation('RENAME2', {
    once: true,
    node: 'old parent',
    request: S.Rename2In,
    names: 2,
    enosys: 'EINVAL for every rename with flags',
    methods: ['rename'],
    missing: 'EINVAL',
    call: (handler, request) => rename(handler, request, request.u32(S.Rename2In.offsets.flags)),
    answer: answerEmpty,
  }),
  operation('STATX', {
    node: 'node',
    request: StatxIn,
    reply: [StatxOut],
    enosys: 'GETATTR is used',
    methods: ['statx'],
    missing: 'ENOSYS',
    call: statx,
    answer: (request, { attrValid, attrValidNsec, stat }: StatxReply) =>
      request.bytes(StatxOut.toBytes({ attrValid, attrValidNsec, flags: 0, stat })),
  }),
]
