// A session that outlives the process that serves it: a server leaves or dies, and the next one goes on from what is in the store.

import { describe, expect, onTestFinished, test } from 'vitest'
import { FrontendLog } from '../src/frontend-log.ts'
import { FrontendSession } from '../src/frontend-session.ts'
import { FLAG_REPLY, FLAG_VERSION, FRONTEND_REQUESTS } from '../src/messages.ts'
import { Header, u64Payload } from '../src/payloads.ts'
import { closeFd, NativeBuffer } from '../src/sys/libc.ts'
import { sendFromFile, setPeekPosition, setSendPosition } from '../src/sys/stream-position.ts'
import { peek, receive } from '../src/sys/unix-socket.ts'
import { InProcessFdStore } from '../src/takeover/in-process-store.ts'
import { SessionRecord } from '../src/takeover/session-record.ts'
import { live, scene, succeed } from './lives.ts'
import { guestMappings, guestMemory, openDescriptors, RING, until } from './peers.ts'
import { RecordingDevice } from './recording-device.ts'

describe('the next server', () => {
  test('goes on where the last one left, and the front-end does not notice', async () => {
    const { path, store, first, session } = await scene()
    await session.addMemory(guestMemory())
    const ring = await session.startRing(RING)
    ring.kick()
    await until(() => first.device.kicks[RING.index]! > 1)
    await first.server.leave()
    expect(first.disconnects).toEqual([])

    const second = live(path, succeed(store))
    expect(second.takeovers).toEqual(['taken over'])
    expect(second.device.log).toEqual([
      ...['features 0x130000000', 'add 0x0', 'add 0x100000000', 'start 1 base undefined'],
    ])
    expect(second.device.kicks[RING.index]).toBe(1)
    ring.kick()
    await until(() => second.device.kicks[RING.index]! > 1)
    const calls = ring.calls
    second.device.rings.get(RING.index)!.notify()
    await ring.called(calls)
    second.device.onStop = () => 7
    expect(await session.stopRing(ring)).toBe(7)
    expect([...first.errors, ...second.errors]).toEqual([])
  })

  test('answers what was asked while nobody was there', async () => {
    const { path, store, first, session } = await scene()
    await first.server.leave()
    const features = session.request('GET_FEATURES')
    const queues = features.then(() => session.request('GET_QUEUE_NUM'))
    live(path, succeed(store))
    expect([await features, await queues]).toEqual([0x1_7400_0000n, 2n])
  })

  test('answers what is asked in advance, in order, to a front-end that reads late', async () => {
    const { path, store, first, session } = await scene()
    await first.server.leave()
    const count = 1500
    for (let i = 0; i < count; i++) {
      const { id } = FRONTEND_REQUESTS[i % 3 ? 'GET_QUEUE_NUM' : 'GET_FEATURES']
      session.sendMessage(id, FLAG_VERSION, new Uint8Array(0))
    }
    live(path, succeed(store))
    for (let i = 0; i < count; i++) {
      const { payload } = await session.reply()
      const value = u64Payload.decode(new DataView(payload.buffer, payload.byteOffset, payload.byteLength))
      expect(value).toBe(i % 3 ? 2n : 0x1_7400_0000n)
    }
  })

  test('gives each message its own descriptors, however many messages wait', async () => {
    const { path, store, first, session } = await scene(undefined, { protocolFeatures: ['MQ'] })
    await session.addMemory(guestMemory())
    await first.server.leave()
    // Without acknowledgements nothing is waited for: all of these are in the socket when the next server looks.
    const messages = session.startRing(RING)
    const next = succeed(store)
    const second = live(path, next)
    await messages
    expect(await session.request('GET_QUEUE_NUM')).toBe(2n)
    expect(second.errors).toEqual([])
    expect(second.device.log.at(-1)).toBe('start 1 base 0')
    expect(next.names.map(name => name.replace(/^vhost-user-\d+-/, ''))).toEqual([
      ...['record', 'rings', 'connection', 'SET_MEM_TABLE'],
      ...['SET_VRING_KICK', 'SET_VRING_CALL', 'SET_VRING_ERR'],
    ])
  })

  test('writes to the dirty log that the last one wrote to', async () => {
    const { path, store, first, session } = await scene()
    await session.addMemory(guestMemory())
    await session.startRing(RING)
    const log = new FrontendLog(0x1_0020_0000)
    onTestFinished(() => log.close())
    await session.startLogging(log)
    const { usedRings } = first.device.area!
    expect(usedRings[RING.index]).toBeGreaterThan(0)
    await first.server.leave()
    const { device } = live(path, succeed(store))
    expect(device.area!.usedRings).toEqual(usedRings)
    device.area!.bitmap[2] = 0x81
    expect(log.take()).toEqual([16, 23])
  })

  test('starts no ring that did not run, and runs none that is disabled', async () => {
    const { path, store, first, session } = await scene()
    await session.addMemory(guestMemory())
    const ring = await session.startRing(RING)
    await session.request('SET_VRING_NUM', { index: 0, num: 16 })
    await session.request('SET_VRING_ENABLE', { index: RING.index, num: 0 })
    await first.server.leave()
    const { device } = live(path, succeed(store))
    expect(device.log.filter(line => line.startsWith('start'))).toEqual(['start 1 base undefined'])
    ring.kick()
    expect(await session.request('GET_QUEUE_NUM')).toBe(2n)
    expect(device.kicks).toEqual([0, 0])
    await session.request('SET_VRING_ENABLE', { index: RING.index, num: 1 })
    expect(device.kicks[RING.index]).toBeGreaterThan(0)
  })

  test('goes on after a second, and a third', async () => {
    const { path, store, first, session } = await scene()
    await session.addMemory(guestMemory())
    await session.startRing(RING)
    let life = first
    let last = store
    for (let i = 0; i < 3; i++) {
      await life.server.leave()
      last = succeed(last)
      life = live(path, last)
      expect(life.takeovers).toHaveLength(1)
      expect(await session.request('GET_QUEUE_NUM')).toBe(2n)
    }
    session.close()
    await until(() => last.names.length === 0)
    expect(life.disconnects).toEqual([undefined])
  })

  test('finds a front-end that has left meanwhile gone, and holds nothing of it', async () => {
    const before = { fds: await openDescriptors(), mappings: guestMappings() }
    const { path, store, first, session } = await scene()
    const memory = guestMemory()
    await session.addMemory(memory)
    await session.startRing(RING)
    await first.server.leave()
    session.close()
    memory.close()
    const next = succeed(store)
    const second = live(path, next)
    await until(() => second.disconnects.length === 1)
    expect(second.disconnects).toEqual([undefined])
    expect(next.names).toEqual([])
    await second.server.close()
    expect(guestMappings()).toBe(before.mappings)
    // A thread may still be reading the channel.
    await expect.poll(openDescriptors).toBe(before.fds)
  })
})

describe('what cannot be taken over', () => {
  test.each(['record', 'rings', 'connection', 'ADD_MEM_REG', 'SET_VRING_KICK'])(
    'is disconnected, if the %s has not come back',
    async what => {
      const { path, store, first, session } = await scene()
      await session.addMemory(guestMemory())
      await session.startRing(RING)
      await first.server.leave()
      const next = succeed(store)
      const name = next.names.find(candidate => candidate.endsWith(what))!
      await next.remove([name])
      closeFd(next.claim(name)!)
      const second = live(path, next)
      expect(second.errors.map(error => error.code)).toEqual(['TAKEOVER'])
      expect(second.takeovers).toEqual([])
      await expect(session.request('GET_FEATURES')).rejects.toMatchObject({ code: 'PEER_CLOSED' })
      expect(next.names).toEqual([])
      // And the next front-end is served.
      const other = FrontendSession.connect(path)
      onTestFinished(() => other.close())
      await other.handshake()
    },
  )

  test('is served to its end, if there is no room in the store', async () => {
    const { store, first, session } = await scene(3)
    await session.addMemory(guestMemory())
    const ring = await session.startRing(RING)
    expect(first.errors.map(error => error.code)).toEqual(['FD_STORE'])
    ring.kick()
    await until(() => first.device.kicks[RING.index]! > 1)
    await first.server.leave()
    expect(store.names).toEqual([])
    await expect(session.request('GET_FEATURES')).rejects.toMatchObject({ code: 'PEER_CLOSED' })
  })

  test('is disconnected by the next server, if the last one had no room in the store and died', async () => {
    const { path, store, first, session } = await scene(3)
    await session.addMemory(guestMemory())
    expect(first.errors.map(error => error.code)).toEqual(['FD_STORE'])
    const second = live(`${path}-2`, succeed(store))
    expect(second.errors.map(error => error.code)).toEqual(['TAKEOVER'])
    await expect(session.request('GET_FEATURES')).rejects.toMatchObject({ code: 'PEER_CLOSED' })
  })

  test('is a device without records of buffers in flight', () => {
    const store = new InProcessFdStore()
    const device = new RecordingDevice()
    expect(() => live('/nowhere', store, { device })).toThrow(TypeError)
  })
})

describe('a server that dies with a message', () => {
  const SIZE = Header.size + 8
  const MARK = 0x1234_5678n

  function answer(): Uint8Array {
    const bytes = new Uint8Array(SIZE)
    const flags = FLAG_VERSION | FLAG_REPLY
    Header.encode({ request: FRONTEND_REQUESTS.GET_FEATURES.id, flags, size: 8 }, new DataView(bytes.buffer))
    bytes.set(u64Payload.encode(MARK), Header.size)
    return bytes
  }

  /** What a server does with a message, in order; the answer is one that only this server gives. */
  const steps = [
    ['read it', 'anew'],
    ['written down what it did', 'anew'],
    ['said where the socket stands', 'anew'],
    ['put that in force', 'as it was'],
    ['taken half of the message out of the socket', 'as it was'],
    ['taken all of it out of the socket', 'as it was'],
    ['sent half of the answer', 'as it was'],
    ['sent all of it', 'as it was'],
    ['finished', 'as it was'],
  ] as const

  test.each(steps.map(([what, how], last) => [what, how, last] as const))(
    'when it has %s: it is answered once, %s',
    async (_what, how, last) => {
      const { path, store, first, session } = await scene()
      await first.server.leave()
      const asked = session.request('GET_FEATURES')
      const next = succeed(store)
      const fdOf = (what: string) => [...next.inherited].find(([name]) => name.endsWith(what))![1]
      const [recordFd, socket] = [fdOf('record'), fdOf('connection')]
      const record = new SessionRecord(recordFd)
      const buffer = new NativeBuffer(SIZE)
      setPeekPosition(socket, 0)
      await until(() => peek(socket, buffer, 0, Header.size) === Header.size)
      setPeekPosition(socket, 0)
      let answerAt = 0
      const does = [
        () => undefined,
        () => {
          answerAt = record.prepare(record.state, Header.size, answer()).answerAt
        },
        () => {
          setPeekPosition(socket, Header.size)
          setSendPosition(recordFd, answerAt)
        },
        () => record.enforce(),
        () => receive(socket, buffer, 0, 6, []),
        () => receive(socket, buffer, 0, 6, []),
        () => sendFromFile(socket, recordFd, 10),
        () => sendFromFile(socket, recordFd, 10),
        () => record.finish(),
      ]
      for (const step of does.slice(0, last + 1)) step()
      record.unmap()

      const second = live(path, next)
      expect(await asked).toBe(how === 'anew' ? 0x1_7400_0000n : MARK)
      expect(await session.request('GET_QUEUE_NUM')).toBe(2n)
      expect(await session.request('GET_FEATURES')).toBe(0x1_7400_0000n)
      expect([...first.errors, ...second.errors]).toEqual([])
    },
  )
})
