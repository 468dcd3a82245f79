// What a front-end may do wrong: it is told so if it asked to be, else it is sent away; and nothing of it is left.

import { spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { FrontendSession } from '../src/frontend-session.ts'
import { type AnyRequestRow, FRONTEND_REQUESTS, type FrontendRequest } from '../src/messages.ts'
import { reasonWithheld } from '../src/offered-features.ts'
import { NativeBuffer } from '../src/sys/libc.ts'
import { connectSocket, send } from '../src/sys/unix-socket.ts'
import {
  eventFd,
  expectRefused,
  expectSentAway,
  header,
  longs,
  memFd,
  NEED_REPLY,
  NOTHING,
  table,
  VERSION,
  words,
} from './hostility.ts'
import {
  guestMappings,
  guestMemory,
  MIB,
  openDescriptors,
  RING,
  serve,
  temporaryFolder,
  until,
} from './peers.ts'

describe('a header that breaks the rules ends the session', () => {
  test.each([
    ['version 0', header(1, 0, 0)],
    ['version 2', header(1, 2, 0)],
    ['version 3', header(1, 3, 0)],
    ['a reply flag', header(1, 0x5, 0)],
    ['a reserved flag', header(1, 0x11, 0)],
    ['more payload than any message has', header(5, VERSION, 4097)],
    ['4 GiB of payload', header(5, VERSION, 0xffffffff)],
  ])('%s', async (_name, bytes) => {
    const backend = serve()
    const session = backend.connect()
    session.sendBytes(bytes)
    await expectSentAway(backend, session, 'BAD_HEADER')
  })
})

test('an unassigned request is refused if it wants an answer, and skipped if not', async () => {
  const backend = serve()
  const session = backend.connect()
  session.sendMessage(4711, NEED_REPLY, words(1, 2, 3), [eventFd()])
  await expectRefused(backend, session, 'UNKNOWN_REQUEST')
  session.sendMessage(4711, VERSION, words(1, 2, 3), [eventFd()])
  expect(await session.request('GET_FEATURES')).toBe(0x1_7000_0000n)
  expect(backend.errors).toMatchObject([{ code: 'UNKNOWN_REQUEST' }, { code: 'UNKNOWN_REQUEST' }])
})

const allRequests = Object.keys(FRONTEND_REQUESTS) as FrontendRequest[]
const implemented = allRequests.filter(name => !['RESET_OWNER'].includes(name))

describe('a payload of the wrong size is refused', () => {
  const sized = implemented.filter(name => {
    const row: AnyRequestRow = FRONTEND_REQUESTS[name]
    return (
      row.reply === undefined && row.gate === undefined && !['SET_LOG_FD', 'GPU_SET_SOCKET'].includes(name)
    )
  })
  test.each(sized)('%s', async name => {
    const row: AnyRequestRow = FRONTEND_REQUESTS[name]
    const backend = serve()
    const session = backend.connect()
    session.sendMessage(row.id, NEED_REPLY, new Uint8Array(row.payload.maxSize + 1))
    await expectRefused(backend, session, 'BAD_PAYLOAD')
    if (row.payload.minSize > 0) {
      session.sendMessage(row.id, NEED_REPLY, new Uint8Array(row.payload.minSize - 1))
      await expectRefused(backend, session, 'BAD_PAYLOAD')
    }
    session.sendMessage(row.id, VERSION, new Uint8Array(row.payload.maxSize + 1))
    await expectSentAway(backend, session, 'BAD_PAYLOAD')
  })
})

describe('a request of a feature that was not negotiated is refused', () => {
  const gated = allRequests.filter(name => FRONTEND_REQUESTS[name].gate !== undefined)
  test.each(gated)('%s', async name => {
    const row: AnyRequestRow = FRONTEND_REQUESTS[name]
    const backend = serve()
    const session = backend.connect()
    const send = (flags: number) => session.sendMessage(row.id, flags, new Uint8Array(row.payload.minSize))
    const code = reasonWithheld(name, row.gate) ? 'UNSUPPORTED_REQUEST' : 'NOT_NEGOTIATED'
    if (row.reply) {
      send(VERSION)
      await expectSentAway(backend, session, code)
    } else {
      send(NEED_REPLY)
      await expectRefused(backend, session, code)
    }
  })
})

test('features that were not offered are refused', async () => {
  const backend = serve()
  const session = backend.connect()
  session.sendMessage(2, NEED_REPLY, longs(1n << 34n))
  await expectRefused(backend, session, 'BAD_FEATURES')
  session.sendMessage(16, NEED_REPLY, longs(1n << 14n))
  await expectRefused(backend, session, 'BAD_FEATURES')
})

describe('descriptors that do not belong to the message are refused and closed', () => {
  const cases: [string, number, Uint8Array, () => number[], string][] = [
    ['one where none belongs', 3, NOTHING, () => [eventFd()], 'BAD_DESCRIPTORS'],
    ['none where one belongs', 12, longs(0), () => [], 'BAD_DESCRIPTORS'],
    ['two where one belongs', 12, longs(0), () => [eventFd(), eventFd()], 'BAD_DESCRIPTORS'],
    ['one beside the no-descriptor bit', 13, longs(0x100), () => [eventFd()], 'BAD_DESCRIPTORS'],
    ['a folder to be kicked by', 12, longs(0), () => [openFolder()], 'BAD_DESCRIPTORS'],
    ['a memory file to be kicked by', 12, longs(0), () => [memFd(4096)], 'BAD_DESCRIPTORS'],
    ['an eventfd as memory', 5, table({}), () => [eventFd()], 'BAD_MEMORY'],
    ['a folder as memory', 5, table({}), () => [openFolder()], 'BAD_MEMORY'],
    ['a memory file that is too short', 5, table({}), () => [memFd(MIB - 1)], 'BAD_MEMORY'],
    [
      'a memory file that is too short for the offset',
      5,
      table({ offset: 4096 }),
      () => [memFd(MIB)],
      'BAD_MEMORY',
    ],
    ['a memory file without content', 5, table({}), () => [memFd(0)], 'BAD_MEMORY'],
    ['32 of them', 1 + 2, NOTHING, () => Array.from({ length: 32 }, eventFd), 'BAD_DESCRIPTORS'],
  ]

  test.each(cases)('%s', async (_name, request, payload, fds, code) => {
    const backend = serve()
    const session = backend.connect()
    await session.request('GET_FEATURES')
    const given = fds()
    const before = await openDescriptors()
    session.sendMessage(request, NEED_REPLY, payload, given)
    await expectRefused(backend, session, code)
    expect(await openDescriptors()).toBe(before)
    expect(guestMappings()).toBe(0)
  })

  test('more than a message can have, trickling in byte by byte', async () => {
    const backend = serve()
    const session = backend.connect()
    const fds = Array.from({ length: 12 }, eventFd)
    for (const byte of header(3, NEED_REPLY, 0)) session.sendBytes(Uint8Array.of(byte), fds)
    await expectSentAway(backend, session, 'BAD_DESCRIPTORS')
  })

  test('as many as a message can carry', async () => {
    const backend = serve()
    const session = backend.connect()
    await session.request('GET_FEATURES')
    const fds = Array.from({ length: 253 }, eventFd)
    const before = await openDescriptors()
    session.sendMessage(3, NEED_REPLY, NOTHING, fds)
    await expectSentAway(backend, session, 'BAD_DESCRIPTORS')
    expect(await openDescriptors()).toBeLessThanOrEqual(before + 1)
  })

  // readlink tells no path of more than 4096 bytes.
  test('one whose name is too long to be told', async () => {
    const backend = serve()
    const session = backend.connect()
    await session.request('GET_FEATURES')
    const folder = temporaryFolder()
    // Node's own rm cannot.
    onTestFinished(() => void spawnSync('rm', ['-rf', folder]))
    let fd = openSync(folder, 'r')
    for (let depth = 0; depth < 20; depth++) {
      const next = join(`/proc/self/fd/${fd}`, 'x'.repeat(250))
      mkdirSync(next)
      const deeper = openSync(next, 'r')
      closeSync(fd)
      fd = deeper
    }
    onTestFinished(() => closeSync(fd))
    session.sendMessage(5, NEED_REPLY, table({ size: MIB }), [fd])
    await expectSentAway(backend, session, 'BAD_DESCRIPTORS')
  })

  function openFolder(): number {
    const fd = openSync('/tmp', 'r')
    onTestFinished(() => closeSync(fd))
    return fd
  }
})

describe('a front-end that vanishes leaves nothing behind', () => {
  const steps: [string, (session: FrontendSession) => unknown][] = [
    ['after connecting', () => {}],
    ['inside a header', session => session.sendBytes(header(1, 1, 0).subarray(0, 7))],
    [
      'inside a payload, with descriptors',
      session => session.sendBytes(Uint8Array.of(...header(5, 1, 40), 1), [eventFd()]),
    ],
    [
      'with a header of descriptors only',
      session => session.sendBytes(Uint8Array.of(12), [eventFd(), eventFd()]),
    ],
    ['after the handshake', session => session.handshake()],
    [
      'with replies unread',
      session => {
        for (let i = 0; i < 100; i++) session.sendMessage(1, 1, NOTHING)
      },
    ],
    [
      'with memory',
      async session => {
        await session.handshake()
        await session.addMemory(guestMemory())
      },
    ],
    [
      'with a ring',
      async session => {
        await session.handshake()
        await session.addMemory(guestMemory())
        await session.startRing(RING)
      },
    ],
  ]
  test.each(steps)('%s', async (_name, step) => {
    const backend = serve()
    const session = backend.connect()
    await session.request('GET_FEATURES')
    session.close()
    await until(() => backend.disconnects.length === 1)
    const before = await openDescriptors()

    const second = backend.connect()
    await until(() => backend.server.connected)
    await step(second)
    const kept = await openDescriptors()
    second.close()
    await until(() => backend.disconnects.length === 2)
    // What the test itself still holds: its memory file and eventfds, closed when it ends.
    expect(await openDescriptors()).toBeLessThan(kept)
    expect(backend.device.regions).toEqual([])
    const third = backend.connect()
    expect(await third.request('GET_FEATURES')).toBe(0x1_7000_0000n)
    third.close()
    await until(() => backend.disconnects.length === 3)
    expect((await openDescriptors()) - before).toBeLessThanOrEqual(2)
  })
})

test('a message may come byte by byte, its descriptor with any of the header’s', async () => {
  const backend = serve()
  const session = backend.connect()
  await session.handshake()
  const message = Uint8Array.of(...header(12, NEED_REPLY, 8), ...longs(1))
  for (const [i, byte] of message.entries()) {
    session.sendBytes(Uint8Array.of(byte), i === 3 ? [eventFd()] : [])
    if (i % 5 === 0) await new Promise(resolve => setTimeout(resolve, 1))
  }
  expect([...(await session.reply()).payload]).toEqual([...longs(0)])
})

test('a front-end that does not read its replies is not read from, and gets them all in the end', async () => {
  const backend = serve()
  const session = backend.connect()
  const count = 20_000
  const replies = Array.from({ length: count }, () => session.reply())
  for (let i = 0; i < count; i++) session.sendMessage(i % 2 ? 1 : 15, VERSION, NOTHING)
  const requests = (await Promise.all(replies)).map(({ request }) => request)
  expect(requests.every((request, i) => request === (i % 2 ? 1 : 15))).toBe(true)
})

test('a front-end that never reads is soon not read from', async () => {
  const backend = serve()
  const socket = connectSocket(backend.path)
  onTestFinished(() => closeSync(socket))
  const question = new NativeBuffer(12)
  question.bytes.set(header(1, VERSION, 0))
  let sent = 0
  for (let idle = 0; idle < 20 && sent < 50_000; idle++) {
    while (send(socket, question, 0, 12, []) !== undefined) {
      sent++
      idle = 0
    }
    await new Promise(resolve => setTimeout(resolve, 1))
  }
  expect(sent).toBeLessThan(50_000)
})

test('any bytes at all leave the back-end serving', async () => {
  const backend = serve()
  const memory = memFd(MIB)
  const fds = fc.array(fc.constantFrom(eventFd(), memory), { maxLength: 3 })
  const message = fc
    .tuple(
      fc.oneof(fc.integer({ min: 1, max: 45 }), fc.nat()),
      fc.constantFrom(1, 1, 9, 9, 5, 0, 0x11),
      fc.oneof(
        fc.uint8Array({ maxLength: 48 }),
        fc.constantFrom(words(0, 1), words(1, 256), longs(0), longs(1), table({})),
      ),
      fds,
    )
    .map(([request, flags, payload, sent]) => ({
      bytes: Uint8Array.of(...header(request, flags, payload.length), ...payload),
      sent,
    }))
  const noise = fc
    .tuple(fc.uint8Array({ minLength: 1, maxLength: 64 }), fds)
    .map(([bytes, sent]) => ({ bytes, sent }))
  let served = 0
  const before = await openDescriptors()
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof({ weight: 9, arbitrary: message }, noise), { maxLength: 20 }),
      async writes => {
        const session = backend.connect()
        for (const { bytes, sent } of writes) {
          if (session.endedBy === undefined) session.sendBytes(bytes, sent)
        }
        session.close()
        served++
        await until(() => backend.disconnects.length === served)
        expect(await openDescriptors()).toBe(before)
        expect(guestMappings()).toBe(0)
      },
    ),
    { numRuns: 200 },
  )
  expect(await backend.connect().request('GET_FEATURES')).toBe(0x1_7000_0000n)
})
