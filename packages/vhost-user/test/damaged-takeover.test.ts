// What came back from the store is damaged: other kinds of files than were stored, files that have become shorter, names that
// nobody knows, a record that makes no sense. The next server must serve on, whatever becomes of the session.

import { closeSync, ftruncateSync, openSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { FrontendSession } from '../src/frontend-session.ts'
import { createEventFd } from '../src/sys/eventfd.ts'
import { checked, closeFd, libc } from '../src/sys/libc.ts'
import { Mapping } from '../src/sys/mapping.ts'
import { createMemFd } from '../src/sys/memfd.ts'
import { createPipe } from '../src/sys/pipe.ts'
import { createSocketPair } from '../src/sys/unix-socket.ts'
import { MOST_TAKEOVERS } from '../src/takeover/found-session.ts'
import type { InProcessFdStore } from '../src/takeover/in-process-store.ts'
import { SessionRecord } from '../src/takeover/session-record.ts'
import { type Life, live, type Scene, scene, succeed } from './lives.ts'
import { guestMemory, openDescriptors, RING, temporaryFolder, until } from './peers.ts'

/** Each makes a descriptor that the caller owns. */
const KINDS: Record<string, () => number> = {
  'a memory file of another size': () => createMemFd('other', 4096),
  'an empty memory file': () => createMemFd('empty', 0),
  'an eventfd': () => createEventFd(),
  'the null device': () => openSync('/dev/null', 'r+'),
  'a folder': () => openSync('/', 'r'),
  'a file of proc': () => openSync('/proc/self/maps', 'r'),
  'a socket without a peer': () => {
    const [one, other] = createSocketPair()
    closeFd(other)
    return one
  },
  'the reading end of a pipe that nobody writes': () => {
    const { readEnd, writeEnd } = createPipe()
    closeFd(writeEnd)
    return readEnd
  },
  // SAFETY: no memory is passed.
  'an epoll instance': () => checked('epoll_create1', libc.epollCreate1(0)),
}

const PIECES = [
  ...['record', 'rings', 'connection', 'ADD_MEM_REG', 'SET_VRING_KICK', 'SET_VRING_CALL', 'SET_VRING_ERR'],
  ...['SET_INFLIGHT_FD', 'SET_BACKEND_REQ_FD'],
]

/** A session of everything that a store can keep. */
async function wholeScene(): Promise<Scene & { release(): void }> {
  const made = await scene()
  const { session } = made
  const memory = guestMemory()
  await session.addMemory(memory)
  const inflight = await session.createInflight(2, 256)
  await session.useInflight(inflight)
  closeFd(inflight.fd)
  await session.openChannel({ configChanged: () => undefined })
  await session.startRing(RING)
  await made.first.server.leave()
  return { ...made, release: () => memory.close() }
}

/** Puts another file in the place of the one that is stored under the name. */
async function replace(store: InProcessFdStore, name: string, fd: number): Promise<void> {
  await store.remove([name])
  closeFd(store.claim(name)!)
  await store.put(new Map([[name, fd]]))
  ;(store.inherited as Map<string, number>).set(name, fd)
}

/** The next front-end is served, and everything of the damaged session is gone when it has left. */
async function expectServed(
  path: string,
  { device }: Life,
  store: InProcessFdStore,
  old: FrontendSession,
): Promise<void> {
  old.close()
  await until(() => store.names.length === 0)
  const session = FrontendSession.connect(path)
  await session.handshake()
  const memory = guestMemory()
  await session.addMemory(memory)
  await session.startRing(RING)
  expect(device.log.at(-1)).toBe(`start ${RING.index} base 0`)
  session.close()
  memory.close()
  await until(() => store.names.length === 0)
}

test.each(PIECES)('a session whose %s is of another kind', { timeout: 60_000 }, async what => {
  let before: number | undefined
  for (const [kind, make] of Object.entries(KINDS)) {
    const made = await wholeScene()
    const next = succeed(made.store)
    const name = next.names.find(candidate => candidate.endsWith(what))!
    await replace(next, name, make())
    const second = live(made.path, next)
    for (const { code } of second.errors)
      expect([kind, code]).toEqual([kind, expect.stringMatching(/TAKEOVER|BAD_|DEVICE/)])
    await expectServed(made.path, second, next, made.session)
    await second.server.close()
    made.release()
    next.close()
    await new Promise(resolve => setTimeout(resolve, 10))
    before ??= await openDescriptors()
  }
  // A thread may still be reading the channel.
  await expect.poll(openDescriptors).toBe(before)
})

test('a session whose front-end has left and whose memory file has become shorter meanwhile', async () => {
  const { path, store, first, session } = await scene()
  const file = openSync(join(temporaryFolder(), 'memory'), 'w+')
  onTestFinished(() => closeSync(file))
  ftruncateSync(file, 1 << 20)
  const region = { guestAddress: 0, userAddress: 0x10_0000, size: 1 << 20, mmapOffset: 0 }
  await session.requestWithFds('ADD_MEM_REG', { region }, [file])
  await first.server.leave()
  ftruncateSync(file, 4096)
  const next = succeed(store)
  const second = live(path, next)
  await until(() => second.disconnects.length === 1)
  expect(second.disconnects).toEqual([expect.objectContaining({ code: 'TAKEOVER' })])
  await expectServed(path, second, next, session)
})

test('a store with names that nobody knows, and with one file under two names', async () => {
  const { path, store, session } = await wholeScene()
  const one = createMemFd('one', 4096)
  const two = createMemFd('two', 4096)
  onTestFinished(() => [one, two].forEach(closeFd))
  await store.put(
    new Map([
      ['vhost-user-', one],
      ['vhost-user-x-record-of-none', two],
      ['another', openSync('/dev/null', 'r')],
    ]),
  )
  const next = succeed(store)
  // As a manager has it that cannot tell open files apart, or two files under one name.
  const inherited = next.inherited as Map<string, number>
  const [connection, fd] = [...inherited].find(([name]) => name.endsWith('connection'))!
  inherited.set(`${connection}:17`, checked('dup', libc.fcntl(fd, 0, 3)))
  const second = live(path, next)
  expect(second.takeovers).toEqual(['taken over'])
  expect(await session.request('GET_QUEUE_NUM')).toBe(2n)
  expect(second.errors).toEqual([])
  expect(next.names.filter(name => /-$|none|^another$/.test(name))).toEqual(['another'])
  session.close()
  await until(() => next.names.length === 1)
})

const SLOTS = [4096, 4096 + (256 << 10)]

test('a record with anything in it', { timeout: 120_000 }, async () => {
  const word = fc.oneof(fc.nat(8), fc.nat(600_000), fc.nat(0xffff_ffff))
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(4), word), { maxLength: 2 }),
      fc.array(fc.tuple(fc.nat(3), word), { maxLength: 3 }),
      fc.array(fc.tuple(fc.nat(1600), fc.nat(127)), { maxLength: 4 }),
      async (header, slot, text) => {
        const { path, store, session } = await wholeScene()
        const next = succeed(store)
        const { pieces, unmap } = mapRecord(next)
        const words = new Uint32Array(pieces[0]!)
        for (const [at, value] of header) words[at] = value
        for (const start of SLOTS) {
          for (const [at, value] of slot) words[start / 4 + at] = value
          for (const [at, value] of text) new Uint8Array(pieces[0]!)[start + 16 + at] = value
        }
        unmap()
        const second = live(path, next)
        await expectServed(path, second, next, session)
        await second.server.close()
      },
    ),
    { numRuns: 100 },
  )
})

function mapRecord(store: InProcessFdStore) {
  const [, fd] = [...store.inherited].find(([name]) => name.endsWith('record'))!
  const mapping = new Mapping({ fd, offset: 0, size: 4096 + (512 << 10) })
  return { pieces: mapping.pieces, unmap: () => mapping.unmap() }
}

test('a session that has ended as many processes as have tried is given up, in one line', async () => {
  const { path, store, session } = await wholeScene()
  const next = succeed(store)
  const [, fd] = [...next.inherited].find(([name]) => name.endsWith('record'))!
  const record = new SessionRecord(fd)
  expect(record.takeovers).toBe(0)
  record.takeovers = MOST_TAKEOVERS
  record.unmap()
  const second = live(path, next)
  expect(second.errors.map(({ message }) => message)).toEqual([expect.stringContaining('given up')])
  await expect(session.request('GET_FEATURES')).rejects.toMatchObject({ code: 'PEER_CLOSED' })
  await expectServed(path, second, next, session)
})

test('a session that goes on has ended nobody', async () => {
  const { store, session, path } = await wholeScene()
  const next = succeed(store)
  const [, fd] = [...next.inherited].find(([name]) => name.endsWith('record'))!
  const record = new SessionRecord(fd)
  onTestFinished(() => record.unmap())
  live(path, next)
  await until(() => record.takeovers === 0)
  expect(await session.request('GET_QUEUE_NUM')).toBe(2n)
})

test('a connection that was stored and not yet read is served as if it had just come', async () => {
  const { path, store, session } = await scene()
  session.close()
  await until(() => store.names.length === 0)
  const before = await openDescriptors()
  const [mine, theirs] = createSocketPair()
  const recordFd = SessionRecord.create()
  new SessionRecord(recordFd).unmap()
  const rings = createMemFd('rings', 4096)
  const stored = { record: recordFd, rings, connection: theirs }
  await store.put(new Map(Object.entries(stored).map(([what, fd], i) => [`vhost-user-${i}-${what}`, fd])))
  for (const fd of Object.values(stored)) closeFd(fd)
  const next = succeed(store)
  const second = live(`${path}-2`, next)
  const other = new FrontendSession(mine)
  await other.handshake()
  expect(await other.request('GET_QUEUE_NUM')).toBe(2n)
  expect(second.errors).toEqual([])
  other.close()
  await until(() => next.names.length === 0)
  await second.server.close()
  // A thread may still be reading the channel.
  await expect.poll(openDescriptors).toBe(before)
})

test('what is left of a session that was over is nothing to tell of', async () => {
  const { path, store } = await wholeScene()
  const next = succeed(store)
  const [, fd] = [...next.inherited].find(([name]) => name.endsWith('record'))!
  const record = new SessionRecord(fd)
  record.end()
  record.unmap()
  // The first that go when a session is forgotten are those that came last.
  for (const name of [...next.names].slice(-2)) {
    await next.remove([name])
    closeFd(next.claim(name)!)
  }
  const second = live(path, next)
  expect(second.errors).toEqual([])
  expect(second.takeovers).toEqual([])
  await until(() => next.names.length === 0)
})
