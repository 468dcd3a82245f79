// What a program in a guest may do, one request at a time, with a tree of plain objects that says what must be there then. A request
// is the same for the first time and again, for tests that cut it off in the middle.

import { isDeepStrictEqual } from 'node:util'
import { FsError, type NodeId, type RequestContext, ROOT_NODE, type SetattrChange } from '@ovfs/fuse-proto'
import { expect } from 'vitest'
import type { OpendalFs } from '../src/index.ts'
import { ctx, File, Guest, O_RDWR, requestData } from './guest.ts'

const S_IFMT = 0o170000
const S_IFDIR = 0o040000
const S_IFLNK = 0o120000

export interface PlainNode {
  kind: 'file' | 'directory' | 'link'
  mode: number
  /** Of a file its bytes, of a link where it leads. */
  content: string
  xattrs: Map<string, string>
}

/** By path; '' is the root. */
export type PlainTree = Map<string, PlainNode>

interface Open {
  readonly node: NodeId
  readonly fh: File['fh']
  readonly plain: PlainNode
}

/** A program, the kernel's counts of what it has looked up, and the tree as it must be. */
export class Program {
  tree: PlainTree = new Map([['', nodeOf('directory', 0o755)]])
  readonly open: Open[] = []
  readonly #lookups = new Map<NodeId, number>()
  #fs: OpendalFs

  constructor(fs: OpendalFs) {
    this.#fs = fs
  }

  get fs(): OpendalFs {
    return this.#fs
  }

  /** Another process serves it from now on. */
  goOn(fs: OpendalFs): void {
    this.#fs = fs
  }

  /** The guest has mounted again: what it knew is forgotten, and what was open is closed. */
  forgetAll(): void {
    this.#lookups.clear()
    this.open.length = 0
  }

  /** The tree after a request that may have been done, or may not: the one that is there counts from now on. */
  async choose(request: Request): Promise<void> {
    const before = shown(this.tree)
    const copies = [...this.tree].map(
      ([path, node]) => [path, { ...node, xattrs: new Map(node.xattrs) }] as const,
    )
    const undone = new Map(copies)
    request.done(this, NO_ANSWER)
    this.forgetAll()
    const seen = shown(await this.everything())
    if (isDeepStrictEqual(seen, before)) this.tree = undone
    else expect(seen).toEqual(shown(this.tree))
  }

  /** The kernel lets go of all that is not open. */
  trim(): void {
    for (const [node, count] of this.#lookups) {
      if (this.open.some(open => open.node === node)) continue
      this.#fs.forget(node, count)
      this.#lookups.delete(node)
    }
  }

  async walk(path: string): Promise<NodeId> {
    let node: NodeId = ROOT_NODE
    for (const name of path.split('/').filter(part => part !== '')) {
      const entry = await this.#fs.lookup(ctx, node, name)
      if (entry.nodeid === 0) throw new FsError('ENOENT', path)
      node = this.met(entry.nodeid as NodeId)
    }
    return node
  }

  /** A reply has told of a node. */
  met(node: NodeId): NodeId {
    this.#lookups.set(node, (this.#lookups.get(node) ?? 0) + 1)
    return node
  }

  /** What is there. */
  async everything(): Promise<PlainTree> {
    const tree: PlainTree = new Map()
    await this.#see('', tree)
    return tree
  }

  async #see(path: string, tree: PlainTree): Promise<void> {
    const node = await this.walk(path)
    const { attr } = await this.#fs.getattr(ctx, node, undefined)
    const type = attr.mode & S_IFMT
    const kind = type === S_IFDIR ? 'directory' : type === S_IFLNK ? 'link' : 'file'
    const plain = nodeOf(kind, attr.mode & 0o7777)
    tree.set(path, plain)
    for (const name of await this.#fs.listxattr(ctx, node))
      plain.xattrs.set(name, new TextDecoder().decode(await this.#fs.getxattr(ctx, node, name)))
    if (kind === 'link') {
      // Linux changes no link's mode.
      plain.mode = 0o777
      plain.content = await this.#fs.readlink(ctx, node)
    } else if (kind === 'file') {
      const { fh, openFlags } = await this.#fs.open(ctx, node, 0)
      const bytes = await new File(this.#fs, node, fh, openFlags).readAll()
      plain.content = Buffer.from(bytes).toString('latin1')
      await this.#fs.release(ctx, node, fh)
    } else {
      const names = await new Guest(this.#fs, undefined, false).names(path === '' ? '/' : path)
      for (const name of names) await this.#see(join(path, name), tree)
    }
  }

  /** Fails unless everything is as it must be, and what is open holds what it must. */
  async expectRight(): Promise<void> {
    expect(shown(await this.everything())).toEqual(shown(this.tree))
    for (const { node, fh, plain } of this.open) {
      const bytes = await new File(this.#fs, node, fh, 0).readAll()
      expect(Buffer.from(bytes).toString('latin1')).toBe(plain.content)
    }
  }
}

/** For what was not answered; nobody uses it. */
const NO_ANSWER = { nodeid: 0, entry: { nodeid: 0 }, open: { fh: 0 } }

/** One request. */
export interface Request {
  readonly words: string
  /** False if it would fail. */
  check(program: Program): boolean
  send(program: Program, ctx: RequestContext): Promise<unknown>
  /** What is true once it was answered. */
  done(program: Program, answer: unknown): void
}

const isPresent = ({ tree }: Program, path: string, ...kinds: PlainNode['kind'][]) =>
  kinds.includes(tree.get(path)?.kind as PlainNode['kind'])
const isFree = ({ tree }: Program, path: string) =>
  !tree.has(path) && tree.get(parentOf(path))?.kind === 'directory'
const isEmpty = ({ tree }: Program, path: string) => ![...tree.keys()].some(key => key.startsWith(`${path}/`))

export function create(path: string, mode: number): Request {
  return {
    words: `create ${path} ${mode.toString(8)}`,
    check: program => isFree(program, path) || isPresent(program, path, 'file'),
    send: async (program, ctx) =>
      program.fs.create(ctx, await program.walk(parentOf(path)), nameOf(path), mode, O_RDWR),
    done: (program, answer) => {
      const { entry, open } = answer as Awaited<ReturnType<OpendalFs['create']>>
      const plain = program.tree.get(path) ?? nodeOf('file', mode)
      program.tree.set(path, plain)
      program.open.push({ node: program.met(entry.nodeid as NodeId), fh: open.fh, plain })
    },
  }
}

export function mkdir(path: string, mode: number): Request {
  return {
    words: `mkdir ${path} ${mode.toString(8)}`,
    check: program => isFree(program, path),
    send: async (program, ctx) =>
      program.fs.mkdir(ctx, await program.walk(parentOf(path)), nameOf(path), mode),
    done: (program, answer) => {
      program.met((answer as { nodeid: NodeId }).nodeid)
      program.tree.set(path, nodeOf('directory', mode))
    },
  }
}

export function symlink(path: string, target: string): Request {
  return {
    words: `symlink ${path} to ${target}`,
    check: program => isFree(program, path),
    send: async (program, ctx) =>
      program.fs.symlink(ctx, await program.walk(parentOf(path)), nameOf(path), target),
    done: (program, answer) => {
      program.met((answer as { nodeid: NodeId }).nodeid)
      program.tree.set(path, { ...nodeOf('link', 0o777), content: target })
    },
  }
}

export function unlink(path: string): Request {
  return {
    words: `unlink ${path}`,
    check: program => isPresent(program, path, 'file', 'link'),
    send: async (program, ctx) => program.fs.unlink(ctx, await program.walk(parentOf(path)), nameOf(path)),
    done: ({ tree }) => tree.delete(path),
  }
}

export function rmdir(path: string): Request {
  return {
    words: `rmdir ${path}`,
    check: program => isPresent(program, path, 'directory') && isEmpty(program, path),
    send: async (program, ctx) => program.fs.rmdir(ctx, await program.walk(parentOf(path)), nameOf(path)),
    done: ({ tree }) => tree.delete(path),
  }
}

export function rename(from: string, to: string): Request {
  return {
    words: `rename ${from} to ${to}`,
    check: program => {
      const [source, target] = [program.tree.get(from), program.tree.get(to)]
      if (source === undefined || from === to || `${to}/`.startsWith(`${from}/`)) return false
      if (target === undefined) return isFree(program, to)
      const isDirectory = source.kind === 'directory'
      return isDirectory === (target.kind === 'directory') && (!isDirectory || isEmpty(program, to))
    },
    send: async (program, ctx) =>
      program.fs.rename(
        ctx,
        await program.walk(parentOf(from)),
        nameOf(from),
        await program.walk(parentOf(to)),
        nameOf(to),
        0,
      ),
    done: ({ tree }) => {
      for (const [path, node] of [...tree]) {
        if (path !== from && !path.startsWith(`${from}/`)) continue
        tree.delete(path)
        tree.set(to + path.slice(from.length), node)
      }
    },
  }
}

export function setattr(path: string, words: string, change: Partial<SetattrChange>): Request {
  return {
    words: `${words} ${path}`,
    check: program =>
      isPresent(program, path, 'file', ...(change.size === undefined ? ['directory' as const] : [])),
    send: async (program, ctx) => program.fs.setattr(ctx, await program.walk(path), change as SetattrChange),
    done: ({ tree }) => {
      const node = tree.get(path)!
      if (change.mode !== undefined) node.mode = change.mode
      if (change.size !== undefined)
        node.content = node.content.slice(0, change.size).padEnd(change.size, '\0')
    },
  }
}

export const chmod = (path: string, mode: number) => setattr(path, `chmod ${mode.toString(8)}`, { mode })
export const truncate = (path: string, size: number) => setattr(path, `truncate to ${size}`, { size })

export function setxattr(path: string, value: string): Request {
  return {
    words: `setxattr ${path} ${value}`,
    check: program => isPresent(program, path, 'file', 'directory'),
    send: async (program, ctx) =>
      program.fs.setxattr(ctx, await program.walk(path), 'user.x', new TextEncoder().encode(value), 0),
    done: ({ tree }) => tree.get(path)!.xattrs.set('user.x', value),
  }
}

export function fsyncdir(path: string): Request {
  return {
    words: `fsyncdir ${path}`,
    check: program => isPresent(program, path, 'directory'),
    send: async (program, ctx) => program.fs.fsyncdir(ctx, await program.walk(path)),
    done: () => undefined,
  }
}

/** Something with one of the open files; slots beyond them begin again at the first. */
function onOpen(
  words: string,
  slot: number,
  send: (fs: OpendalFs, ctx: RequestContext, open: Open) => unknown,
  done: (program: Program, open: Open, at: number) => void = () => undefined,
): Request {
  const at = ({ open }: Program) => slot % open.length
  return {
    words: `${words} handle ${slot}`,
    check: ({ open }) => open.length > 0,
    send: async (program, ctx) => send(program.fs, ctx, program.open[at(program)]!),
    done: program => done(program, program.open[at(program)]!, at(program)),
  }
}

export const write = (slot: number, offset: number, text: string) =>
  onOpen(
    `write ${JSON.stringify(text)} at ${offset} through`,
    slot,
    (fs, ctx, { node, fh }) => fs.write(ctx, node, fh, offset, requestData(Buffer.from(text))),
    (_, { plain }) => {
      const old = plain.content.padEnd(offset, '\0')
      plain.content = old.slice(0, offset) + text + old.slice(offset + text.length)
    },
  )

export const fsync = (slot: number) =>
  onOpen('fsync', slot, (fs, ctx, { node, fh }) => fs.fsync(ctx, node, fh))

export const flush = (slot: number) =>
  onOpen('flush', slot, (fs, ctx, { node, fh }) => fs.flush(ctx, node, fh))

export const release = (slot: number) =>
  onOpen(
    'release',
    slot,
    // Nobody is told how it ends.
    (fs, ctx, { node, fh }) => Promise.resolve(fs.release(ctx, node, fh)).catch(() => undefined),
    (program, _, at) => program.open.splice(at, 1),
  )

function nodeOf(kind: PlainNode['kind'], mode: number): PlainNode {
  return { kind, mode, content: '', xattrs: new Map() }
}

function shown(tree: PlainTree): Record<string, unknown> {
  const paths = [...tree.keys()].sort()
  return Object.fromEntries(
    paths.map(path => {
      const { kind, mode, content, xattrs } = tree.get(path)!
      return [path, `${kind} ${mode.toString(8)} ${JSON.stringify(content)} ${JSON.stringify([...xattrs])}`]
    }),
  )
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}/${name}`
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf('/')))
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
