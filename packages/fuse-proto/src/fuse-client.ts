// The guest's side: what Linux does when it mounts, as typed calls over any transport that carries a request to a server
// and brings the reply back. For tests, benchmarks and tours; it caches nothing and counts no lookups. Calls fail with
// FsError when the server answers an errno, with FuseProtocolError when its reply cannot be believed.

import { type DirectoryEntry, decodeListing, decodeReply, encodeRequest } from './client-messages.ts'
import { concatenate } from './concatenate.ts'
import type { OperationName } from './constants.ts'
import { FUSE_FSYNC_FDATASYNC, FUSE_GETATTR_FH, InitFlags, NAME_MAX, PATH_MAX } from './constants.ts'
import { decodeName } from './names.ts'
import { operationNamed } from './operations.ts'
import * as S from './structs.ts'
import * as X from './structs-extended.ts'

export interface FuseTransport {
  /**
   * Sends one request, whose parts may lie in places of their own, and gives room for `replyCapacity` bytes of reply.
   * Resolves to the bytes that were written: none if the operation has no reply.
   */
  submit(request: Uint8Array[], replyCapacity: number): Promise<Uint8Array>
}

/** Who the requests come from. */
export interface Caller {
  readonly uid: number
  readonly gid: number
  readonly pid: number
}

export interface Call {
  readonly node?: number
  readonly args?: Uint8Array
  readonly names?: readonly string[]
  readonly tail?: Uint8Array
  readonly extensions?: Uint8Array
  /** Room for what follows the fixed part of the reply. */
  readonly room?: number
}

/** What CREATE and TMPFILE made. */
export interface Created {
  readonly entry: S.EntryOut
  readonly open: S.OpenOut
}

export interface IoctlCall {
  readonly command: number
  readonly argument?: bigint
  readonly input?: Uint8Array
  /** Bytes that the caller takes back. */
  readonly room?: number
}

/** What Linux 6.1 offers without a DAX window. */
const LINUX_FLAGS = 0x7bff_fffb
const LINUX_FLAGS2 = 0xb
const ALL_TIMES = { atime: 0, mtime: 0, ctime: 0, atimensec: 0, mtimensec: 0, ctimensec: 0 }

export class FuseClient {
  readonly #transport: FuseTransport
  readonly #caller: Caller
  #unique = 0n
  #setxattrExt = false

  constructor(transport: FuseTransport, caller: Caller = { uid: 0, gid: 0, pid: 1 }) {
    this.#transport = transport
    this.#caller = caller
  }

  /** Sends any operation; resolves to the body of the reply. */
  async call(name: OperationName, call: Call = {}): Promise<Uint8Array> {
    const operation = operationNamed(name)
    this.#unique += 2n
    const unique = this.#unique
    const request = encodeRequest(operation.opcode, {
      ...this.#caller,
      ...call,
      unique,
      node: call.node ?? 0,
    })
    if (operation.silent) {
      await this.#transport.submit(request, 0)
      return new Uint8Array(0)
    }
    const capacity = S.OutHeader.size + operation.replySize + (call.room ?? 0)
    return decodeReply(operation, unique, await this.#transport.submit(request, capacity))
  }

  /** Sends bytes as they are, for messages that no guest kernel would make; resolves to the reply as it is. */
  raw(request: Uint8Array[], replyCapacity: number): Promise<Uint8Array> {
    return this.#transport.submit(request, replyCapacity)
  }

  async init(offer: Partial<S.InitIn> = {}): Promise<S.InitOut> {
    const args = S.InitIn.toBytes({
      major: 7,
      minor: 38,
      maxReadahead: 131072,
      flags: LINUX_FLAGS,
      flags2: LINUX_FLAGS2,
      ...offer,
    })
    const reply = S.InitOut.fromBytes(await this.call('INIT', { args }))
    this.#setxattrExt = (reply.flags & InitFlags.SETXATTR_EXT) !== 0
    return reply
  }

  async destroy(): Promise<void> {
    await this.call('DESTROY')
  }

  async lookup(parent: number, name: string): Promise<S.EntryOut> {
    return S.EntryOut.fromBytes(await this.call('LOOKUP', { node: parent, names: [name] }))
  }

  async forget(node: number, nlookup = 1): Promise<void> {
    await this.call('FORGET', { node, args: S.ForgetIn.toBytes({ nlookup }) })
  }

  async batchForget(forgets: readonly S.ForgetOne[]): Promise<void> {
    const args = S.BatchForgetIn.toBytes({ count: forgets.length })
    await this.call('BATCH_FORGET', {
      args: concatenate([args, ...forgets.map(one => S.ForgetOne.toBytes(one))]),
    })
  }

  async getattr(node: number, fh?: number): Promise<S.AttrOut> {
    const args = S.GetattrIn.toBytes({ getattrFlags: fh === undefined ? 0 : FUSE_GETATTR_FH, fh: fh ?? 0 })
    return S.AttrOut.fromBytes(await this.call('GETATTR', { node, args }))
  }

  /** `change.valid` says which of the other fields count. */
  async setattr(node: number, change: Partial<S.SetattrIn> & { valid: number }): Promise<S.AttrOut> {
    const args = S.SetattrIn.toBytes({
      fh: 0,
      size: 0,
      lockOwner: 0n,
      ...ALL_TIMES,
      mode: 0,
      uid: 0,
      gid: 0,
      ...change,
    })
    return S.AttrOut.fromBytes(await this.call('SETATTR', { node, args }))
  }

  async readlink(node: number): Promise<string> {
    return decodeName(await this.call('READLINK', { node, room: PATH_MAX - 1 }))
  }

  async symlink(parent: number, name: string, target: string): Promise<S.EntryOut> {
    return S.EntryOut.fromBytes(await this.call('SYMLINK', { node: parent, names: [name, target] }))
  }

  async mknod(parent: number, name: string, mode: number, rdev = 0): Promise<S.EntryOut> {
    const args = S.MknodIn.toBytes({ mode, rdev, umask: 0o22 })
    return S.EntryOut.fromBytes(await this.call('MKNOD', { node: parent, args, names: [name] }))
  }

  async mkdir(parent: number, name: string, mode = 0o755): Promise<S.EntryOut> {
    const args = S.MkdirIn.toBytes({ mode, umask: 0o22 })
    return S.EntryOut.fromBytes(await this.call('MKDIR', { node: parent, args, names: [name] }))
  }

  async unlink(parent: number, name: string): Promise<void> {
    await this.call('UNLINK', { node: parent, names: [name] })
  }

  async rmdir(parent: number, name: string): Promise<void> {
    await this.call('RMDIR', { node: parent, names: [name] })
  }

  async rename(parent: number, name: string, newParent: number, newName: string): Promise<void> {
    const args = S.RenameIn.toBytes({ newdir: newParent })
    await this.call('RENAME', { node: parent, args, names: [name, newName] })
  }

  async rename2(
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    flags: number,
  ): Promise<void> {
    const args = S.Rename2In.toBytes({ newdir: newParent, flags })
    await this.call('RENAME2', { node: parent, args, names: [name, newName] })
  }

  async link(node: number, newParent: number, newName: string): Promise<S.EntryOut> {
    const args = S.LinkIn.toBytes({ oldnodeid: node })
    return S.EntryOut.fromBytes(await this.call('LINK', { node: newParent, args, names: [newName] }))
  }

  async open(node: number, flags = 0): Promise<S.OpenOut> {
    const args = S.OpenIn.toBytes({ flags, openFlags: 0 })
    return S.OpenOut.fromBytes(await this.call('OPEN', { node, args }))
  }

  /** `mode` holds the permissions; the file is a regular one. */
  async create(parent: number, name: string, mode = 0o644, flags = 0o102): Promise<Created> {
    const args = S.CreateIn.toBytes({ flags, mode: mode | 0o100000, umask: 0o22, openFlags: 0 })
    return created(await this.call('CREATE', { node: parent, args, names: [name] }))
  }

  async read(node: number, fh: number, offset: number, size: number): Promise<Uint8Array> {
    return this.call('READ', { node, args: readArguments(fh, offset, size), room: size })
  }

  /** Resolves to the count of bytes taken. */
  async write(node: number, fh: number, offset: number, data: Uint8Array, writeFlags = 0): Promise<number> {
    const args = S.WriteIn.toBytes({ fh, offset, size: data.byteLength, writeFlags, lockOwner: 0n, flags: 2 })
    return S.WriteOut.fromBytes(await this.call('WRITE', { node, args, tail: data })).size
  }

  async statfs(node: number): Promise<S.KstatfsOut> {
    return S.KstatfsOut.fromBytes(await this.call('STATFS', { node }))
  }

  async flush(node: number, fh: number): Promise<void> {
    await this.call('FLUSH', { node, args: S.FlushIn.toBytes({ fh, lockOwner: 0n }) })
  }

  async fsync(node: number, fh: number, dataOnly = false): Promise<void> {
    await this.call('FSYNC', { node, args: fsyncArguments(fh, dataOnly) })
  }

  async release(node: number, fh: number, flags = 0): Promise<void> {
    const args = S.ReleaseIn.toBytes({ fh, flags, releaseFlags: 0, lockOwner: 0n })
    await this.call('RELEASE', { node, args })
  }

  async opendir(node: number): Promise<S.OpenOut> {
    const args = S.OpenIn.toBytes({ flags: 0o200000, openFlags: 0 })
    return S.OpenOut.fromBytes(await this.call('OPENDIR', { node, args }))
  }

  /** The entries after `cookie` that fit into `size` bytes; none at the end. */
  async readdir(
    node: number,
    fh: number,
    cookie: bigint | number = 0,
    size = 4096,
  ): Promise<DirectoryEntry[]> {
    return decodeListing(
      await this.call('READDIR', { node, args: listArguments(fh, cookie, size), room: size }),
      false,
    )
  }

  /** As `readdir`, with attributes. Each entry with a node id, except `.` and `..`, counts as a lookup. */
  async readdirplus(
    node: number,
    fh: number,
    cookie: bigint | number = 0,
    size = 4096,
  ): Promise<DirectoryEntry[]> {
    return decodeListing(
      await this.call('READDIRPLUS', { node, args: listArguments(fh, cookie, size), room: size }),
      true,
    )
  }

  async releasedir(node: number, fh: number): Promise<void> {
    const args = S.ReleaseIn.toBytes({ fh, flags: 0, releaseFlags: 0, lockOwner: 0n })
    await this.call('RELEASEDIR', { node, args })
  }

  async fsyncdir(node: number, fh: number, dataOnly = false): Promise<void> {
    await this.call('FSYNCDIR', { node, args: fsyncArguments(fh, dataOnly) })
  }

  async access(node: number, mask: number): Promise<void> {
    await this.call('ACCESS', { node, args: S.AccessIn.toBytes({ mask }) })
  }

  /** `setxattrFlags` travel if SETXATTR_EXT was agreed. */
  async setxattr(node: number, name: string, value: Uint8Array, flags = 0, setxattrFlags = 0): Promise<void> {
    const args = this.#setxattrExt
      ? X.SetxattrIn.toBytes({ size: value.byteLength, flags, setxattrFlags })
      : X.SetxattrInCompat.toBytes({ size: value.byteLength, flags })
    await this.call('SETXATTR', { node, args, names: [name], tail: value })
  }

  async getxattr(node: number, name: string, size = 65536): Promise<Uint8Array> {
    return this.call('GETXATTR', { node, args: X.GetxattrIn.toBytes({ size }), names: [name], room: size })
  }

  /** Length of the value. */
  async getxattrSize(node: number, name: string): Promise<number> {
    const args = X.GetxattrIn.toBytes({ size: 0 })
    const body = await this.call('GETXATTR', { node, args, names: [name], room: X.GetxattrOut.size })
    return X.GetxattrOut.fromBytes(body).size
  }

  async listxattr(node: number, size = 65536): Promise<string[]> {
    const body = await this.call('LISTXATTR', { node, args: X.GetxattrIn.toBytes({ size }), room: size })
    return decodeName(body)
      .split('\0')
      .filter(name => name.length > 0 && name.length <= NAME_MAX)
  }

  async removexattr(node: number, name: string): Promise<void> {
    await this.call('REMOVEXATTR', { node, names: [name] })
  }

  async fallocate(node: number, fh: number, offset: number, length: number, mode = 0): Promise<void> {
    await this.call('FALLOCATE', { node, args: X.FallocateIn.toBytes({ fh, offset, length, mode }) })
  }

  async lseek(node: number, fh: number, offset: number, whence: number): Promise<number> {
    const body = await this.call('LSEEK', { node, args: X.LseekIn.toBytes({ fh, offset, whence }) })
    return X.LseekOut.fromBytes(body).offset
  }

  /** Resolves to the count of bytes copied. */
  async copyFileRange(
    source: { node: number; fh: number; offset: number },
    target: { node: number; fh: number; offset: number },
    length: number,
  ): Promise<number> {
    const args = X.CopyFileRangeIn.toBytes({
      fhIn: source.fh,
      offIn: source.offset,
      nodeidOut: target.node,
      fhOut: target.fh,
      offOut: target.offset,
      len: length,
      flags: 0n,
    })
    return S.WriteOut.fromBytes(await this.call('COPY_FILE_RANGE', { node: source.node, args })).size
  }

  async statx(node: number, sxMask: number, sxFlags = 0): Promise<X.StatxOut> {
    const args = X.StatxIn.toBytes({ getattrFlags: 0, fh: 0, sxFlags, sxMask })
    return X.StatxOut.fromBytes(await this.call('STATX', { node, args }))
  }

  async tmpfile(parent: number, mode = 0o600, flags = 0o20200002): Promise<Created> {
    const args = S.CreateIn.toBytes({ flags, mode: mode | 0o100000, umask: 0o22, openFlags: 0 })
    return created(await this.call('TMPFILE', { node: parent, args, names: ['/'] }))
  }

  async ioctl(
    node: number,
    fh: number,
    { command, argument = 0n, input = new Uint8Array(0), room = 0 }: IoctlCall,
  ): Promise<{ result: number; data: Uint8Array }> {
    const sizes = { inSize: input.byteLength, outSize: room }
    const args = X.IoctlIn.toBytes({ fh, flags: 0, cmd: command, arg: argument, ...sizes })
    const body = await this.call('IOCTL', { node, args, tail: input, room })
    return { result: X.IoctlOut.fromBytes(body).result, data: body.subarray(X.IoctlOut.size) }
  }

  async getlk(node: number, fh: number, owner: bigint, lk: X.FileLock): Promise<X.FileLock> {
    const args = X.LkIn.toBytes({ fh, owner, lk, lkFlags: 0 })
    return X.LkOut.fromBytes(await this.call('GETLK', { node, args })).lk
  }

  async setlk(node: number, fh: number, owner: bigint, lk: X.FileLock, wait = false): Promise<void> {
    const args = X.LkIn.toBytes({ fh, owner, lk, lkFlags: 0 })
    await this.call(wait ? 'SETLKW' : 'SETLK', { node, args })
  }

  async syncfs(node: number): Promise<void> {
    await this.call('SYNCFS', { node, args: X.SyncfsIn.toBytes({}) })
  }
}

function created(body: Uint8Array): Created {
  return { entry: S.EntryOut.fromBytes(body), open: S.OpenOut.fromBytes(body.subarray(S.EntryOut.size)) }
}

function readArguments(fh: number, offset: number, size: number): Uint8Array {
  return S.ReadIn.toBytes({ fh, offset, size, readFlags: 0, lockOwner: 0n, flags: 0 })
}

/** A cookie is the server's own and may have all of its 64 bits, which an offset has not. */
function listArguments(fh: number, cookie: bigint | number, size: number): Uint8Array {
  const args = readArguments(fh, 0, size)
  new DataView(args.buffer, args.byteOffset).setBigUint64(S.ReadIn.offsets.offset, BigInt(cookie), true)
  return args
}

function fsyncArguments(fh: number, dataOnly: boolean): Uint8Array {
  return S.FsyncIn.toBytes({ fh, fsyncFlags: dataOnly ? FUSE_FSYNC_FDATASYNC : 0 })
}
