import { describe, expect, test } from 'vitest'
import {
  CopyFileRangeIn,
  CopyFileRangeOut,
  Errno,
  type ErrnoName,
  FsError,
  FuseClient,
  FuseProtocolError,
  FuseServer,
  type NodeId,
  OPERATIONS,
  type OperationName,
} from '../src/index.ts'
import { ATTR, ENTRY } from './golden-messages.ts'
import { memoryTransport } from './memory-transport.ts'
import { errnoOf, init, serve } from './served-client.ts'

function gate<T>() {
  let open!: (value: T) => void
  let fail!: (error: unknown) => void
  const promise = new Promise<T>((resolve, reject) => {
    open = resolve
    fail = reject
  })
  return { promise, open, fail }
}

describe('answers', () => {
  test('a value is answered before handle returns, a promise when it settles', async () => {
    const slow = gate<typeof ENTRY>()
    const { client, server } = await serve({
      lookup: (_, __, name) => (name === 'slow' ? slow.promise : ENTRY),
    })
    const order: string[] = []
    const waiting = client.lookup(1, 'slow').then(() => order.push('slow'))
    expect(server.pendingCount).toBe(1)
    await client.lookup(1, 'fast').then(() => order.push('fast'))
    slow.open(ENTRY)
    await waiting
    expect(order).toEqual(['fast', 'slow'])
    expect(server.pendingCount).toBe(0)
  })

  test('requests that wait keep their own arguments and callers', async () => {
    const gates = Array.from({ length: 50 }, () => gate<void>())
    const seen: string[] = []
    const { client } = await serve({
      unlink: async (ctx, node, name) => {
        await gates[node as number]!.promise
        seen.push(`${node} ${name} ${ctx.uid} ${ctx.pid}`)
      },
    })
    const waiting = gates.map((_, i) => client.unlink(i, `name${i}`))
    for (const one of [...gates].reverse()) one.open()
    await Promise.all(waiting)
    expect(seen).toEqual(gates.map((_, i) => `${i} name${i} 7 9`).reverse())
  })

  test('the caller is who sent the request', async () => {
    const { client } = await serve({
      access: ctx => {
        expect([ctx.opcode, ctx.uid, ctx.gid, ctx.pid]).toEqual([34, 7, 8, 9])
      },
    })
    await client.access(1, 4)
  })

  test('GETATTR without a handle gives none, even if one is in the message', async () => {
    const { client } = await serve({
      getattr: (_, __, fh) => {
        expect(fh).toBeUndefined()
        return { attrValid: 0, attrValidNsec: 0, attr: ATTR }
      },
    })
    await client.getattr(1)
  })

  test('SETATTR gives only the fields whose bit is set', async () => {
    const { client } = await serve({
      setattr: (_, __, change) => {
        expect(change).toEqual({
          valid: 0x182,
          mode: undefined,
          uid: 5,
          gid: undefined,
          size: undefined,
          atime: 'now',
          mtime: 'now',
          ctime: undefined,
          fh: undefined,
          killSuidgid: false,
        })
        return { attrValid: 0, attrValidNsec: 0, attr: ATTR }
      },
    })
    await client.setattr(1, { valid: 0x182, uid: 5, gid: 6, size: 7, mode: 8, fh: 9, atime: 10 })
  })

  test('the root is not forgotten, one by one or in a batch', async () => {
    const forgotten: [NodeId, number][] = []
    const { client } = await serve({ forget: (node, count) => forgotten.push([node, count]) })
    await client.forget(1, 5)
    await client.forget(2, 5)
    await client.batchForget([
      { nodeid: 3, nlookup: 1 },
      { nodeid: 1, nlookup: 1 },
      { nodeid: 4, nlookup: 2 },
    ])
    expect(forgotten).toEqual([
      [2, 5],
      [3, 1],
      [4, 2],
    ])
  })

  test('a batch of forgets longer than one copy is whole', async () => {
    const forgotten: number[] = []
    const server = new FuseServer({ init, forget: node => forgotten.push(node) })
    const client = new FuseClient(
      memoryTransport(
        () => server,
        () => 777,
      ),
    )
    await client.init()
    const nodes = Array.from({ length: 5000 }, (_, i) => i + 2)
    await client.batchForget(nodes.map(nodeid => ({ nodeid, nlookup: 1 })))
    expect(forgotten).toEqual(nodes)
  })
})

test('COPY_FILE_RANGE is capped at what its 32-bit answer can say, COPY_FILE_RANGE_64 is not', async () => {
  const { client } = await serve({
    copyFileRange: (_, __, ___, ____, _____, ______, _______, length) => length,
  })
  const from = { node: 1, fh: 1, offset: 0 }
  expect(await client.copyFileRange(from, from, 2 ** 40)).toBe(0xffff_f000)
  const args = CopyFileRangeIn.toBytes({
    ...{ fhIn: 1, offIn: 0, nodeidOut: 1, fhOut: 1, offOut: 0, flags: 0n },
    len: 2 ** 40,
  })
  const body = await client.call('COPY_FILE_RANGE_64', { node: 1, args })
  expect(CopyFileRangeOut.fromBytes(body).bytesCopied).toBe(2 ** 40)
  new DataView(args.buffer).setUint32(CopyFileRangeIn.offsets.flags, 1, true)
  expect(await errnoOf(client.call('COPY_FILE_RANGE_64', { node: 1, args }))).toBe('EINVAL')
})

describe('failures', () => {
  test('an FsError reaches the guest as its errno and is not reported', async () => {
    const { client, reports } = await serve({
      lookup: () => {
        throw new FsError('ENOENT')
      },
      mkdir: async () => {
        throw new FsError('EEXIST')
      },
    })
    expect(await errnoOf(client.lookup(1, 'a'))).toBe('ENOENT')
    expect(await errnoOf(client.mkdir(1, 'a'))).toBe('EEXIST')
    expect(reports).toEqual([])
  })

  test('anything else is EIO, and is reported with its cause', async () => {
    const bug = new TypeError('bug')
    const { client, reports } = await serve({
      lookup: () => {
        throw bug
      },
      rmdir: () => Promise.reject(bug),
      forget: () => {
        throw bug
      },
    })
    expect(await errnoOf(client.lookup(5, 'first'))).toBe('EIO')
    expect(await errnoOf(client.rmdir(6, 'second'))).toBe('EIO')
    await client.forget(7)
    expect(reports).toEqual([
      { operation: 'LOOKUP', node: 5, name: 'first', error: bug },
      { operation: 'RMDIR', node: 6, name: 'second', error: bug },
      { operation: 'FORGET', node: 7, name: undefined, error: bug },
    ])
  })

  test('an error reply is exactly a header', async () => {
    const { client } = await serve({})
    const request = new Uint8Array(40 + 2)
    const view = new DataView(request.buffer)
    view.setUint32(0, 42, true)
    view.setUint32(4, 1, true)
    view.setBigUint64(8, 0x8123456789abcdefn, true)
    view.setBigUint64(16, 1n, true)
    request[40] = 0x61
    const reply = await client.raw([request], 500)
    expect(reply).toHaveLength(16)
    const header = new DataView(reply.buffer, reply.byteOffset)
    expect([header.getUint32(0, true), header.getInt32(4, true)]).toEqual([16, -Errno.ENOENT])
    expect(header.getBigUint64(8, true)).toBe(0x8123456789abcdefn)
  })

  const missing = Object.fromEntries(
    OPERATIONS.filter(row => row.name !== 'INIT').map(row => [row.name, row.missing]),
  ) as Record<OperationName, ErrnoName | { value: unknown }>

  test.each(Object.entries(missing))('%s without a method is answered harmlessly', async (name, wanted) => {
    const { client, reports } = await serve({})
    const row = OPERATIONS.find(operation => operation.name === name)!
    const names = ['a', 'b'].slice(0, row.names ?? 0)
    const tail = row.requestTail === 'target' ? Uint8Array.of(0x61, 0) : new Uint8Array(0)
    const call = { node: 1, args: new Uint8Array(row.requestSize), names, tail, room: 100 }
    const answer = await errnoOf(client.call(name as OperationName, call))
    expect(answer).toBe(typeof wanted === 'string' ? wanted : 'success')
    expect(reports).toEqual([])
  })

  test('an opcode that is not in the table is ENOSYS', async () => {
    const { client } = await serve({})
    const request = new Uint8Array(40)
    new DataView(request.buffer).setUint32(0, 40, true)
    for (const opcode of [0, 7, 19, 54, 4096, 0xffff_ffff]) {
      new DataView(request.buffer).setUint32(4, opcode, true)
      const reply = await client.raw([request], 16)
      expect(new DataView(reply.buffer, reply.byteOffset).getInt32(4, true)).toBe(-Errno.ENOSYS)
    }
  })

  test('a fixed reply that does not fit is refused before the handler acts', async () => {
    let called = 0
    const { client, reports } = await serve({
      lookup: () => {
        called++
        return ENTRY
      },
    })
    expect(await errnoOf(client.call('LOOKUP', { node: 1, names: ['a'], room: -1 }))).toBe('EIO')
    expect(called).toBe(0)
    expect(reports[0]!.error).toMatchObject({ code: 'NO_ROOM', need: 128, have: 127 })
  })

  test('a request without room for a reply is given back with 0 bytes', async () => {
    const { client } = await serve({ lookup: () => ENTRY })
    const request = new Uint8Array(42)
    new DataView(request.buffer).setUint32(0, 42, true)
    new DataView(request.buffer).setUint32(4, 1, true)
    request[40] = 0x61
    for (const room of [0, 1, 15]) expect(await client.raw([request], room)).toHaveLength(0)
  })

  test('protocol errors say what was wrong and where', async () => {
    const { client, reports } = await serve({
      getattr: () => ({ attrValid: 0, attrValidNsec: 0, attr: ATTR }),
    })
    expect(await errnoOf(client.call('GETATTR', { node: 3, args: new Uint8Array(15) }))).toBe('EINVAL')
    expect(reports).toHaveLength(1)
    expect(reports[0]).toMatchObject({ operation: 'GETATTR', node: 3 })
    expect(reports[0]!.error).toBeInstanceOf(FuseProtocolError)
    expect(reports[0]!.error).toMatchObject({
      code: 'TRUNCATED',
      struct: 'fuse_getattr_in',
      offset: 40,
      need: 16,
      have: 15,
    })
  })
})
