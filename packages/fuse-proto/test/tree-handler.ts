// A small file system in memory, for tests of client and server against each other. Half of its answers are promises, so
// that both ways of answering are walked.

import {
  type Attr,
  type Awaitable,
  type EntryOut,
  type FileHandle,
  FsError,
  type FuseHandler,
  InitFlags,
  type NodeId,
} from '../src/index.ts'

type Method<K extends keyof FuseHandler> = Required<FuseHandler>[K]

interface Node {
  readonly id: number
  mode: number
  data: Uint8Array
  target: string
  mtime: number
  lookups: number
  readonly children: Map<string, Node>
  readonly xattrs: Map<string, Uint8Array>
}

export class TreeHandler implements FuseHandler {
  #nextId = 1
  #answers = 0
  readonly nodes = new Map<number, Node>()
  readonly root = this.#make(0o040755)

  init() {
    return { flags: InitFlags.DO_READDIRPLUS | InitFlags.SETXATTR_EXT, maxWrite: 65536 }
  }

  lookup: Method<'lookup'> = (_, parent, name) => this.#entry(this.#child(parent, name))
  forget: Method<'forget'> = (id, count) => {
    const node = this.#node(id)
    node.lookups -= count
  }
  getattr: Method<'getattr'> = (_, id) => this.#answer(attrReply(this.#node(id)))
  setattr: Method<'setattr'> = (_, id, change) => {
    const node = this.#node(id)
    if (change.mode !== undefined) node.mode = (node.mode & 0o170000) | (change.mode & 0o7777)
    if (change.size !== undefined) node.data = resized(node.data, change.size)
    if (typeof change.mtime === 'object') node.mtime = change.mtime.sec
    return this.#answer(attrReply(node))
  }
  readlink: Method<'readlink'> = (_, id) => this.#answer(this.#node(id).target)
  symlink: Method<'symlink'> = (_, parent, name, target) => {
    const node = this.#add(parent, name, 0o120777)
    node.target = target
    return this.#entry(node)
  }
  mknod: Method<'mknod'> = (_, parent, name, mode) => this.#entry(this.#add(parent, name, mode))
  mkdir: Method<'mkdir'> = (_, parent, name, mode) => this.#entry(this.#add(parent, name, 0o040000 | mode))
  unlink: Method<'unlink'> = (_, parent, name) => {
    this.#child(parent, name)
    this.#node(parent).children.delete(name)
  }
  rmdir: Method<'rmdir'> = async (_, parent, name) => {
    if (this.#child(parent, name).children.size > 0) throw new FsError('ENOTEMPTY')
    this.#node(parent).children.delete(name)
  }
  rename: Method<'rename'> = (_, parent, name, newParent, newName, flags) => {
    const node = this.#child(parent, name)
    const target = this.#node(newParent).children
    if ((flags & 1) !== 0 && target.has(newName)) throw new FsError('EEXIST')
    this.#node(parent).children.delete(name)
    target.set(newName, node)
  }
  link: Method<'link'> = (_, id, newParent, newName) => {
    this.#node(newParent).children.set(newName, this.#node(id))
    return this.#entry(this.#node(id))
  }
  open: Method<'open'> = (_, id) => this.#answer({ fh: (id + 1000) as FileHandle, openFlags: 0 })
  opendir: Method<'opendir'> = (ctx, id, flags) => this.open(ctx, id, flags, 0)
  create: Method<'create'> = async (_, parent, name, mode) => {
    const node = this.#add(parent, name, mode)
    return { entry: await this.#entry(node), open: { fh: (node.id + 1000) as FileHandle, openFlags: 0 } }
  }
  read: Method<'read'> = async (_, id, __, offset, size, out) => {
    const { data } = this.#node(id)
    for (let at = offset; at < Math.min(offset + size, data.byteLength); ) at += out.write(data, at, 37)
  }
  write: Method<'write'> = (_, id, __, offset, data) => {
    const node = this.#node(id)
    if (node.data.byteLength < offset + data.byteLength)
      node.data = resized(node.data, offset + data.byteLength)
    return this.#answer(data.copyTo(node.data, offset))
  }
  readdir: Method<'readdir'> = (_, id, __, cookie, out) => {
    const children = [...this.#node(id).children]
    for (const [i, [name, node]] of children.entries()) {
      if (i >= cookie && !out.add(name, node.id, node.mode >> 12, i + 1)) return
    }
  }
  readdirplus: Method<'readdirplus'> = async (_, id, __, cookie, out) => {
    const children = [...this.#node(id).children]
    for (const [i, [name, node]] of children.entries()) {
      if (i < cookie) continue
      if (!out.addEntry(name, entryOf(node), i + 1)) return
      node.lookups++
    }
  }
  setxattr: Method<'setxattr'> = (_, id, name, value) => {
    this.#node(id).xattrs.set(name, value)
  }
  getxattr: Method<'getxattr'> = async (_, id, name) => {
    const value = this.#node(id).xattrs.get(name)
    if (!value) throw new FsError('ENODATA')
    return value
  }
  listxattr: Method<'listxattr'> = (_, id) => [...this.#node(id).xattrs.keys()]

  #make(mode: number): Node {
    const id = this.#nextId++
    const empty = { data: new Uint8Array(0), target: '', mtime: 0, lookups: 0 }
    const node = { id, mode, ...empty, children: new Map(), xattrs: new Map() }
    this.nodes.set(id, node)
    return node
  }

  #add(parent: NodeId, name: string, mode: number): Node {
    const { children } = this.#node(parent)
    if (children.has(name)) throw new FsError('EEXIST')
    const node = this.#make(mode)
    children.set(name, node)
    return node
  }

  #node(id: number): Node {
    const node = this.nodes.get(id)
    if (!node) throw new FsError('ESTALE')
    return node
  }

  #child(parent: number, name: string): Node {
    const node = this.#node(parent).children.get(name)
    if (!node) throw new FsError('ENOENT')
    return node
  }

  #entry(node: Node): Awaitable<EntryOut> {
    node.lookups++
    return this.#answer(entryOf(node))
  }

  /** Every other answer is a promise. */
  #answer<T>(value: T): Awaitable<T> {
    return this.#answers++ % 2 === 0 ? value : Promise.resolve(value)
  }
}

function attrOf(node: Node): Attr {
  const times = { atime: 0, mtime: node.mtime, ctime: 0, atimensec: 0, mtimensec: 0, ctimensec: 0 }
  const size = node.data.byteLength
  return {
    ino: node.id,
    size,
    blocks: 0,
    ...times,
    mode: node.mode,
    nlink: 1,
    uid: 0,
    gid: 0,
    rdev: 0,
    blksize: 4096,
    flags: 0,
  }
}

const attrReply = (node: Node) => ({ attrValid: 1, attrValidNsec: 0, attr: attrOf(node) })

function entryOf(node: Node): EntryOut {
  const valid = { entryValid: 1, attrValid: 1, entryValidNsec: 0, attrValidNsec: 0 }
  return { nodeid: node.id, generation: 0, ...valid, attr: attrOf(node) }
}

function resized(data: Uint8Array, size: number): Uint8Array {
  const copy = new Uint8Array(size)
  copy.set(data.subarray(0, size))
  return copy
}
