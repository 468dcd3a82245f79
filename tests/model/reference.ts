// The tree that the file system is compared with: plain objects in memory that do what POSIX says, and nothing else. Each
// operation returns undefined, or the name of the errno that a Linux program expects.

/** What every node has beside its bytes. Times are undefined until they are set, and again once only a clock knows them. */
class PlainAttributes {
  mode: number
  uid = 0
  gid = 0
  mtime: number | undefined
  atime: number | undefined
  readonly xattrs = new Map<string, string>()

  constructor(mode: number) {
    this.mode = mode
  }
}

export class PlainFile extends PlainAttributes {
  bytes = new Uint8Array(0)

  resize(size: number): void {
    const next = new Uint8Array(size)
    next.set(this.bytes.subarray(0, size))
    this.bytes = next
    this.mtime = undefined
  }

  write(offset: number, data: Uint8Array): void {
    if (offset + data.byteLength > this.bytes.byteLength) this.resize(offset + data.byteLength)
    this.bytes.set(data, offset)
    this.mtime = undefined
  }
}

export class PlainLink extends PlainAttributes {
  readonly target: string

  constructor(target: string) {
    super(0o777)
    this.target = target
  }
}

/** A pipe or a device. */
export class PlainSpecial extends PlainAttributes {
  /** The type bits of the mode. */
  readonly type: number
  readonly rdev: number

  constructor(mode: number, rdev: number) {
    super(mode & 0o7777)
    this.type = mode & ~0o7777
    this.rdev = rdev
  }
}

export class PlainDirectory extends PlainAttributes {
  readonly entries = new Map<string, PlainNode>()

  set(name: string, node: PlainNode): void {
    this.entries.set(name, node)
    this.mtime = undefined
  }

  delete(name: string): void {
    this.entries.delete(name)
    this.mtime = undefined
  }
}

export type PlainNode = PlainFile | PlainLink | PlainSpecial | PlainDirectory

const S_ISGID = 0o2000

/** What a program makes in a directory with setgid has its group, and a directory setgid too. */
function inherit(node: PlainNode, from: PlainDirectory): void {
  if ((from.mode & S_ISGID) === 0) return
  node.gid = from.gid
  if (node instanceof PlainDirectory) node.mode |= S_ISGID
}

export type Outcome = string | undefined

export const DIRECTORY_MODE = 0o755
export const FILE_MODE = 0o644

export class PlainTree {
  readonly root = new PlainDirectory(DIRECTORY_MODE)

  /** As a walk finds it: the errno where it ends, if it does not arrive. */
  find(path: string): PlainNode | string {
    let node: PlainNode = this.root
    for (const name of path.split('/')) {
      if (!(node instanceof PlainDirectory)) return 'ENOTDIR'
      const next = node.entries.get(name)
      if (next === undefined) return 'ENOENT'
      node = next
    }
    return node
  }

  /** Where a node hangs; undefined if its name is gone. */
  pathOf(wanted: PlainNode, below = this.root, prefix = ''): string | undefined {
    for (const [name, node] of below.entries) {
      if (node === wanted) return `${prefix}${name}`
      const found =
        node instanceof PlainDirectory ? this.pathOf(wanted, node, `${prefix}${name}/`) : undefined
      if (found !== undefined) return found
    }
    return undefined
  }

  file(path: string): PlainFile | undefined {
    const node = this.find(path)
    return node instanceof PlainFile ? node : undefined
  }

  /** The directory that a path's last name is in, or the errno of the walk there. */
  parent(path: string): [PlainDirectory, string] | string {
    const at = path.lastIndexOf('/')
    const node = at < 0 ? this.root : this.find(path.slice(0, at))
    if (typeof node === 'string') return node
    return node instanceof PlainDirectory ? [node, path.slice(at + 1)] : 'ENOTDIR'
  }

  create(path: string, mode: number): PlainFile | string {
    const place = this.parent(path)
    if (typeof place === 'string') return place
    const [parent, name] = place
    const present = parent.entries.get(name)
    if (present instanceof PlainDirectory) return 'EISDIR'
    if (present instanceof PlainLink) return 'ELOOP'
    if (present instanceof PlainSpecial) return 'ENXIO'
    if (present !== undefined) return present
    const file = new PlainFile(mode)
    inherit(file, parent)
    parent.set(name, file)
    return file
  }

  /** A file that no program of the guest made. */
  appear(path: string): PlainFile {
    const present = this.file(path)
    if (present !== undefined) return present
    const [parent, name] = this.parent(path) as [PlainDirectory, string]
    const file = new PlainFile(FILE_MODE)
    parent.set(name, file)
    return file
  }

  add(path: string, make: () => PlainNode): Outcome {
    const place = this.parent(path)
    if (typeof place === 'string') return place
    const [parent, name] = place
    if (parent.entries.has(name)) return 'EEXIST'
    const node = make()
    inherit(node, parent)
    parent.set(name, node)
    return undefined
  }

  unlink(path: string): Outcome {
    const node = this.find(path)
    if (typeof node === 'string') return node
    if (node instanceof PlainDirectory) return 'EISDIR'
    return this.#remove(path)
  }

  rmdir(path: string): Outcome {
    const node = this.find(path)
    if (typeof node === 'string') return node
    if (!(node instanceof PlainDirectory)) return 'ENOTDIR'
    return node.entries.size > 0 ? 'ENOTEMPTY' : this.#remove(path)
  }

  #remove(path: string): Outcome {
    const [parent, name] = this.parent(path) as [PlainDirectory, string]
    parent.delete(name)
    return undefined
  }

  rename(from: string, to: string, noReplace: boolean): Outcome {
    const source = this.parent(from)
    if (typeof source === 'string') return source
    const target = this.parent(to)
    if (typeof target === 'string') return target
    const [parent, name] = source
    const [newParent, newName] = target
    const node = parent.entries.get(name)
    const present = newParent.entries.get(newName)
    if (node === undefined) return 'ENOENT'
    if (node instanceof PlainDirectory && from !== to && `${to}/`.startsWith(`${from}/`)) return 'EINVAL'
    if (present !== undefined && noReplace) return 'EEXIST'
    if (present === node) return undefined
    if (present instanceof PlainDirectory) {
      if (!(node instanceof PlainDirectory)) return 'EISDIR'
      if (present.entries.size > 0) return 'ENOTEMPTY'
    } else if (present !== undefined && node instanceof PlainDirectory) return 'ENOTDIR'
    parent.delete(name)
    newParent.set(newName, node)
    return undefined
  }
}

/** What a comparison shows of a tree: one line a node would be too little, so one object a node, by path. */
export type Snapshot = Record<string, Record<string, unknown>>

export interface KeptAttributes {
  readonly modes: boolean
  readonly times: boolean
  readonly owners: boolean
  readonly xattrs: boolean
}

/** @param kept which attributes the file system keeps; others are not shown */
export function snapshotOf(tree: PlainTree, kept: KeptAttributes): Snapshot {
  const shown: Snapshot = {}
  const visit = (directory: PlainDirectory, prefix: string) => {
    for (const [name, node] of directory.entries) {
      const path = `${prefix}${name}`
      shown[path] = { ...contentOf(node), ...attributesOf(node, kept) }
      if (node instanceof PlainDirectory) visit(node, `${path}/`)
    }
  }
  visit(tree.root, '')
  return shown
}

function contentOf(node: PlainNode): Record<string, unknown> {
  if (node instanceof PlainLink) return { link: node.target }
  if (node instanceof PlainSpecial) return { special: node.type, rdev: node.rdev }
  if (node instanceof PlainDirectory) return { directory: true }
  return { file: Buffer.from(node.bytes).toString('latin1') }
}

function attributesOf(
  node: PlainNode,
  { modes, times, owners, xattrs }: KeptAttributes,
): Record<string, unknown> {
  return {
    // Linux changes no link's mode.
    ...(modes && !(node instanceof PlainLink) ? { mode: node.mode } : {}),
    ...(owners ? { uid: node.uid, gid: node.gid } : {}),
    ...(times && node.mtime !== undefined ? { mtime: node.mtime } : {}),
    ...(times && node.atime !== undefined ? { atime: node.atime } : {}),
    ...(xattrs && node.xattrs.size > 0 ? { xattrs: Object.fromEntries(node.xattrs) } : {}),
  }
}
