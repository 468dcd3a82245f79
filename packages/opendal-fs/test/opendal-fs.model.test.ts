// Random operations on the file system and on a plain tree in memory: after each, both show the same.

import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { type File, Guest, O_RDWR } from './guest.ts'
import { SCHEMES, type Service, service } from './services.ts'

const RUNS = Number(process.env.OVFS_MODEL_RUNS ?? 60)
/** Each step looks at the whole tree, which takes requests there. */
const SLOWER: Readonly<Record<string, number>> = { s3: 10 }

/** A directory is a map, a file its bytes. Files are shared by path and by handle. */
class Plain {
  bytes = new Uint8Array(0)

  resize(size: number): void {
    const next = new Uint8Array(size)
    next.set(this.bytes.subarray(0, size))
    this.bytes = next
  }

  write(offset: number, data: Uint8Array): void {
    if (offset + data.byteLength > this.bytes.byteLength) this.resize(offset + data.byteLength)
    this.bytes.set(data, offset)
  }
}
type Node = Plain | Map<string, Node>

class Model {
  root: Map<string, Node> = new Map()
  readonly open: { plain: Plain; file: File }[] = []

  find(path: string): Node | undefined {
    let node: Node | undefined = this.root
    for (const part of path.split('/')) node = node instanceof Map ? node.get(part) : undefined
    return node
  }

  parent(path: string): [Map<string, Node> | undefined, string] {
    const at = path.lastIndexOf('/')
    const parent = at < 0 ? this.root : this.find(path.slice(0, at))
    return [parent instanceof Map ? parent : undefined, path.slice(at + 1)]
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
    shown[name] =
      type === 4 ? await tree(guest, below) : Buffer.from(await guest.get(below)).toString('latin1')
  }
  return shown
}

function plainTree(node: Map<string, Node>): Record<string, unknown> {
  const entries = [...node].map(([name, child]) => [
    name,
    child instanceof Map ? plainTree(child) : Buffer.from(child.bytes).toString('latin1'),
  ])
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
        if (present instanceof Map) return 'EISDIR'
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
      if (parent === undefined || present instanceof Map || model.open.length > 3) return
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
        if (node instanceof Map) return 'EISDIR'
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
        parent.set(name, new Map())
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
        if (node instanceof Map) return 'EISDIR'
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
        if (!(node instanceof Map)) return 'ENOTDIR'
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
  fc.constant(
    command('look again from a fresh file system', async (model, real) => {
      if (model.open.length > 0) return
      await real.guest.fs.close()
      real.guest = real.guest.again()
    }),
  ),
]

function renamePlain(model: Model, from: string, to: string, flags: number): string | undefined {
  const [parent, name] = model.parent(from)
  if (parent === undefined) return missing(model, from)
  const [newParent, newName] = model.parent(to)
  if (newParent === undefined) return missing(model, to)
  const node = parent.get(name)
  const target = newParent.get(newName)
  if (node === undefined) return 'ENOENT'
  if (node instanceof Map && `${to}/`.startsWith(`${from}/`) && from !== to) return 'EINVAL'
  if (target !== undefined && flags === 1) return 'EEXIST'
  if (target === node) return undefined
  if (target !== undefined) {
    if (node instanceof Map && !(target instanceof Map)) return 'ENOTDIR'
    if (!(node instanceof Map) && target instanceof Map) return 'EISDIR'
    if (target instanceof Map && target.size > 0) return 'ENOTEMPTY'
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
    if (!(node instanceof Map)) return 'ENOTDIR'
  }
  return 'ENOENT'
}

describe.each(SCHEMES)('on %s', scheme => {
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
          const storage = await service(scheme)
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
