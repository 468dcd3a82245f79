// One program in a guest, alone in a directory of its own, that does one thing after the other and knows what it was promised: the
// tree that must be there after a crash, and the tree that may be there if the thing under way just made it.

import type { FuseClient } from '@ovfs/fuse-proto'
import type { Random } from './random.ts'

export interface Item {
  /** Of a file. */
  readonly content?: Buffer
  /** Of a symbolic link. */
  readonly target?: string
  /** Permissions of a file. */
  readonly mode?: number
  /** In seconds, if the actor has set it and not written since. */
  readonly mtime?: number
}

/** Paths below the actor's directory. */
export type Tree = Map<string, Item>

const DIRECTORY: Item = {}

const ROOT = 1
const O_RDWR = 2
const O_TRUNC = 0o1000
const FATTR_MODE = 1 << 0
const FATTR_SIZE = 1 << 3
const FATTR_MTIME = 1 << 5
const S_IFMT = 0o170000
const S_IFDIR = 0o040000
const S_IFLNK = 0o120000
const DEFAULT_MODE = 0o644
const MODES = [DEFAULT_MODE, 0o600, 0o755] as const
const PIECE = 256 << 10
const NAMES = ['a', 'b', 'c', 'd', 'e'] as const
const DIRECTORIES = ['', 'x/', 'y/', 'x/z/'] as const
/** Times that are set are of 1970. */
const LATEST_SET = 1_000_000
const LARGEST_LISTING = 64 << 10

export class Actor {
  readonly name: string
  /** What was acknowledged. */
  promised: Tree = new Map()
  /** What there may be if the operation under way has happened. */
  possible: readonly Tree[] = []
  /** What it has done, for a person who has to understand a failure. */
  readonly history: string[] = []
  readonly #random: Random

  constructor(name: string, random: Random) {
    this.name = name
    this.#random = random
  }

  /** Makes its directory, if it is not there. */
  async arrive(client: FuseClient): Promise<void> {
    if ((await find(client, ROOT, this.name)) === undefined) await client.mkdir(ROOT, this.name)
  }

  /** Does one thing. Rejects if the daemon refused it, or is gone. */
  async act(client: FuseClient): Promise<void> {
    const random = this.#random
    const path = random.pick(DIRECTORIES) + random.pick(NAMES)
    const parent = parentOf(path)
    const above = this.promised.get(parent)
    if (parent !== '' && above === undefined) return this.#mkdir(client, parent)
    if (parent !== '' && above !== DIRECTORY) return
    const item = this.promised.get(path)
    if (item === DIRECTORY) return
    const choice = random.below(12)
    if (item === undefined && choice < 3) await this.#symlink(client, path)
    else if (item === undefined) await this.#put(client, path)
    else if (choice < 2) await this.#unlink(client, path)
    else if (choice < 4) await this.#rename(client, path)
    else if (choice < 5) await this.#renameDirectory(client)
    else if (item.content === undefined) return
    else if (choice < 7) await this.#put(client, path)
    else if (choice < 9) await this.#patch(client, path, item.content)
    else if (choice < 10) await this.#truncate(client, path, item.content)
    else await this.#mark(client, path)
  }

  async #during(words: string, tree: Tree, work: () => Promise<void>): Promise<void> {
    this.history.push(words)
    this.possible = [tree]
    await work()
    this.history.push('done')
    this.promised = tree
    this.possible = []
  }

  #with(change: (tree: Tree) => void): Tree {
    const tree = new Map(this.promised)
    change(tree)
    return tree
  }

  #withContent(path: string, content: Buffer): Tree {
    return this.#with(next => next.set(path, { content, mode: next.get(path)?.mode ?? DEFAULT_MODE }))
  }

  async #mkdir(client: FuseClient, path: string): Promise<void> {
    const above = parentOf(path)
    if (above !== '' && !this.promised.has(above)) return this.#mkdir(client, above)
    const tree = this.#with(next => next.set(path, DIRECTORY))
    await this.#during(`mkdir ${path}`, tree, async () => {
      await client.mkdir(await this.#node(client, above), last(path))
    })
  }

  async #put(client: FuseClient, path: string): Promise<void> {
    const content = this.#random.bytes(this.#random.size())
    const synced = this.#random.below(3) === 0
    const before = this.promised.get(path)?.mode
    const mode = before ?? this.#random.pick(MODES)
    const tree = this.#with(next => next.set(path, { content, mode }))
    /** What a guest that is gone has written so far is published. Its mode may not have been noted yet. */
    const mayHave = (bytes: number) =>
      [mode, before ?? DEFAULT_MODE].map(mode =>
        this.#with(next => next.set(path, { content: content.subarray(0, bytes), mode })),
      )
    await this.#during(
      `put ${path} ${content.length} mode ${mode.toString(8)}${synced ? ' fsync' : ''}`,
      tree,
      async () => {
        this.possible = [tree, ...mayHave(0)]
        const { entry, open } = await client.create(
          await this.#node(client, parentOf(path)),
          last(path),
          mode,
          O_RDWR | O_TRUNC,
        )
        await write(client, entry.nodeid, open.fh, 0, content, (from, to) => {
          this.possible = [tree, ...mayHave(from), ...mayHave(to)]
        })
        this.possible = [tree, ...mayHave(content.length)]
        if (synced) await client.fsync(entry.nodeid, open.fh)
        else await client.flush(entry.nodeid, open.fh)
        await client.release(entry.nodeid, open.fh)
      },
    )
  }

  async #symlink(client: FuseClient, path: string): Promise<void> {
    const target = `to/${this.#random.next()}`
    const tree = this.#with(next => next.set(path, { target }))
    await this.#during(`symlink ${path} to ${target}`, tree, async () => {
      await client.symlink(await this.#node(client, parentOf(path)), last(path), target)
    })
  }

  /** Gives an open file a mode and a time: closing it promises them. */
  async #mark(client: FuseClient, path: string): Promise<void> {
    const [mode, mtime] = [this.#random.pick(MODES), 1 + this.#random.below(LATEST_SET)]
    const tree = this.#with(next => next.set(path, { ...next.get(path), mode, mtime }))
    await this.#during(`mark ${path} mode ${mode.toString(8)} time ${mtime}`, tree, async () => {
      const node = await this.#node(client, path)
      const { fh } = await client.open(node, O_RDWR)
      await client.setattr(node, { valid: FATTR_MODE | FATTR_MTIME, mode, mtime })
      await client.flush(node, fh)
      await client.release(node, fh)
    })
  }

  /** Writes somewhere into the file, or behind its end. */
  async #patch(client: FuseClient, path: string, old: Buffer): Promise<void> {
    const patch = this.#random.bytes(1 + this.#random.below(20_000))
    const offset = this.#random.below(old.length + 1000)
    const content = Buffer.alloc(Math.max(old.length, offset + patch.length))
    content.set(old)
    content.set(patch, offset)
    const tree = this.#withContent(path, content)
    await this.#during(`patch ${path} ${patch.length} at ${offset}`, tree, async () => {
      const node = await this.#node(client, path)
      const { fh } = await client.open(node, O_RDWR)
      await write(client, node, fh, offset, patch)
      await client.flush(node, fh)
      await client.release(node, fh)
    })
  }

  async #truncate(client: FuseClient, path: string, old: Buffer): Promise<void> {
    const size = this.#random.below(old.length + 5000)
    const content = Buffer.alloc(size)
    old.copy(content, 0, 0, size)
    const tree = this.#withContent(path, content)
    await this.#during(`truncate ${path} to ${size}`, tree, async () => {
      await client.setattr(await this.#node(client, path), { valid: FATTR_SIZE, size })
    })
  }

  async #unlink(client: FuseClient, path: string): Promise<void> {
    const tree = this.#with(next => next.delete(path))
    await this.#during(`unlink ${path}`, tree, async () => {
      await client.unlink(await this.#node(client, parentOf(path)), last(path))
    })
  }

  async #rename(client: FuseClient, path: string): Promise<void> {
    const to = this.#random.pick(DIRECTORIES) + this.#random.pick(NAMES)
    const parent = parentOf(to)
    if ((parent !== '' && !this.promised.has(parent)) || to === path) return
    const tree = this.#with(next => {
      next.set(to, next.get(path)!)
      next.delete(path)
    })
    await this.#during(`rename ${path} to ${to}`, tree, async () => {
      const [from, target] = [parentOf(path), parent]
      await client.rename(
        await this.#node(client, from),
        last(path),
        await this.#node(client, target),
        last(to),
      )
    })
  }

  async #renameDirectory(client: FuseClient): Promise<void> {
    const [from, to] = this.promised.has('x') ? ['x', 'y'] : ['y', 'x']
    if (!this.promised.has(from) || this.promised.has(to)) return
    const tree: Tree = new Map()
    for (const [path, content] of this.promised) {
      const inside = path === from || path.startsWith(`${from}/`)
      tree.set(inside ? to + path.slice(from.length) : path, content)
    }
    await this.#during(`rename directory ${from} to ${to}`, tree, async () => {
      const home = await this.#node(client, '')
      await client.rename(home, from, home, to)
    })
  }

  async #node(client: FuseClient, path: string): Promise<number> {
    let node = ROOT
    for (const name of [this.name, ...path.split('/').filter(part => part !== '')]) {
      node = (await client.lookup(node, name)).nodeid
    }
    return node
  }

  /** What is there after a kill counts from now on. */
  found(seen: Tree): void {
    this.promised = seen
    this.possible = []
  }

  /** What there is. */
  async see(client: FuseClient): Promise<Tree> {
    const tree: Tree = new Map()
    await see(client, await this.#node(client, ''), '', tree)
    return tree
  }
}

async function see(client: FuseClient, node: number, prefix: string, tree: Tree): Promise<void> {
  const { fh } = await client.opendir(node)
  for (let cookie = 0n; ; ) {
    const entries = await client.readdir(node, fh, cookie, LARGEST_LISTING)
    const end = entries.at(-1)
    if (end === undefined) break
    cookie = end.off
    for (const { name } of entries) {
      if (name === '.' || name === '..') continue
      const { nodeid, attr } = await client.lookup(node, name)
      const path = prefix + name
      const type = attr.mode & S_IFMT
      if (type === S_IFDIR) {
        tree.set(path, DIRECTORY)
        await see(client, nodeid, `${path}/`, tree)
      } else if (type === S_IFLNK) {
        tree.set(path, { target: await client.readlink(nodeid) })
      } else {
        const content = await read(client, nodeid, attr.size)
        // The others are those at which somebody wrote.
        const set = attr.mtime <= LATEST_SET ? { mtime: attr.mtime } : {}
        tree.set(path, { content, mode: attr.mode & 0o7777, ...set })
      }
    }
  }
  await client.releasedir(node, fh)
}

async function read(client: FuseClient, node: number, size: number): Promise<Buffer> {
  const { fh } = await client.open(node)
  const parts: Uint8Array[] = []
  for (let at = 0; at < size; at += PIECE)
    parts.push(await client.read(node, fh, at, Math.min(PIECE, size - at)))
  await client.release(node, fh)
  return Buffer.concat(parts)
}

/** @param progress told before each piece: how many bytes there are, and how many there will be */
async function write(
  client: FuseClient,
  node: number,
  fh: number,
  offset: number,
  content: Buffer,
  progress: (from: number, to: number) => void = () => undefined,
): Promise<void> {
  for (let at = 0; at < content.length; at += PIECE) {
    const piece = content.subarray(at, at + PIECE)
    progress(at, at + piece.length)
    await client.write(node, fh, offset + at, piece)
  }
}

async function find(client: FuseClient, parent: number, name: string): Promise<number | undefined> {
  try {
    const { nodeid } = await client.lookup(parent, name)
    return nodeid === 0 ? undefined : nodeid
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined
    throw error
  }
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')))
}

function last(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** The first difference in words; undefined if there is none. */
export function difference(seen: Tree, wanted: Tree): string | undefined {
  for (const [path, item] of wanted) {
    const found = seen.get(path)
    if (found === undefined) return `${path} is missing`
    const words = itemDifference(found, item)
    if (words !== undefined) return `${path} ${words}`
  }
  for (const path of seen.keys()) if (!wanted.has(path)) return `${path} should not be there`
  return undefined
}

function itemDifference(found: Item, { content, target, mode, mtime }: Item): string | undefined {
  const isOther = (found.content === undefined) !== (content === undefined) || found.target !== target
  if (isOther) return `is of another kind, or leads to ${found.target} and not to ${target}`
  if (found.mode !== mode) return `has mode ${found.mode?.toString(8)}, not ${mode?.toString(8)}`
  if (mtime !== undefined && found.mtime !== mtime) return `is of ${found.mtime}, not of ${mtime}`
  if (found.content === undefined || content === undefined || found.content.equals(content)) return undefined
  const { length } = found.content
  if (length !== content.length) return `has ${length} bytes, not ${content.length}`
  return `differs at ${found.content.findIndex((byte, i) => byte !== content[i])} of ${length}`
}
