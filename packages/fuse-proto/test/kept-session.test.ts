import { describe, expect, test } from 'vitest'
import {
  FIRST_HANDLER_KIND,
  FuseClient,
  type FuseHandler,
  FuseServer,
  SessionLog,
  spansOf,
} from '../src/index.ts'
import { ENTRY } from './golden-messages.ts'
import { MemoryFolder } from './memory-folder.ts'
import { memoryTransport } from './memory-transport.ts'
import { init } from './served-client.ts'

const MKDIR = 9

/** A server over a log in `folder`, of which each call of the handler is noted. */
function process(folder: MemoryFolder, handler: Partial<FuseHandler> = {}) {
  const calls: string[] = []
  const log = new SessionLog({
    folder,
    identity: 'same',
    onError: error => {
      throw error
    },
  })
  const noted = <T>(name: string, value: T) => {
    calls.push(name)
    return value
  }
  const server = new FuseServer(
    {
      init: request => noted('init', init(request)),
      destroy: () => noted('destroy', undefined),
      resume: () => noted('resume', undefined),
      mkdir: (_, __, name) => noted(`mkdir ${name}`, ENTRY),
      forget: node => noted(`forget ${node}`, undefined),
      ...handler,
    },
    { log },
  )
  const client = new FuseClient(memoryTransport(() => server))
  return { server, client, calls, log, folder }
}

/** A MKDIR of `unique`, and the answer to it. */
function mkdir(server: FuseServer, unique: number, name: string): Uint8Array {
  const request = new Uint8Array(40 + 8 + name.length + 1)
  const view = new DataView(request.buffer)
  view.setUint32(0, request.byteLength, true)
  view.setUint32(4, MKDIR, true)
  view.setUint32(8, unique, true)
  view.setUint32(16, 1, true)
  request.set(new TextEncoder().encode(name), 48)
  const reply = new Uint8Array(200)
  let length = -1
  server.handle({
    readable: spansOf([request]),
    writable: spansOf([reply]),
    complete: written => {
      length = written
    },
  })
  return reply.subarray(0, length)
}

describe('a server after the death of another', () => {
  test('goes on without an INIT, by what was agreed', async () => {
    const folder = new MemoryFolder()
    const first = process(folder)
    await first.client.init()
    const second = process(folder.copy())
    expect(await second.server.resume()).toBe(true)
    expect(second.server.negotiated).toEqual(first.server.negotiated)
    await second.client.mkdir(1, 'a')
    expect(second.calls).toEqual(['resume', 'mkdir a'])
  })

  test('answers what was answered as it was answered, and asks the handler only for the rest', async () => {
    const folder = new MemoryFolder()
    const first = process(folder)
    await first.client.init()
    const reply = mkdir(first.server, 100, 'a').slice()
    const second = process(folder.copy())
    await second.server.resume()
    expect(mkdir(second.server, 100, 'a')).toEqual(reply)
    mkdir(second.server, 102, 'b')
    expect(second.calls).toEqual(['resume', 'mkdir b'])
  })

  test('still knows the answers when it is killed before its guest has seen them', async () => {
    const folder = new MemoryFolder()
    const first = process(folder)
    await first.client.init()
    mkdir(first.server, 100, 'a')
    const between = folder.copy()
    await process(between).server.resume()
    const third = process(between.copy())
    await third.server.resume()
    mkdir(third.server, 100, 'a')
    expect(third.calls).toEqual(['resume'])
  })

  test('keeps answers for as long as the guest may not have seen them, however full the log is', async () => {
    const folder = new MemoryFolder()
    const first = process(folder)
    await first.client.init()
    mkdir(first.server, 100, 'a')
    for (let i = 0; i < 40_000; i++) first.log.append(FIRST_HANDLER_KIND, 'something else')
    const second = process(folder.copy())
    await second.server.resume()
    mkdir(second.server, 100, 'a')
    expect(second.calls).toEqual(['resume'])
  })

  test('begins a new session when the guest asks for one', async () => {
    const folder = new MemoryFolder()
    const first = process(folder)
    await first.client.init()
    mkdir(first.server, 100, 'a')
    const second = process(folder.copy())
    await second.server.resume()
    await second.client.init()
    mkdir(second.server, 100, 'a')
    expect(second.calls).toEqual(['resume', 'destroy', 'init', 'mkdir a'])
  })

  test.each(['end', 'destroy'])('has nothing to go on with after %s', async how => {
    const folder = new MemoryFolder()
    const first = process(folder)
    await first.client.init()
    if (how === 'end') await first.server.end()
    else await first.client.destroy()
    const second = process(folder.copy())
    expect(await second.server.resume()).toBe(false)
    expect(second.calls).toEqual(['resume', 'destroy'])
    await expect(second.client.mkdir(1, 'a')).rejects.toMatchObject({ code: 'EIO' })
  })

  test('reports what the handler cannot end of a session that is over, and goes on with what is left', async () => {
    const folder = new MemoryFolder()
    const reports: unknown[] = []
    const log = new SessionLog({ folder, identity: 'same', onError: () => undefined })
    const destroy = () => Promise.reject(new Error('not published'))
    const server = new FuseServer({ init, destroy }, { log, onError: report => reports.push(report) })
    log.addWriter(() => log.append(FIRST_HANDLER_KIND, 'unpublished'))
    expect(await server.resume()).toBe(false)
    expect(reports).toMatchObject([{ operation: 'DESTROY', error: { message: 'not published' } }])
    expect(process(folder.copy()).log.earlier).toMatchObject([{ value: 'unpublished' }])
  })

  test('goes on with a session that was left to it', async () => {
    const folder = new MemoryFolder()
    const first = process(folder)
    await first.client.init()
    first.server.leave()
    await expect(first.client.mkdir(1, 'a')).rejects.toMatchObject({ code: 'EIO' })
    expect(await process(folder.copy()).server.resume()).toBe(true)
    expect(first.calls).toEqual(['init'])
  })

  test.each([[[1, 2, 3]], [null], [{}]])(
    'refuses %j as an agreement, and touches nothing',
    async agreement => {
      const folder = new MemoryFolder()
      const { log } = process(folder)
      log.begin()
      log.append(1, agreement)
      const second = process(folder)
      await expect(second.server.resume()).rejects.toMatchObject({ code: 'BAD_STATE' })
      expect(second.calls).toEqual([])
    },
  )

  test('does not grow with each death: an answer that the guest must have seen is let go', async () => {
    const folder = new MemoryFolder()
    const first = process(folder)
    await first.client.init()
    const kind = 2
    for (let i = 0; i < 20_000; i++) first.log.append(kind, '00', 1000 + i)
    mkdir(first.server, 100, 'a')
    const second = process(folder.copy())
    await second.server.resume()
    expect(second.log.earlier).toHaveLength(0)
    expect(process(second.folder.copy()).log.earlier.length).toBeLessThan(20_000)
    mkdir(second.server, 100, 'a')
    expect(second.calls).toEqual(['resume'])
  })

  test('does not write down what is never answered', async () => {
    const folder = new MemoryFolder()
    const first = process(folder)
    await first.client.init()
    const before = process(folder.copy()).log.earlier.length
    await first.client.forget(2, 1)
    expect(process(folder.copy()).log.earlier).toHaveLength(before)
  })
})
