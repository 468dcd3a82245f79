import { describe, expect, test } from 'vitest'
import {
  Errno,
  FsError,
  FuseClient,
  type FuseErrorReport,
  type FuseHandler,
  type FuseMessage,
  FuseServer,
  InitFlags,
  InitIn,
  InitOut,
  type RequestData,
  spansOf,
} from '../src/index.ts'
import { ATTR, ENTRY } from './golden-messages.ts'
import { exchange, memoryTransport } from './memory-transport.ts'

function setUp(handler: Partial<FuseHandler> = {}) {
  const events: string[] = []
  const reports: FuseErrorReport[] = []
  const server = new FuseServer(
    {
      init: () => {
        events.push('init')
        return { flags: 0 }
      },
      destroy: () => {
        events.push('destroy')
      },
      getattr: () => ({ attrValid: 1, attrValidNsec: 0, attr: ATTR }),
      ...handler,
    },
    { onError: report => reports.push(report) },
  )
  return { events, reports, server, client: new FuseClient(memoryTransport(() => server)) }
}

function gate() {
  let open!: () => void
  const promise = new Promise<void>(resolve => {
    open = resolve
  })
  return { promise, open }
}

describe('order', () => {
  test('requests before INIT are EIO, and forgets are taken without a word', async () => {
    const { client, reports, events } = setUp()
    await expect(client.getattr(1)).rejects.toMatchObject({ code: 'EIO' })
    await expect(client.destroy()).rejects.toMatchObject({ code: 'EIO' })
    expect(reports.map(report => (report.error as { code: string }).code)).toEqual([
      'NO_SESSION',
      'NO_SESSION',
    ])
    await client.forget(5)
    expect(events).toEqual([])
  })

  test('DESTROY ends the session; the next INIT begins another', async () => {
    const { client, events, server } = setUp()
    await client.init()
    expect(server.negotiated?.minor).toBe(38)
    await client.destroy()
    expect(server.negotiated).toBeUndefined()
    await expect(client.getattr(1)).rejects.toMatchObject({ code: 'EIO' })
    await client.init()
    await client.getattr(1)
    expect(events).toEqual(['init', 'destroy', 'init'])
  })

  test('a second INIT ends the first session before it begins', async () => {
    const { client, events } = setUp()
    await client.init()
    await client.init()
    expect(events).toEqual(['init', 'destroy', 'init'])
  })

  test('INIT waits until the session before has ended, and requests meanwhile are EIO', async () => {
    const ending = gate()
    const { client, events, server } = setUp({ destroy: () => ending.promise })
    await client.init()
    const second = client.init()
    await expect(client.getattr(1)).rejects.toMatchObject({ code: 'EIO' })
    expect(events).toEqual(['init'])
    ending.open()
    await second
    expect(events).toEqual(['init', 'init'])
    expect(server.pendingCount).toBe(0)
  })

  test('DESTROY is answered when the handler has ended the session', async () => {
    const ending = gate()
    const { client } = setUp({ destroy: () => ending.promise })
    await client.init()
    let answered = false
    const destroyed = client.destroy().then(() => {
      answered = true
    })
    await Promise.resolve()
    expect(answered).toBe(false)
    ending.open()
    await destroyed
  })

  test('a handler that fails to end its session is reported and does not stop the next', async () => {
    for (const destroy of [
      () => Promise.reject(new Error('late')),
      () => {
        throw new Error('late')
      },
    ]) {
      const { client, reports } = setUp({ destroy })
      await client.init()
      await client.destroy()
      expect(reports).toMatchObject([{ operation: 'DESTROY', error: { message: 'late' } }])
      await client.init()
    }
  })

  test('what an earlier session began is answered with EIO in a later one', async () => {
    const lookup = gate()
    const { client } = setUp({ lookup: () => lookup.promise.then(() => ENTRY) })
    await client.init()
    const late = client.lookup(1, 'a')
    await client.init()
    lookup.open()
    await expect(late).rejects.toMatchObject({ code: 'EIO' })
  })

  test('a handler that refuses INIT leaves no session', async () => {
    const { client, server } = setUp({
      init: () => {
        throw new FsError('EACCES')
      },
    })
    await expect(client.init()).rejects.toMatchObject({ code: 'EACCES' })
    expect(server.negotiated).toBeUndefined()
  })
})

describe('the end of a connection', () => {
  test('messages in flight are neither touched nor completed any more', async () => {
    const write = gate()
    let held: RequestData | undefined
    const { client, server, events } = setUp({
      write: async (_, __, ___, ____, data) => {
        held = data
        await write.promise
        return data.byteLength
      },
    })
    await client.init()
    let completions = 0
    const reply = new Uint8Array(24).fill(0xcc)
    const request = writeRequest(100)
    server.handle({
      readable: spansOf([request]),
      writable: spansOf([reply]),
      complete: () => {
        completions++
      },
    })
    expect([server.pendingCount, held!.byteLength]).toEqual([1, 100])
    await server.end()
    expect([server.pendingCount, held!.byteLength, held!.copyTo(new Uint8Array(8))]).toEqual([0, 0, 0])
    write.open()
    await new Promise(resolve => setTimeout(resolve))
    expect(completions).toBe(0)
    expect(reply).toEqual(new Uint8Array(24).fill(0xcc))
    expect(events).toEqual(['init', 'destroy'])
  })

  test('a request object is not reused before its handler has settled', async () => {
    const gates = [gate(), gate()]
    let calls = 0
    const seen: string[] = []
    const { client, server } = setUp({
      unlink: async (ctx, _, name) => {
        await gates[calls++]!.promise
        seen.push(`${name} ${ctx.uid}`)
      },
    })
    await client.init()
    void client.unlink(1, 'lost')
    await server.end()
    await client.init()
    const second = client.unlink(1, 'kept')
    gates[1]!.open()
    await second
    gates[0]!.open()
    await new Promise(resolve => setTimeout(resolve))
    expect(seen).toEqual(['kept 0', 'lost 0'])
  })

  test('an INIT that still waits does not begin a session for a guest that has gone', async () => {
    const ending = gate()
    const { client, server, events } = setUp({ destroy: () => ending.promise })
    await client.init()
    void client.init()
    const over = server.end()
    ending.open()
    await over
    await new Promise(resolve => setTimeout(resolve))
    expect(events).toEqual(['init'])
    expect(server.negotiated).toBeUndefined()
  })

  test('a failure that nobody waits for is still reported', async () => {
    const failing = gate()
    const { client, server, reports } = setUp({
      rmdir: () => failing.promise.then(() => Promise.reject(new Error('x'))),
    })
    await client.init()
    void client.rmdir(9, 'd')
    await server.end()
    failing.open()
    await new Promise(resolve => setTimeout(resolve))
    expect(reports).toMatchObject([{ operation: 'RMDIR', node: 9, error: { message: 'x' } }])
  })

  test('ending without a session is nothing', async () => {
    const { server, events } = setUp()
    await server.end()
    expect(events).toEqual([])
  })

  test('guest memory that was taken away gets no reply', async () => {
    const slow = gate()
    const { client, server } = setUp({ lookup: () => slow.promise.then(() => ENTRY) })
    await client.init()
    const reply = new Uint8Array(144)
    const spans = { ...spansOf([reply]) }
    let written: number | undefined
    const message: FuseMessage = {
      readable: spansOf([lookupRequest()]),
      writable: spans,
      complete: count => {
        written = count
      },
    }
    server.handle(message)
    Object.assign(spans, { count: 0, byteLength: 0 })
    slow.open()
    await new Promise(resolve => setTimeout(resolve))
    expect(written).toBe(0)
    expect(reply).toEqual(new Uint8Array(144))
  })

  test('a message whose completion fails is reported, not thrown into the air', async () => {
    const { client, server, reports } = setUp({ lookup: async () => ENTRY })
    await client.init()
    server.handle({
      readable: spansOf([lookupRequest()]),
      writable: spansOf([new Uint8Array(144)]),
      complete: () => {
        throw new Error('ring is broken')
      },
    })
    await new Promise(resolve => setTimeout(resolve))
    expect(reports).toMatchObject([{ operation: 'LOOKUP', error: { message: 'ring is broken' } }])
  })
})

describe('versions', () => {
  test('the smaller minor is spoken', async () => {
    const { client } = setUp()
    expect(await client.init({ minor: 31 })).toMatchObject({ major: 7, minor: 31 })
    expect(await client.init({ minor: 99 })).toMatchObject({ major: 7, minor: 45 })
  })

  test('a newer major is told ours, and only the INIT that follows begins a session', async () => {
    const { client, events } = setUp()
    expect(await client.init({ major: 8 })).toMatchObject({ major: 7, minor: 45 })
    expect(events).toEqual([])
    await expect(client.getattr(1)).rejects.toMatchObject({ code: 'EIO' })
    await client.init()
    expect(events).toEqual(['init'])
  })

  test.each([
    { major: 6, minor: 50 },
    { major: 7, minor: 26 },
    { major: 0, minor: 0 },
  ])('older versions are EPROTO: %j', async version => {
    const { client, reports } = setUp()
    await expect(client.init(version)).rejects.toMatchObject({ code: 'EPROTO' })
    expect(reports[0]!.error).toMatchObject({ code: 'BAD_VERSION' })
  })

  test('INIT with the 16 bytes of minor 35 is understood, and what lies behind them is no flags2', async () => {
    let seen: InitIn | undefined
    const { client } = setUp({
      init: request => {
        seen = request
        return { flags: InitFlags.ASYNC_READ, flags2: 0xffff_ffff }
      },
    })
    const args = InitIn.toBytes({
      major: 7,
      minor: 35,
      maxReadahead: 5,
      flags: 0x4000_0001,
      flags2: 7,
    }).subarray(0, 16)
    const reply = InitOut.fromBytes(await client.call('INIT', { args }))
    expect(seen).toMatchObject({ minor: 35, maxReadahead: 5, flags2: 0 })
    expect(reply).toMatchObject({ minor: 35, flags: 1, flags2: 0 })
  })

  test('a guest with little room gets the start of the answer', async () => {
    const { server } = setUp()
    const request = new Uint8Array(104)
    const view = new DataView(request.buffer)
    view.setUint32(0, 104, true)
    view.setUint32(4, 26, true)
    view.setUint32(40, 7, true)
    view.setUint32(44, 38, true)
    const { written, reply } = exchange(server, request, 40)
    expect(written).toBe(40)
    expect(new DataView(reply.buffer).getUint32(0, true)).toBe(40)
  })

  test('a big-endian INIT is EIO in its own byte order', () => {
    const { server, reports } = setUp()
    const request = new Uint8Array(104)
    const view = new DataView(request.buffer)
    view.setUint32(0, 104)
    view.setUint32(4, 26)
    view.setBigUint64(8, 0x1234n)
    const { written, reply } = exchange(server, request, 80)
    expect(written).toBe(16)
    const answer = new DataView(reply.buffer)
    expect([answer.getUint32(0), answer.getInt32(4), answer.getBigUint64(8)]).toEqual([
      16,
      -Errno.EIO,
      0x1234n,
    ])
    expect(reports[0]!.error).toMatchObject({ code: 'BAD_VERSION' })
  })
})

function lookupRequest(): Uint8Array {
  const request = new Uint8Array(42)
  const view = new DataView(request.buffer)
  view.setUint32(0, 42, true)
  view.setUint32(4, 1, true)
  view.setUint32(16, 1, true)
  request[40] = 0x61
  return request
}

function writeRequest(size: number): Uint8Array {
  const request = new Uint8Array(80 + size)
  const view = new DataView(request.buffer)
  view.setUint32(0, request.byteLength, true)
  view.setUint32(4, 16, true)
  view.setUint32(56, size, true)
  return request
}
