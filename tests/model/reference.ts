// The tree that the file system is compared with: plain objects in memory that do what POSIX says, and nothing else. Each
// operation returns undefined, or the name of the errno that a Linux program expects.

export class PlainFile {
  bytes = new Uint8Array(0)
  mode: number
  mtime: number | undefined
  readonly xattrs = new Map<string, string>()

  constructor(mode: number) {
    this.mode = mode
  }

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

export class PlainLink {
  readonly target: string

  constructor(target: string) {
    this.target = target
  }
}

export class PlainDirectory {
  readonly entries = new Map<string, PlainNode>()
  mode: number

  constructor(mode: number) {
    this.mode = mode
  }
}

export type PlainNode = PlainFile | PlainLink | PlainDirectory
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
    if (present !== undefined) return present
    const file = new PlainFile(mode)
    parent.entries.set(name, file)
    return file
  }

  add(path: string, make: () => PlainNode): Outcome {
    const place = this.parent(path)
    if (typeof place === 'string') return place
    const [parent, name] = place
    if (parent.entries.has(name)) return 'EEXIST'
    parent.entries.set(name, make())
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
    parent.entries.delete(name)
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
    parent.entries.delete(name)
    newParent.entries.set(newName, node)
    return undefined
  }
}

/** What a comparison shows of a tree: one line a node would be too little, so one object a node, by path. */
export type Snapshot = Record<string, Record<string, unknown>>

/** @param kept which attributes the file system keeps; others are not shown */
export function snapshotOf(
  tree: PlainTree,
  kept: { modes: boolean; times: boolean; xattrs: boolean },
): Snapshot {
  const shown: Snapshot = {}
  const visit = (directory: PlainDirectory, prefix: string) => {
    for (const [name, node] of directory.entries) {
      const path = `${prefix}${name}`
      if (node instanceof PlainLink) shown[path] = { link: node.target }
      else if (node instanceof PlainDirectory) {
        shown[path] = { directory: true, ...(kept.modes ? { mode: node.mode } : {}) }
        visit(node, `${path}/`)
      } else {
        shown[path] = {
          file: Buffer.from(node.bytes).toString('latin1'),
          ...(kept.modes ? { mode: node.mode } : {}),
          ...(kept.times && node.mtime !== undefined ? { mtime: node.mtime } : {}),
          ...(kept.xattrs && node.xattrs.size > 0 ? { xattrs: Object.fromEntries(node.xattrs) } : {}),
        }
      }
    }
  }
  visit(tree.root, '')
  return shown
}
