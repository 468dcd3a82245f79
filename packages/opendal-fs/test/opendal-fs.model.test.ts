// Random operations on the file system and on a plain tree in memory: after each, both show the same.

import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { type File, Guest, O_RDWR } from './guest.ts'
import { keyValueService } from './key-value-services.ts'
import { SCHEMES, type Service, service } from './services.ts'

const RUNS = Number(process.env.OVFS_MODEL_RUNS ?? 60)
/** Each step looks at the whole tree, which takes requests there. */
const SLOWER: Readonly<Record<string, number>> = { s3: 10, sqlite: 6, redis: 6 }

/** What every file and directory has beside its bytes. */
class Attributes {
  mode: number
  owner = '0:0'
  /** Undefined if only the service knows it, or a write. */
  mtime: number | undefined
  readonly xattrs = new Map<string, string>()

  constructor(mode: number) {
    this.mode = mode
  }

  show(type: string): string {
    const xattrs = [...this.xattrs].sort().map(([name, value]) => `${name}=${value}`)
    return `${type} ${this.mode.toString(8)} ${this.owner} ${this.mtime ?? '-'} ${xattrs.join(' ')}`
  }
}

/** A symbolic link or pipe. */
class Special {
  readonly attributes = new Attributes(0o777)
  readonly target: string

  constructor(target: string) {
    this.target = target
  }
}

class Directory extends Map<string, Node> {
  readonly attributes = new Attributes(0o755)

  override set(name: string, node: Node): this {
    // Naming something anew changes nothing else than the time.
    if (this.get(name) !== node) this.attributes.mtime = undefined
    return super.set(name, node)
  }

  override delete(name: string): boolean {
    this.attributes.mtime = undefined
    return super.delete(name)
  }
}

/** A directory is a map, a file its bytes. Files are shared by path and by handle. */
class Plain {
  readonly attributes = new Attributes(0o644)
  bytes = new Uint8Array(0)

  resize(size: number): void {
    this.attributes.mtime = undefined
    const next = new Uint8Array(size)
    next.set(this.bytes.subarray(0, size))
    this.bytes = next
  }

  write(offset: number, data: Uint8Array): void {
    this.attributes.mtime = undefined
    if (offset + data.byteLength > this.bytes.byteLength) this.resize(offset + data.byteLength)
    this.bytes.set(data, offset)
  }
}
type Node = Plain | Special | Directory

class Model {
  root = new Directory()
  readonly open: { plain: Plain; file: File }[] = []

  find(path: string): Node | undefined {
    let node: Node | undefined = this.root
    for (const part of path.split('/')) node = node instanceof Directory ? node.get(part) : undefined
    return node
  }

  parent(path: string): [Directory | undefined, string] {
    const at = path.lastIndexOf('/')
    const parent = at < 0 ? this.root : this.find(path.slice(0, at))
    return [parent instanceof Directory ? parent : undefined, path.slice(at + 1)]
  }
}

interface Real {
  guest: Guest
}

type Command = fc.AsyncCommand<Model, Real>

/** Runs both and compares whether they succeed, with which errno. */
async function both(real: Promise<unknown>, model: () => string | undefined): Promise<boolean> {
  const wanted = model()
  let got: string | undefined
  try {
    await real
  } catch (error) {
    got = (error as { code?: string }).code ?? String(error)
  }
  expect(got).toBe(wanted)
  return wanted === undefined
}

function command(text: string, run: (model: Model, real: Real) => Promise<void>): Command {
  return {
    check: () => true,
    run: async (model, real) => {
      await run(model, real)
      expect(await tree(real.guest, '')).toEqual(plainTree(model.root))
    },
    toString: () => text,
  }
}

async function tree(guest: Guest, path: string): Promise<Record<string, unknown>> {
  const shown: Record<string, unknown> = {}
  for (const { name, type } of await guest.readdir(path === '' ? '/' : path, { plus: true, capacity: 3 })) {
    expect(shown).not.toHaveProperty([name])
    const below = path === '' ? name : `${path}/${name}`
    shown[name] = [await attributes(guest, below), await content(guest, below, type)]
  }
  return shown
}

async function content(guest: Guest, path: string, type: number): Promise<unknown> {
  if (type === 4) return tree(guest, path)
  if (type === 10) return guest.readlink(path)
  return Buffer.from(await guest.get(path)).toString('latin1')
}

async function attributes(guest: Guest, path: string): Promise<string> {
  const { mode, uid, gid, mtime } = await guest.stat(path)
  const plain = new Attributes(mode & 0o7777)
  plain.owner = `${uid}:${gid}`
  // Times of the model's own are long past.
  plain.mtime = mtime < 1_000_000 ? mtime : undefined
  for (const name of await guest.listxattr(path)) plain.xattrs.set(name, await guest.getxattr(path, name))
  return plain.show((mode >> 12).toString(8))
}

function plainTree(node: Directory): Record<string, unknown> {
  const entries = [...node].map(([name, child]) => {
    const { attributes } = child
    if (child instanceof Directory) return [name, [attributes.show('4'), plainTree(child)]]
    if (child instanceof Special) return [name, [attributes.show('12'), child.target]]
    return [name, [attributes.show('10'), Buffer.from(child.bytes).toString('latin1')]]
  })
  return Object.fromEntries(entries)
}

const name = fc.constantFrom('a', 'b', 'c ')
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map(parts => parts.join('/'))
const offset = fc.nat({ max: 40 })
const data = fc.uint8Array({ minLength: 1, maxLength: 20 })
const slot = fc.nat({ max: 3 })

const commands = [
  fc.tuple(path, data).map(([path, data]) =>
    command(`put ${path} ${data.length}`, async (model, { guest }) => {
      await both(guest.put(path, data), () => {
        const [parent, name] = model.parent(path)
        if (parent === undefined) return missing(model, path)
        const present = parent.get(name)
        if (present instanceof Directory) return 'EISDIR'
        if (present instanceof Special) return 'ENXIO'
        const plain = present ?? new Plain()
        parent.set(name, plain)
        plain.resize(0)
        plain.write(0, data)
        return undefined
      })
    }),
  ),
  fc.tuple(path).map(([path]) =>
    command(`create ${path}, stay open`, async (model, { guest }) => {
      const [parent, name] = model.parent(path)
      const present = parent?.get(name)
      if (parent === undefined || model.open.length > 3) return
      if (present !== undefined && !(present instanceof Plain)) return
      const plain = present ?? new Plain()
      parent.set(name, plain)
      model.open.push({ plain, file: await guest.create(path, O_RDWR) })
    }),
  ),
  fc.tuple(slot, offset, data).map(([slot, offset, data]) =>
    command(`write handle ${slot} ${offset}+${data.length}`, async model => {
      const open = model.open[slot]
      if (open === undefined) return
      await open.file.write(offset, data)
      open.plain.write(offset, data)
    }),
  ),
  fc.tuple(slot).map(([slot]) =>
    command(`read handle ${slot}`, async model => {
      const open = model.open[slot]
      if (open !== undefined) expect(await open.file.readAll()).toEqual(open.plain.bytes)
    }),
  ),
  fc.tuple(slot, offset).map(([slot, size]) =>
    command(`truncate handle ${slot} ${size}`, async model => {
      const open = model.open[slot]
      if (open === undefined) return
      await open.file.truncate(size)
      open.plain.resize(size)
    }),
  ),
  fc
    .tuple(slot)
    .map(([slot]) => command(`fsync handle ${slot}`, async model => model.open[slot]?.file.fsync())),
  fc.tuple(slot).map(([slot]) =>
    command(`close handle ${slot}`, async model => {
      for (const open of model.open.splice(slot, 1)) await open.file.close()
    }),
  ),
  fc.tuple(path, offset).map(([path, size]) =>
    command(`truncate ${path} ${size}`, async (model, { guest }) => {
      await both(guest.truncate(path, size), () => {
        const node = model.find(path)
        if (node === undefined) return missing(model, path)
        if (node instanceof Directory) return 'EISDIR'
        if (node instanceof Special) return 'EINVAL'
        node.resize(size)
        return undefined
      })
    }),
  ),
  fc.tuple(path).map(([path]) =>
    command(`mkdir ${path}`, async (model, { guest }) => {
      await both(guest.mkdir(path), () => {
        const [parent, name] = model.parent(path)
        if (parent === undefined) return missing(model, path)
        if (parent.has(name)) return 'EEXIST'
        parent.set(name, new Directory())
        return undefined
      })
    }),
  ),
  fc.tuple(path).map(([path]) =>
    command(`unlink ${path}`, async (model, { guest }) => {
      await both(guest.unlink(path), () => {
        const [parent, name] = model.parent(path)
        if (parent === undefined) return missing(model, path)
        const node = parent.get(name)
        if (node === undefined) return 'ENOENT'
        if (node instanceof Directory) return 'EISDIR'
        parent.delete(name)
        return undefined
      })
    }),
  ),
  fc.tuple(path).map(([path]) =>
    command(`rmdir ${path}`, async (model, { guest }) => {
      await both(guest.rmdir(path), () => {
        const [parent, name] = model.parent(path)
        if (parent === undefined) return missing(model, path)
        const node = parent.get(name)
        if (node === undefined) return 'ENOENT'
        if (!(node instanceof Directory)) return 'ENOTDIR'
        if (node.size > 0) return 'ENOTEMPTY'
        parent.delete(name)
        return undefined
      })
    }),
  ),
  fc.tuple(path, path, fc.constantFrom(0, 0, 0, 1)).map(([from, to, flags]) =>
    command(`rename ${from} ${to} ${flags}`, async (model, { guest }) => {
      await both(guest.rename(from, to, flags), () => renamePlain(model, from, to, flags))
    }),
  ),
  fc.tuple(path, fc.constantFrom(0o600, 0o4755, 0o644)).map(([path, mode]) =>
    change(
      `chmod ${path} ${mode.toString(8)}`,
      path,
      async guest => guest.setattr(path, { mode }),
      node => {
        node.attributes.mode = mode
        return undefined
      },
    ),
  ),
  fc.tuple(path, fc.nat({ max: 2 })).map(([path, id]) =>
    change(
      `chown ${path} ${id}`,
      path,
      async guest => guest.setattr(path, { uid: id, gid: id }),
      node => {
        node.attributes.owner = `${id}:${id}`
        if (!(node instanceof Directory)) node.attributes.mode &= ~0o4000
        return undefined
      },
    ),
  ),
  fc.tuple(path, fc.nat({ max: 99_999 })).map(([path, sec]) =>
    change(
      `utimens ${path} ${sec}`,
      path,
      async guest => guest.setattr(path, { mtime: { sec, nsec: 1 }, atime: 'now' }),
      node => {
        node.attributes.mtime = sec
        return undefined
      },
    ),
  ),
  fc.tuple(path, fc.constantFrom('user.a', 'user.b'), name).map(([path, xattr, value]) =>
    change(
      `setxattr ${path} ${xattr}`,
      path,
      async guest => guest.setxattr(path, xattr, value),
      node => {
        node.attributes.xattrs.set(xattr, value)
        return undefined
      },
    ),
  ),
  fc.tuple(path, fc.constantFrom('user.a', 'user.b')).map(([path, xattr]) =>
    change(
      `removexattr ${path} ${xattr}`,
      path,
      async guest => guest.removexattr(path, xattr),
      node => (node.attributes.xattrs.delete(xattr) ? undefined : 'ENODATA'),
    ),
  ),
  fc.tuple(path, name).map(([path, target]) =>
    command(`symlink ${path}`, async (model, { guest }) => {
      await both(guest.symlink(path, target), () => {
        const [parent, name] = model.parent(path)
        if (parent === undefined) return missing(model, path)
        if (parent.has(name)) return 'EEXIST'
        parent.set(name, new Special(target))
        return undefined
      })
    }),
  ),
  fc.constant(
    command('look again from a fresh file system', async (model, real) => {
      if (model.open.length > 0) return
      await real.guest.fs.close()
      real.guest = real.guest.again()
    }),
  ),
]

/** A command on whatever a path leads to. */
function change(
  text: string,
  path: string,
  real: (guest: Guest) => Promise<unknown>,
  model: (node: Node) => string | undefined,
): Command {
  return command(text, async (tree, { guest }) => {
    await both(real(guest), () => {
      const node = tree.find(path)
      return node === undefined ? missing(tree, path) : model(node)
    })
  })
}

function renamePlain(model: Model, from: string, to: string, flags: number): string | undefined {
  const [parent, name] = model.parent(from)
  if (parent === undefined) return missing(model, from)
  const [newParent, newName] = model.parent(to)
  if (newParent === undefined) return missing(model, to)
  const node = parent.get(name)
  const target = newParent.get(newName)
  if (node === undefined) return 'ENOENT'
  if (node instanceof Directory && `${to}/`.startsWith(`${from}/`) && from !== to) return 'EINVAL'
  if (target !== undefined && flags === 1) return 'EEXIST'
  if (target === node) return undefined
  if (target !== undefined) {
    if (node instanceof Directory && !(target instanceof Directory)) return 'ENOTDIR'
    if (!(node instanceof Directory) && target instanceof Directory) return 'EISDIR'
    if (target instanceof Directory && target.size > 0) return 'ENOTEMPTY'
  }
  parent.delete(name)
  newParent.set(newName, node)
  return undefined
}

/** What the walk to a path fails with: a file on the way, or nothing. */
function missing(model: Model, path: string): string {
  const parts = path.split('/')
  for (let i = 1; i < parts.length; i++) {
    const node = model.find(parts.slice(0, i).join('/'))
    if (node === undefined) return 'ENOENT'
    if (!(node instanceof Directory)) return 'ENOTDIR'
  }
  return 'ENOENT'
}

describe.each([...SCHEMES, 'sqlite', 'redis'] as const)('on %s', scheme => {
  const services = new Set<Service>()
  afterAll(async () => {
    for (const each of services) await each.close()
  })

  it.each([
    ['with a memory of what it saw', 1000],
    ['that asks every time', 0],
  ])(
    'behaves as a plain tree, %s',
    async (_, ttl) => {
      const options = { scheme, attrTtlMs: ttl, entryTtlMs: ttl, negativeTtlMs: ttl, cacheBytes: 8 << 20 }
      await fc.assert(
        fc.asyncProperty(fc.commands(commands, { maxCommands: 40, size: 'max' }), async sequence => {
          const storage =
            scheme === 'sqlite' || scheme === 'redis' ? await keyValueService(scheme) : await service(scheme)
          services.add(storage)
          const real: Real = { guest: new Guest(new OpendalFs(storage.operator, options)) }
          real.guest.again = () => new Guest(new OpendalFs(storage.operator, options), real.guest.again)
          const model = new Model()
          await fc.asyncModelRun(() => ({ model, real }), sequence)
          for (const { file } of model.open) await file.close()
          await real.guest.fs.close()
          const fresh = new Guest(new OpendalFs(storage.operator, options))
          expect(await tree(fresh, '')).toEqual(plainTree(model.root))
          services.delete(storage)
          await storage.close()
        }),
        { numRuns: Math.ceil(RUNS / (SLOWER[scheme] ?? 1)) },
      )
    },
    120_000,
  )
})
