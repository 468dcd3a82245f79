import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FATTR_MTIME, FATTR_SIZE, FsError, FuseClient, FuseServer } from '../src/index.ts'
import { memoryTransport } from './memory-transport.ts'
import { TreeHandler } from './tree-handler.ts'

const NAME = 'näme \udcff💾'

async function errnoOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'success',
    error => (error instanceof FsError ? error.code : Promise.reject(error)),
  )
}

/** A session of a guest that works with files; `size` bytes of data in one of them. */
async function walk(client: FuseClient, tree: TreeHandler, size: number): Promise<void> {
  const negotiated = await client.init()
  expect(negotiated.maxWrite).toBe(65536)
  const directory = await client.mkdir(1, 'd')
  const { entry, open } = await client.create(directory.nodeid, NAME)
  const file = entry.nodeid
  const data = Uint8Array.from({ length: size }, (_, i) => (i * 7) % 256)
  expect(await client.write(file, open.fh, 10, data)).toBe(size)
  expect(await client.read(file, open.fh, 0, size + 20)).toEqual(
    Uint8Array.from([...new Array(10).fill(0), ...data]),
  )
  expect(await client.read(file, open.fh, size, 7)).toEqual(
    Uint8Array.from([...new Array(10).fill(0), ...data]).subarray(size, size + 7),
  )
  const attr = { valid: FATTR_SIZE | FATTR_MTIME, size: 5, mtime: -77 }
  expect((await client.setattr(file, attr)).attr).toMatchObject({ size: 5, mtime: -77 })
  expect((await client.getattr(file)).attr.size).toBe(5)
  await client.flush(file, open.fh)
  await client.release(file, open.fh)

  await client.symlink(1, 'link', `../${NAME}`)
  const link = await client.lookup(1, 'link')
  expect(await client.readlink(link.nodeid)).toBe(`../${NAME}`)
  expect(await errnoOf(client.mkdir(1, 'link'))).toBe('EEXIST')
  expect(await errnoOf(client.rename2(1, 'link', 1, 'd', 1))).toBe('EEXIST')
  await client.rename(1, 'link', directory.nodeid, 'moved')
  expect(await errnoOf(client.lookup(1, 'link'))).toBe('ENOENT')
  expect(await errnoOf(client.rmdir(1, 'd'))).toBe('ENOTEMPTY')

  const { fh } = await client.opendir(directory.nodeid)
  for (const plus of [false, true]) {
    const names: string[] = []
    for (let cookie = 0n; ; ) {
      const list = plus
        ? client.readdirplus(directory.nodeid, fh, cookie, 200)
        : client.readdir(directory.nodeid, fh, cookie, 70)
      const entries = await list
      if (entries.length === 0) break
      names.push(...entries.map(one => one.name))
      cookie = entries.at(-1)!.off
    }
    expect(names).toEqual([NAME, 'moved'])
  }
  await client.releasedir(directory.nodeid, fh)

  await client.setxattr(file, 'user.x', data.subarray(0, 100))
  expect(await client.getxattr(file, 'user.x')).toEqual(data.subarray(0, 100))
  expect(await client.getxattrSize(file, 'user.x')).toBe(Math.min(size, 100))
  expect(await client.listxattr(file)).toEqual(['user.x'])
  expect(await errnoOf(client.getxattr(file, 'user.y'))).toBe('ENODATA')

  // CREATE and one READDIRPLUS; then a forget of them all.
  expect(tree.nodes.get(file)!.lookups).toBe(2)
  await client.batchForget([{ nodeid: file, nlookup: 2 }])
  expect(tree.nodes.get(file)!.lookups).toBe(0)
  await client.destroy()
}

test('client and server understand each other wherever the guest cuts its buffers', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 5000 })), {
        minLength: 1,
        maxLength: 12,
      }),
      fc.integer({ min: 7, max: 3000 }),
      async (cuts, size) => {
        let next = 0
        const tree = new TreeHandler()
        const errors: unknown[] = []
        const server = new FuseServer(tree, { onError: report => errors.push(report.error) })
        const client = new FuseClient(
          memoryTransport(
            () => server,
            () => cuts[next++ % cuts.length]!,
          ),
        )
        await walk(client, tree, size)
        expect(errors).toEqual([])
      },
    ),
    { numRuns: 30 },
  )
})
