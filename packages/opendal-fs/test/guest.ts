// A guest in miniature: calls the handler as a kernel would, by path, and keeps the lookup counts and handles straight.

import {
  type DirentPlusSink,
  type EntryOut,
  type FileHandle,
  FsError,
  type InitIn,
  NO_EXTENSIONS,
  type NodeId,
  type ReplyData,
  type RequestContext,
  type RequestData,
  ROOT_NODE,
  type SetattrChange,
} from '@ovfs/fuse-proto'
import type { OpendalFs } from '../src/index.ts'

export const O_RDONLY = 0
export const O_WRONLY = 1
export const O_RDWR = 2
export const O_EXCL = 0o200
export const O_TRUNC = 0o1000

export const ctx: RequestContext = {
  opcode: 0,
  uid: 0,
  gid: 0,
  pid: 1,
  umask: 0,
  extensions: () => NO_EXTENSIONS,
}

export class Reply implements ReplyData {
  readonly bytes: Uint8Array
  #length = 0

  constructor(size: number) {
    this.bytes = new Uint8Array(size)
  }

  get room(): number {
    return this.bytes.byteLength - this.#length
  }

  get data(): Uint8Array {
    return this.bytes.subarray(0, this.#length)
  }

  write(source: Uint8Array, offset = 0, length = source.byteLength - offset): number {
    const count = Math.min(length, this.room, source.byteLength - offset)
    this.bytes.set(source.subarray(offset, offset + count), this.#length)
    this.#length += count
    return count
  }

  fill(length: number): number {
    const count = Math.min(length, this.room)
    this.#length += count
    return count
  }
}

export function requestData(bytes: Uint8Array): RequestData {
  return {
    byteLength: bytes.byteLength,
    copyTo(target, targetOffset = 0, offset = 0, length = bytes.byteLength - offset) {
      target.set(bytes.subarray(offset, offset + length), targetOffset)
      return length
    },
  }
}

export interface Dirent {
  readonly name: string
  readonly ino: number
  readonly type: number
  readonly next: number
  readonly entry: EntryOut | undefined
}

/** Room for `capacity` entries, as a buffer of the kernel has. */
export class Dirents implements DirentPlusSink {
  readonly all: Dirent[] = []
  readonly #capacity: number

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  add(name: string, ino: number, type: number, next: number): boolean {
    return this.#push({ name, ino, type, next, entry: undefined })
  }

  addEntry(name: string, entry: EntryOut, next: number): boolean {
    const copy = { ...entry, attr: { ...entry.attr } }
    return this.#push({ name, ino: entry.attr.ino, type: entry.attr.mode >> 12, next, entry: copy })
  }

  #push(dirent: Dirent): boolean {
    if (this.all.length >= this.#capacity) return false
    this.all.push(dirent)
    return true
  }
}

export class Guest {
  readonly fs: OpendalFs
  /** A guest of a new file system on the same storage. */
  again: () => Guest

  /** @param begins false for one whose session began with another file system */
  constructor(fs: OpendalFs, again: () => Guest = () => this, begins = true) {
    this.fs = fs
    this.again = again
    if (begins) fs.init({ major: 7, minor: 38, maxReadahead: 131072, flags: 0, flags2: 0 } as InitIn)
  }

  async node(path: string): Promise<NodeId> {
    let node: NodeId = ROOT_NODE
    for (const name of path.split('/').filter(part => part !== '')) {
      const entry = await this.fs.lookup(ctx, node, name)
      if (entry.nodeid === 0) throw new FsError('ENOENT', path)
      node = entry.nodeid as NodeId
    }
    return node
  }

  /** The parent of a path, which the kernel walks to before it asks for anything to be changed there. */
  async directory(path: string): Promise<NodeId> {
    const node = await this.node(path)
    const { attr } = await this.fs.getattr(ctx, node, undefined)
    if (attr.mode >> 12 !== 4) throw new FsError('ENOTDIR', path)
    return node
  }

  async #split(path: string): Promise<[NodeId, string]> {
    const at = path.lastIndexOf('/')
    return [await this.directory(path.slice(0, Math.max(0, at))), path.slice(at + 1)]
  }

  async exists(path: string): Promise<boolean> {
    try {
      await this.node(path)
      return true
    } catch (error) {
      if ((error as { code?: string }).code === 'ENOENT') return false
      throw error
    }
  }

  async stat(path: string): Promise<EntryOut['attr']> {
    return { ...(await this.fs.getattr(ctx, await this.node(path), undefined)).attr }
  }

  async open(path: string, flags = O_RDONLY): Promise<File> {
    const node = await this.node(path)
    const { fh, openFlags } = await this.fs.open(ctx, node, flags)
    return new File(this.fs, node, fh, openFlags)
  }

  async create(path: string, flags = O_RDWR, mode = 0o644, by = ctx): Promise<File> {
    const [parent, name] = await this.#split(path)
    const { entry, open } = await this.fs.create(by, parent, name, mode, flags)
    return new File(this.fs, entry.nodeid as NodeId, open.fh, open.openFlags)
  }

  /** open, write, close */
  async put(path: string, content: string | Uint8Array): Promise<void> {
    const file = await this.create(path, O_WRONLY | O_TRUNC)
    await file.write(0, content)
    await file.close()
  }

  async get(path: string): Promise<Uint8Array> {
    const file = await this.open(path)
    const bytes = await file.readAll()
    await file.close()
    return bytes
  }

  async text(path: string): Promise<string> {
    return new TextDecoder().decode(await this.get(path))
  }

  async mkdir(path: string, mode = 0o755, by = ctx): Promise<void> {
    const [parent, name] = await this.#split(path)
    await this.fs.mkdir(by, parent, name, mode)
  }

  async symlink(path: string, target: string): Promise<void> {
    const [parent, name] = await this.#split(path)
    await this.fs.symlink(ctx, parent, name, target)
  }

  async readlink(path: string): Promise<string> {
    return this.fs.readlink(ctx, await this.node(path))
  }

  async mknod(path: string, mode: number, rdev = 0): Promise<void> {
    const [parent, name] = await this.#split(path)
    await this.fs.mknod(ctx, parent, name, mode, rdev)
  }

  async setxattr(path: string, name: string, value: string | Uint8Array, flags = 0): Promise<void> {
    const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value
    await this.fs.setxattr(ctx, await this.node(path), name, bytes, flags)
  }

  async getxattr(path: string, name: string): Promise<string> {
    return new TextDecoder().decode(await this.fs.getxattr(ctx, await this.node(path), name))
  }

  async listxattr(path: string): Promise<readonly string[]> {
    return this.fs.listxattr(ctx, await this.node(path))
  }

  async removexattr(path: string, name: string): Promise<void> {
    await this.fs.removexattr(ctx, await this.node(path), name)
  }

  async unlink(path: string): Promise<void> {
    const [parent, name] = await this.#split(path)
    await this.fs.unlink(ctx, parent, name)
  }

  async rmdir(path: string): Promise<void> {
    const [parent, name] = await this.#split(path)
    await this.fs.rmdir(ctx, parent, name)
  }

  async rename(from: string, to: string, flags = 0): Promise<void> {
    const [parent, name] = await this.#split(from)
    const [newParent, newName] = await this.#split(to)
    await this.fs.rename(ctx, parent, name, newParent, newName, flags)
  }

  async setattr(path: string, change: Partial<SetattrChange>): Promise<EntryOut['attr']> {
    return (await this.fs.setattr(ctx, await this.node(path), change as SetattrChange)).attr
  }

  async truncate(path: string, size: number): Promise<void> {
    await this.setattr(path, { size })
  }

  /** All names but the dots, with what the listing told, read in pieces of `capacity` entries. */
  async readdir(path: string, { plus = false, capacity = 10 } = {}): Promise<Dirent[]> {
    const node = await this.node(path)
    const { fh } = this.fs.opendir(ctx, node)
    const all: Dirent[] = []
    for (let cookie = 0; ; ) {
      const out = new Dirents(capacity)
      if (plus) await this.fs.readdirplus(ctx, node, fh, cookie, out)
      else await this.fs.readdir(ctx, node, fh, cookie, out)
      const last = out.all.at(-1)
      if (last === undefined) break
      all.push(...out.all)
      cookie = last.next
    }
    this.fs.releasedir(ctx, node, fh)
    return all.filter(({ name }) => name !== '.' && name !== '..')
  }

  async names(path: string): Promise<string[]> {
    return (await this.readdir(path)).map(({ name }) => name).sort()
  }
}

export class File {
  readonly fs: OpendalFs
  readonly node: NodeId
  readonly fh: FileHandle
  readonly openFlags: number

  constructor(fs: OpendalFs, node: NodeId, fh: FileHandle, openFlags: number) {
    this.fs = fs
    this.node = node
    this.fh = fh
    this.openFlags = openFlags
  }

  async read(offset: number, size: number): Promise<Uint8Array> {
    const reply = new Reply(size)
    await this.fs.read(ctx, this.node, this.fh, offset, size, reply)
    return reply.data
  }

  async readAll(): Promise<Uint8Array> {
    const { attr } = await this.fs.getattr(ctx, this.node, this.fh)
    const { size } = attr
    const bytes = new Uint8Array(size)
    for (let at = 0; at < size; ) {
      const part = await this.read(at, 1 << 20)
      if (part.byteLength === 0) throw new Error(`end of file at ${at} of ${size}`)
      bytes.set(part, at)
      at += part.byteLength
    }
    return bytes
  }

  async write(offset: number, content: string | Uint8Array): Promise<number> {
    const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content
    for (let at = 0; at < bytes.byteLength; ) {
      at += await this.fs.write(
        ctx,
        this.node,
        this.fh,
        offset + at,
        requestData(bytes.subarray(at, at + (1 << 20))),
      )
    }
    return bytes.byteLength
  }

  async truncate(size: number): Promise<void> {
    await this.fs.setattr(ctx, this.node, { size, fh: this.fh } as SetattrChange)
  }

  async fsync(): Promise<void> {
    await this.fs.fsync(ctx, this.node, this.fh)
  }

  async flush(): Promise<void> {
    await this.fs.flush(ctx, this.node, this.fh)
  }

  async close(): Promise<void> {
    await this.flush()
    await this.fs.release(ctx, this.node, this.fh)
  }
}
