// What a guest can make grow, and where that ends.

import { FsError, type FuseHandler, type NodeId, ROOT_NODE } from '@ovfs/fuse-proto'
import { expect, onTestFinished, test, vi } from 'vitest'
import { BlockCache } from '../src/files/block-cache.ts'
import { OpendalFs } from '../src/index.ts'
import { Operator } from '../src/storage/binding.ts'
import { ctx, Reply } from './guest.ts'

async function served(options: { maxInodes?: number; maxHandles?: number }) {
  const operator = new Operator('memory')
  for (const name of ['a', 'b', 'c', 'd']) await operator.write(name, name)
  const fs = new OpendalFs(operator, { scheme: 'memory', ...options })
  onTestFinished(() => fs.close())
  fs.init({ major: 7, minor: 38, maxReadahead: 0, flags: 0, flags2: 0 })
  const handler: FuseHandler = fs
  const errno = async (call: () => unknown) => {
    try {
      await call()
      return 'success'
    } catch (error) {
      if (error instanceof FsError) return error.code
      throw error
    }
  }
  return { handler, errno }
}

test('inodes that the guest knows end at maxInodes with ENFILE, and forgetting makes room', async () => {
  // The root is one of them.
  const { handler, errno } = await served({ maxInodes: 3 })
  const lookup = (name: string) => errno(() => handler.lookup!(ctx, ROOT_NODE, name))
  expect([await lookup('a'), await lookup('b'), await lookup('c')]).toEqual(['success', 'success', 'ENFILE'])
  expect(await lookup('a')).toBe('success')
  expect(await errno(() => handler.create!(ctx, ROOT_NODE, 'new', 0o100644, 0o101, 0))).toBe('ENFILE')
  expect(await errno(() => handler.mkdir!(ctx, ROOT_NODE, 'new', 0o755))).toBe('ENFILE')
  const { nodeid } = await handler.lookup!(ctx, ROOT_NODE, 'b')
  handler.forget!(nodeid as NodeId, 2)
  expect(await lookup('c')).toBe('success')
})

test('a listing beyond maxInodes has bare names', async () => {
  const { handler } = await served({ maxInodes: 2 })
  const { fh } = await handler.opendir!(ctx, ROOT_NODE, 0)
  const bare: string[] = []
  const known: string[] = []
  await handler.readdirplus!(ctx, ROOT_NODE, fh, 0, {
    add: name => bare.push(name) > 0,
    addEntry: name => known.push(name) > 0,
  })
  expect([...bare, ...known].sort()).toEqual(['.', '..', 'a', 'b', 'c', 'd'])
  expect(known.length).toBeLessThanOrEqual(1)
})

test('open files and directories end at maxHandles with ENFILE, and closing makes room', async () => {
  const { handler, errno } = await served({ maxHandles: 2 })
  const { nodeid } = await handler.lookup!(ctx, ROOT_NODE, 'a')
  const file = await handler.open!(ctx, nodeid as NodeId, 0, 0)
  await handler.opendir!(ctx, ROOT_NODE, 0)
  expect(await errno(() => handler.open!(ctx, nodeid as NodeId, 0, 0))).toBe('ENFILE')
  await handler.release!(ctx, nodeid as NodeId, file.fh, undefined)
  expect(await errno(() => handler.open!(ctx, nodeid as NodeId, 0, 0))).toBe('success')
})

test('of a file that the guest has forgotten, or of a session that is over, nothing stays in memory', async () => {
  const reading = vi.spyOn(BlockCache.prototype, 'read')
  onTestFinished(() => reading.mockRestore())
  const { handler } = await served({})
  const read = async (name: string) => {
    const node = (await handler.lookup!(ctx, ROOT_NODE, name)).nodeid as NodeId
    const { fh } = await handler.open!(ctx, node, 0, 0)
    await handler.read!(ctx, node, fh, 0, 100, new Reply(100))
    return { node, close: () => handler.release!(ctx, node, fh, undefined) }
  }
  const first = await read('a')
  const second = await read('b')
  const cache = reading.mock.contexts[0] as BlockCache
  expect(cache.bytes).toBe(2)
  handler.forget!(first.node, 1)
  expect(cache.bytes, 'it is still open').toBe(2)
  await first.close()
  expect(cache.bytes).toBe(1)
  await second.close()
  expect(cache.bytes, 'it is still known').toBe(1)
  await handler.destroy!()
  expect(cache.bytes).toBe(0)
})
