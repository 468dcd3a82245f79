// A log whose entries are whole and say what no file system has written, and staged bytes that somebody has taken away. The next
// file system refuses the session, or goes on with it: it neither dies nor hangs, and touches nothing outside of its root.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type FileHandle, FsError, type NodeId, type SessionEntry, SessionLog } from '@ovfs/fuse-proto'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { MemoryFolder } from '../../fuse-proto/test/memory-folder.ts'
import { Kind } from '../src/session/log-entries.ts'
import { Operator } from '../src/storage/binding.ts'
import { ctx, Dirents, File, O_RDWR, Reply } from './guest.ts'
import { SessionRig } from './session-rig.ts'

const PAGES = 64 << 10
let outer: string
let staging: string
let rig: SessionRig
let outside: Operator

beforeEach(() => {
  outer = mkdtempSync(join(tmpdir(), 'ovfs-outer-'))
  mkdirSync(join(outer, 'share'))
  writeFileSync(join(outer, 'beside'), 'nobody touches this')
  outside = new Operator('fs', { root: join(outer, 'share') })
  staging = mkdtempSync(join(tmpdir(), 'ovfs-staging-'))
  rig = new SessionRig('fs', new Operator('fs', { root: join(outer, 'share') }), {
    // Room for a few pages, and then for files in the folder of the session.
    cacheBytes: 16 * PAGES,
    stagingDir: staging,
  })
})
afterEach(() => {
  rig.remove()
  for (const path of [outer, staging]) rmSync(path, { recursive: true, force: true })
})

/** A session that has entries of nearly every kind. */
async function wholeSession(): Promise<void> {
  const guest = await rig.start()
  await guest.mkdir('d')
  for (const name of ['a', 'b', 'c']) await guest.put(`d/${name}`, name)
  const written = await guest.open('d/a', O_RDWR)
  await written.write(3, 'unpublished')
  const published = await guest.create('published')
  await published.write(0, 'all of it')
  await published.fsync()
  await published.write(2, 'more')
  const large = await guest.create('large')
  for (let at = 0; at < 8 * PAGES; at += PAGES) await large.write(at, new Uint8Array(PAGES).fill(7))
  await large.truncate(PAGES)
  const removed = await guest.open('d/b', O_RDWR)
  await removed.write(0, 'removed')
  await guest.unlink('d/b')
  await guest.setattr('d/c', { mode: 0o600 })
  await guest.symlink('link', 'd/c')
  const directory = await guest.node('d')
  const { fh } = await rig.fs.opendir(ctx, directory)
  await rig.fs.readdir(ctx, directory, fh, 0, new Dirents(1))
  const second = await guest.open('d/c')
  await second.close()
}

const entriesOf = (folder: MemoryFolder): readonly SessionEntry[] =>
  new SessionLog({ folder: folder.copy(), identity: 'same', onError: () => undefined }).earlier

/** As an earlier process would have left it that had written these entries. */
function withEntries(folder: MemoryFolder, entries: readonly SessionEntry[]): MemoryFolder {
  const other = folder.copy()
  other.remove('session')
  const log = new SessionLog({ folder: other, identity: 'same', onError: () => undefined })
  log.addWriter(() => {
    for (const { kind, value, first, second } of entries) log.append(kind, value, first, second)
  })
  log.begin()
  return other
}

const GARBAGE: readonly unknown[] = [
  ...[0, 1, 2, 7, -1, 0.5, 4096, 2 ** 31, 2 ** 40, 2 ** 53 - 1, 2 ** 53, 1e300, -(2 ** 31)],
  ...[
    '',
    '.',
    '..',
    '../../beside',
    '../beside',
    'a/b',
    '\0',
    '/etc/passwd',
    'x'.repeat(5000),
    'done',
    'ovfs-../../x',
  ],
  ...[null, true, false, [], {}, [[0, 1]], [[5, 1]], [[0, 2 ** 52]]],
]

/** The value with one of its parts, or all of it, replaced. */
function damaged(value: unknown, where: number, garbage: unknown): unknown {
  const paths: (readonly (string | number)[])[] = [[]]
  const walk = (part: unknown, path: readonly (string | number)[]) => {
    if (typeof part !== 'object' || part === null) return
    for (const [key, inner] of Object.entries(part)) {
      paths.push([...path, key])
      walk(inner, [...path, key])
    }
  }
  walk(value, [])
  const path = paths[where % paths.length]!
  if (path.length === 0) return garbage
  const copy = structuredClone(value) as Record<string | number, unknown>
  let part = copy
  for (const key of path.slice(0, -1)) part = part[key] as typeof copy
  part[path.at(-1)!] = garbage
  return copy
}

/** Asks for everything that there may be. Returns what was neither an answer nor an errno. */
async function askEverything(entries: readonly SessionEntry[]): Promise<unknown[]> {
  const faults: unknown[] = []
  const ask = async (question: () => unknown) => {
    try {
      await question()
    } catch (error) {
      if (!(error instanceof FsError)) faults.push(error)
    }
  }
  const nodes = [
    1,
    ...entries.filter(({ kind }) => kind === Kind.NODE).map(({ value }) => (value as { id: number }).id),
  ]
  const handles = entries.flatMap(({ kind, value }) =>
    kind === Kind.FILE || kind === Kind.DIRECTORY ? [value as { fh: number; node: number }] : [],
  )
  for (const id of nodes) {
    const node = id as NodeId
    await ask(() => rig.fs.getattr(ctx, node, undefined))
    for (const name of ['a', 'c', 'd', 'published', 'large']) await ask(() => rig.fs.lookup(ctx, node, name))
    await ask(() => rig.fs.mkdir(ctx, node, 'new', 0o755))
    await ask(() => rig.fs.readlink(ctx, node))
  }
  for (const { fh, node } of handles) {
    const file = new File(rig.fs, node as NodeId, fh as FileHandle, 0)
    await ask(() => rig.fs.read(ctx, node as NodeId, fh as FileHandle, 0, PAGES, new Reply(PAGES)))
    await ask(() => file.write(1, 'again'))
    await ask(() => file.fsync())
    await ask(() => rig.fs.readdir(ctx, node as NodeId, fh as FileHandle, 0, new Dirents(100)))
    await ask(() => file.close())
  }
  await ask(() => rig.fs.syncfs())
  return faults
}

const RUNS = Number(process.env.OVFS_DAMAGES ?? 60)

it('an entry of any kind that says anything', { timeout: 60_000 + 1000 * RUNS }, async () => {
  await wholeSession()
  await rig.kill()
  const whole = rig.memory
  const entries = entriesOf(whole)
  const kinds = new Set(entries.map(({ kind }) => kind))
  expect(kinds.size).toBeGreaterThanOrEqual(10)
  const outcomes = { refused: 0, resumed: 0 }
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...kinds),
      fc.nat(1000),
      fc.nat(1000),
      fc.constantFrom(...GARBAGE),
      fc.constantFrom('value', 'value', 'value', 'first', 'second', 'kind', 'missing', 'twice'),
      async (kind, which, where, garbage, what) => {
        const of = entries.flatMap((entry, index) => (entry.kind === kind ? [index] : []))
        const at = of[which % of.length]!
        const entry = entries[at]!
        const number = typeof garbage === 'number' ? garbage : Number.NaN
        const changed: Record<typeof what, readonly SessionEntry[]> = {
          value: [{ ...entry, value: damaged(entry.value, where, garbage) }],
          first: [{ ...entry, first: number }],
          second: [{ ...entry, second: number }],
          kind: [{ ...entry, kind: 16 + (which % 16) }],
          missing: [],
          twice: [entry, entry],
        }
        const all = [...entries.slice(0, at), ...changed[what], ...entries.slice(at + 1)]
        rig.memory = withEntries(whole, all)
        try {
          await rig.start()
        } catch (error) {
          await rig.kill()
          expect(error).toMatchObject({ name: 'StateError', reason: 'DAMAGED' })
          outcomes.refused++
          return
        }
        const faults = await askEverything(all)
        await rig.close()
        outcomes.resumed++
        expect(faults).toEqual([])
        expect(readdirSync(outer).sort()).toEqual(['beside', 'share'])
        expect(readFileSync(join(outer, 'beside'), 'utf8')).toBe('nobody touches this')
      },
    ),
    { numRuns: RUNS },
  )
  expect(outcomes.refused).toBeGreaterThan(0)
  expect(outcomes.resumed).toBeGreaterThan(0)
})

describe('staged bytes that somebody takes away', () => {
  it('are EIO to who reads or syncs them, are not published, and are told of once', async () => {
    const guest = await rig.start()
    await guest.put('lost', 'published before')
    const lost = await guest.open('lost', O_RDWR)
    await lost.write(0, 'UNPUBLISHED')
    rig.memory.shorten('pages-0')
    await expect(lost.readAll()).rejects.toMatchObject({ code: 'EIO' })
    await expect(lost.fsync()).rejects.toMatchObject({ code: 'EIO' })
    await expect(lost.write(3, 'more')).rejects.toMatchObject({ code: 'EIO' })
    expect((await outside.read('lost')).toString()).toBe('published before')
    expect(rig.errors.map(({ message }) => message)).toEqual([expect.stringMatching(/lost.*pages-0/)])
    // What is written anew lies elsewhere.
    const other = await guest.create('other')
    await other.write(0, 'kept')
    await other.fsync()
    expect((await outside.read('other')).toString()).toBe('kept')
    await lost.truncate(0)
    await lost.write(0, 'new')
    await lost.fsync()
    expect((await outside.read('lost')).toString()).toBe('new')
    await rig.close()
  })

  it('are no reason to publish zeros when too many pages are moved to a file', async () => {
    const guest = await rig.start()
    const lost = await guest.create('lost')
    await lost.write(0, 'UNPUBLISHED')
    rig.memory.shorten('pages-0')
    for (let at = PAGES; at < 8 * PAGES; at += PAGES)
      await lost.write(at, new Uint8Array(PAGES)).catch(() => undefined)
    await expect(lost.fsync()).rejects.toMatchObject({ code: 'EIO' })
    expect(await outside.exists('lost').catch(() => false)).toBe(false)
    await rig.kill()
  })

  it('in a file of which the end was cut off are EIO, and told of', async () => {
    const guest = await rig.start()
    const large = await guest.create('large')
    for (let at = 0; at < 8 * PAGES; at += PAGES) await large.write(at, new Uint8Array(PAGES).fill(7))
    const [name] = readdirSync(staging)
    writeFileSync(join(staging, name!), '')
    await expect(large.fsync()).rejects.toMatchObject({ code: 'EIO' })
    expect(rig.errors.map(({ message }) => message)).toEqual([expect.stringMatching(/lost.*ovfs-/)])
    await rig.kill()
    // And the next file system does not take it for a file of zeros.
    rmSync(join(staging, name!))
    await expect(rig.start()).rejects.toMatchObject({ reason: 'DAMAGED' })
    await rig.kill()
  })
})
