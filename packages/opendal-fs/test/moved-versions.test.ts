// Renames where a copy of an object has another etag than the object: Azure Blob, and S3 for objects that were uploaded in parts.
// What a sidecar keeps for one version must hold for the copy, and the copy must not be taken for another client's object.

import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { Operator } from '../src/storage/binding.ts'
import { CrashRig } from './crash-rig.ts'
import { ctx, File, Guest, O_RDONLY, O_RDWR } from './guest.ts'
import { PlainS3 } from './plain-s3.ts'
import { SessionRig } from './session-rig.ts'

const SIDECAR = /\.ovfs-attributes$/

let s3: PlainS3
let open: OpendalFs[]

beforeEach(async () => {
  s3 = await PlainS3.start()
  s3.copiesAreNew = true
  open = []
})
afterEach(async () => {
  for (const fs of open) await fs.close()
  await s3.close()
})

function start(): Guest {
  const fs = new OpendalFs(new Operator('s3', s3.options), { scheme: 's3', attrs: 'sidecar' })
  open.push(fs)
  return new Guest(fs)
}

async function setTimes(guest: Guest, path: string, sec: number): Promise<void> {
  await guest.setattr(path, { mtime: { sec, nsec: 5 }, atime: { sec: sec + 1, nsec: 6 } })
}

async function makeTree(guest: Guest): Promise<void> {
  await guest.mkdir('d')
  await guest.mkdir('d/s')
  for (const [n, path] of PATHS.entries()) {
    await guest.put(`d/${path}`, `content of ${path}`)
    await setTimes(guest, `d/${path}`, 1000 + 10 * n)
  }
}

const PATHS = ['a', 'b', 's/c', 's/d']

async function times(guest: Guest, directory: string): Promise<number[][]> {
  const found: number[][] = []
  for (const path of PATHS) {
    const { mtime, mtimensec, atime, atimensec } = await guest.stat(`${directory}/${path}`)
    found.push([mtime, mtimensec, atime, atimensec])
  }
  return found
}

const EXPECTED = PATHS.map((_, n) => [1000 + 10 * n, 5, 1001 + 10 * n, 6])

describe.each([
  { state: 'stored', stores: true },
  { state: 'not stored yet', stores: false },
])('attributes that are $state', ({ stores }) => {
  it('a directory rename keeps the times of its files, in this daemon and in the next', async () => {
    const guest = start()
    await makeTree(guest)
    if (stores) await guest.fs.syncfs()
    await guest.rename('d', 'e')
    expect(await times(guest, 'e')).toEqual(EXPECTED)
    await guest.fs.syncfs()
    expect(await times(start(), 'e')).toEqual(EXPECTED)
  })

  it('a rename of each file keeps its times, in this daemon and in the next', async () => {
    const guest = start()
    await makeTree(guest)
    if (stores) await guest.fs.syncfs()
    await guest.mkdir('e')
    await guest.mkdir('e/s')
    for (const path of PATHS) await guest.rename(`d/${path}`, `e/${path}`)
    expect(await times(guest, 'e')).toEqual(EXPECTED)
    await guest.fs.syncfs()
    expect(await times(start(), 'e')).toEqual(EXPECTED)
  })
})

it('a directory rename keeps the times of files that this daemon has never looked up', async () => {
  const first = start()
  await makeTree(first)
  await first.fs.syncfs()
  const guest = start()
  await guest.rename('d', 'e')
  expect(await times(guest, 'e')).toEqual(EXPECTED)
  expect(await times(start(), 'e')).toEqual(EXPECTED)
})

it.each([
  { readers: 'with warm listings', warm: true },
  { readers: 'with cold listings', warm: false },
])('files below a renamed directory are read $readers, by old handles and new ones', async ({ warm }) => {
  const guest = start()
  await makeTree(guest)
  await guest.fs.syncfs()
  const reader = warm ? guest : start()
  const held = await Promise.all(PATHS.map(path => reader.open(`d/${path}`)))
  if (warm) {
    await reader.readdir('d')
    await reader.readdir('d/s', { plus: true })
  }
  // Two of them have been read, and two have not.
  for (const file of held.slice(1, 3)) await file.readAll()
  await reader.rename('d', 'e')
  for (const path of PATHS) expect(await reader.text(`e/${path}`)).toBe(`content of ${path}`)
  for (const [n, path] of PATHS.entries())
    expect(String(Buffer.from(await held[n]!.readAll()))).toBe(`content of ${path}`)
  for (const file of held) await file.close()
})

it('a file is opened at any request of the rename of its directory, and is never taken for removed', async () => {
  const guest = start()
  await makeTree(guest)
  await guest.fs.syncfs()
  const nodes = await Promise.all(PATHS.map(path => guest.node(`d/${path}`)))
  let looks = 0
  s3.before = async ({ method, key, copyOf }) => {
    if (method !== 'DELETE' && copyOf === undefined) return
    if (SIDECAR.test(key)) return
    // An open right after an earlier look does not look again.
    await sleep(60)
    for (const node of nodes) {
      const { fh } = await guest.fs.open(ctx, node, O_RDONLY)
      await guest.fs.release(ctx, node, fh)
      looks++
    }
  }
  await guest.rename('d', 'e')
  s3.before = () => undefined
  expect(looks).toBeGreaterThan(2 * PATHS.length)
  for (const path of PATHS) expect(await guest.text(`e/${path}`)).toBe(`content of ${path}`)
  expect(await times(guest, 'e')).toEqual(EXPECTED)
})

it.each([
  { what: 'its directory', from: 'd', to: 'e', place: 'e/a' },
  { what: 'the file itself', from: 'd/a', to: 'd/z', place: 'd/z' },
])('a file that has replaced another is published after a rename of $what', async ({ from, to, place }) => {
  const guest = start()
  await makeTree(guest)
  const file = await guest.create('d/new')
  await file.write(0, 'new content')
  await guest.rename('d/new', 'd/a')
  await guest.rename(from, to)
  await file.close()
  expect(await guest.text(place)).toBe('new content')
})

it('a listing from before a rename gives no versions after it', async () => {
  const first = start()
  await makeTree(first)
  await first.fs.syncfs()
  const guest = start()
  await guest.readdir('d')
  await guest.readdir('d/s')
  await guest.rename('d', 'e')
  s3.requests = []
  const held = await Promise.all(PATHS.map(path => guest.open(`e/${path}`)))
  for (const [n, path] of PATHS.entries())
    expect(String(Buffer.from(await held[n]!.readAll()))).toBe(`content of ${path}`)
  // Each with one request: none is refused for an old etag.
  expect(s3.requests.filter(request => request.startsWith('GET e/') && !SIDECAR.test(request))).toHaveLength(
    PATHS.length,
  )
})

describe('after a kill', () => {
  it.each([
    { what: 'a directory', from: 'd', to: 'e' },
    { what: 'a file', from: 'd/a', to: 'e' },
  ])(
    'at any step of the rename of $what, and again in the replay, all times are kept',
    async ({ from, to }) => {
      for (let steps = 0; ; steps++) {
        s3.objects.clear()
        const rig = new CrashRig('s3', new Operator('s3', s3.options), { attrs: 'sidecar' })
        await rig.start()
        const { guest } = rig
        await makeTree(guest)
        await guest.fs.syncfs()
        const frozen = rig.freezeAfter(steps).then(() => 'killed' as const)
        const renaming = guest.rename(from, to).then(() => 'done' as const)
        renaming.catch(() => undefined)
        const outcome = await Promise.race([frozen, renaming])
        await rig.kill()
        await rig.faults.idle()
        if (outcome === 'killed') {
          const replay = rig.start(steps)
          replay.catch(() => undefined)
          await Promise.race([replay, vi.waitUntil(() => rig.isFrozen, { timeout: 20_000, interval: 5 })])
          await rig.kill()
          await rig.faults.idle()
        }
        const again = await rig.start()
        for (const [n, path] of PATHS.entries()) {
          const places = [`d/${path}`, `d/${path}`.replace(from, to)]
          const place = (await again.exists(places[0]!)) ? places[0]! : places[1]!
          const { mtime, atime } = await again.stat(place)
          expect([steps, place, mtime, atime]).toEqual([steps, place, 1000 + 10 * n, 1001 + 10 * n])
        }
        expect(rig.report?.conflicts).toEqual([])
        await rig.close()
        rig.remove()
        if (outcome === 'done') break
      }
    },
  )
})

it('a file with unpublished changes is published after a kill at any step of the rename of its directory', async () => {
  for (let steps = 0; ; steps++) {
    s3.objects.clear()
    const rig = new SessionRig('s3', new Operator('s3', s3.options), { attrs: 'sidecar' })
    const guest = await rig.start()
    await guest.mkdir('d')
    await guest.put('d/a', 'older content')
    await guest.fs.syncfs()
    const { node, fh, openFlags } = await guest.open('d/a', O_RDWR)
    await new File(guest.fs, node, fh, openFlags).write(0, 'newer')
    const frozen = rig.freezeAfter(steps, false).then(() => 'killed' as const)
    const renaming = guest.rename('d', 'e').then(() => 'done' as const)
    renaming.catch(() => undefined)
    const outcome = await Promise.race([frozen, renaming])
    const again = await rig.restart()
    await new File(again.fs, node, fh, openFlags).close()
    const place = (await again.exists('e/a')) ? 'e/a' : 'd/a'
    expect([steps, await again.text(place)]).toEqual([steps, 'newer content'])
    await rig.close()
    rig.remove()
    if (outcome === 'done') break
  }
})
