import { describe, expect, test } from 'vitest'
import {
  CopyFileRangeIn,
  CopyFileRangeOut,
  Errno,
  type ErrnoName,
  FsError,
  FuseClient,
  type FuseErrorReport,
  type FuseHandler,
  FuseProtocolError,
  FuseServer,
  type NodeId,
  OPERATIONS,
  type OperationName,
  type RequestData,
} from '../src/index.ts'
import { ATTR, ENTRY } from './golden-messages.ts'
import { memoryTransport } from './memory-transport.ts'

const init: FuseHandler['init'] = () => ({ flags: 0xffff_ffff })

/** A server with a session, a client of it, and what the server reported. */
async function serve(handler: Partial<FuseHandler>) {
  const reports: FuseErrorReport[] = []
  const server = new FuseServer({ init, ...handler }, { onError: report => reports.push(report) })
  const client = new FuseClient(
    memoryTransport(() => server),
    { uid: 7, gid: 8, pid: 9 },
  )
  await client.init()
  return { server, client, reports }
}

async function errnoOf(promise: Promise<unknown>): Promise<ErrnoName | 'success'> {
  try {
    await promise
    return 'success'
  } catch (error) {
    if (error instanceof FsError) return error.code
    throw error
  }
}

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

describe('reading', () => {
  const file = Uint8Array.from({ length: 1000 }, (_, i) => i % 251)

  test('a handler that writes more than it was asked for is cut off', async () => {
    const { client } = await serve({
      read: (_, __, ___, ____, size, out) => {
        expect(out.write(file)).toBe(size)
        expect(out.room).toBe(0)
        expect(out.write(file)).toBe(0)
        expect(out.fill(10)).toBe(0)
      },
    })
    expect(await client.read(1, 1, 0, 300)).toEqual(file.subarray(0, 300))
  })

  test('the answer is no longer than the room that the guest gave', async () => {
    const { client } = await serve({
      read: (_, __, ___, ____, size, out) => {
        expect(size).toBe(100)
        out.write(file)
      },
    })
    const args = new Uint8Array(40)
    new DataView(args.buffer).setUint32(16, 500, true)
    expect(await client.call('READ', { node: 1, args, room: 100 })).toEqual(file.subarray(0, 100))
  })

  test('an error after some bytes is an error, not a short file', async () => {
    const { client } = await serve({
      read: async (_, __, ___, ____, _____, out) => {
        out.write(file, 0, 10)
        throw new FsError('ETIMEDOUT')
      },
    })
    expect(await errnoOf(client.read(1, 1, 0, 300))).toBe('ETIMEDOUT')
  })

  test('a handler that keeps the data of a WRITE finds it empty afterwards', async () => {
    let kept: RequestData | undefined
    const { client } = await serve({
      write: (_, __, ___, ____, data) => {
        kept = data
        return data.byteLength
      },
    })
    expect(await client.write(1, 1, 0, file)).toBe(1000)
    expect(kept!.byteLength).toBe(0)
    expect(kept!.copyTo(new Uint8Array(10))).toBe(0)
  })

  test('a handler that claims to have taken more than there was is a failure', async () => {
    const { client, reports } = await serve({ write: () => 1001 })
    expect(await errnoOf(client.write(1, 1, 0, file))).toBe('EIO')
    expect(reports[0]!.error).toBeInstanceOf(RangeError)
  })

  test('a WRITE above the negotiated limit is refused', async () => {
    const { client } = await serve({ init: () => ({ flags: 0, maxWrite: 4096 }), write: () => 1 })
    expect(await errnoOf(client.write(1, 1, 0, new Uint8Array(4097)))).toBe('EINVAL')
  })
})

describe('listings', () => {
  const many = Array.from({ length: 100 }, (_, i) => `entry${i}`)
  const listing: Partial<FuseHandler> = {
    readdir: (_, __, ___, cookie, out) => {
      for (let i = cookie; i < many.length; i++) if (!out.add(many[i]!, i + 10, 8, i + 1)) return
    },
    readdirplus: (_, __, ___, cookie, out) => {
      for (let i = cookie; i < many.length; i++) if (!out.addEntry(many[i]!, ENTRY, i + 1)) return
    },
  }

  test.each(['readdir', 'readdirplus'] as const)('%s continues after the last whole record', async method => {
    const { client } = await serve(listing)
    const names: string[] = []
    for (let cookie = 0; ; ) {
      const entries = await client[method](1, 1, cookie, 1000)
      if (entries.length === 0) break
      names.push(...entries.map(entry => entry.name))
      cookie = entries.at(-1)!.off
    }
    expect(names).toEqual(many)
  })

  test('when not even the first entry fits, the answer is EINVAL and not the end', async () => {
    const { client } = await serve(listing)
    expect(await errnoOf(client.readdir(1, 1, 0, 24))).toBe('EINVAL')
    expect(await errnoOf(client.readdirplus(1, 1, 0, 152))).toBe('EINVAL')
    expect(await client.readdir(1, 1, many.length, 24)).toEqual([])
  })

  test('a record that fits exactly is given', async () => {
    const { client } = await serve({ readdir: (_, __, ___, ____, out) => void out.add('12345678', 1, 8, 1) })
    expect(await client.readdir(1, 1, 0, 32)).toHaveLength(1)
  })

  test('READDIRPLUS of a handler that only lists gives entries without attributes', async () => {
    const { client } = await serve({ readdir: listing.readdir! })
    const [first] = await client.readdirplus(1, 1)
    expect(first).toMatchObject({ name: 'entry0', ino: 10, entry: { nodeid: 0 } })
  })

  test('a failure after some entries keeps them: their lookups were counted', async () => {
    const { client } = await serve({
      readdirplus: async (_, __, ___, cookie, out) => {
        if (cookie === 0) out.addEntry('counted', ENTRY, 1)
        throw new FsError('EACCES')
      },
    })
    expect(await client.readdirplus(1, 1)).toHaveLength(1)
    expect(await errnoOf(client.readdirplus(1, 1, 1))).toBe('EACCES')
  })

  test.each(['', 'a/b', 'a\0b', 'x'.repeat(1025), '\ud800'])(
    'a bad name from the handler is its error: %j',
    async name => {
      const { client, reports } = await serve({
        readdir: (_, __, ___, ____, out) => void out.add(name, 1, 8, 1),
      })
      expect(await errnoOf(client.readdir(1, 1))).toMatch(/^(EIO|EILSEQ)$/)
      expect(reports[0]!.error).toMatchObject({ code: 'BAD_NAME' })
    },
  )
})

describe('extended attributes', () => {
  const value = new Uint8Array(100).fill(3)

  test('a value longer than the buffer is ERANGE', async () => {
    const { client } = await serve({ getxattr: () => value, listxattr: () => ['user.a'] })
    expect(await errnoOf(client.getxattr(1, 'user.a', 99))).toBe('ERANGE')
    expect(await client.getxattr(1, 'user.a', 100)).toEqual(value)
    expect(await errnoOf(client.listxattr(1, 6))).toBe('ERANGE')
    expect(await client.listxattr(1, 7)).toEqual(['user.a'])
  })

  test('both forms of SETXATTR are understood, as negotiated', async () => {
    for (const flags of [0, 0xffff_ffff]) {
      const { client } = await serve({
        init: () => ({ flags }),
        setxattr: (_, __, name, data) => {
          expect([name, data]).toEqual(['user.a', value])
        },
      })
      await client.setxattr(1, 'user.a', value)
    }
  })

  test('a value of the greatest length arrives', async () => {
    const greatest = new Uint8Array(65536).fill(9)
    const server = new FuseServer({ init, setxattr: (_, __, ___, data) => expect(data).toEqual(greatest) })
    const client = new FuseClient(
      memoryTransport(
        () => server,
        () => 1000,
      ),
    )
    await client.init()
    await client.setxattr(1, 'x'.repeat(255), greatest)
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
