// The classes that stand before the system calls: what would abort or hang the process must be an ordinary error.

import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createEventFd, drainEventFd, signalEventFd } from '../src/sys/eventfd.ts'
import { FdPoll } from '../src/sys/fd-poll.ts'
import { closeFd, duplicateFd, NativeBuffer } from '../src/sys/libc.ts'
import { MAX_PIECE_SIZE, Mapping } from '../src/sys/mapping.ts'
import { createMemFd } from '../src/sys/memfd.ts'
import { createSocketPair, receive, send } from '../src/sys/unix-socket.ts'
import { openDescriptors, temporaryFolder, until } from './peers.ts'

const own = (fd: number) => {
  onTestFinished(() => closeSync(fd))
  return fd
}

test('an eventfd counts, and draining an empty one does not wait', () => {
  const fd = own(createEventFd())
  expect(drainEventFd(fd)).toBe(false)
  signalEventFd(fd)
  signalEventFd(fd)
  expect([drainEventFd(fd), drainEventFd(fd)]).toEqual([true, false])
})

// With one that blocks too: vring.test.ts, since the emulator of another processor has not all of the calls.
test('a full eventfd is signalled, and an empty one drained, at once', () => {
  const fd = own(createEventFd())
  expect(drainEventFd(fd)).toBe(false)
  const full = Buffer.alloc(8)
  full.writeBigUInt64LE(2n ** 64n - 2n)
  writeFileSync(fd, full)
  for (let i = 0; i < 3; i++) signalEventFd(fd)
  expect(drainEventFd(fd)).toBe(true)
  expect(drainEventFd(fd)).toBe(false)
})

test('an eventfd is signalled a thousand times in a row', () => {
  const fd = own(createEventFd())
  for (let i = 0; i < 1000; i++) signalEventFd(fd)
  const count = Buffer.alloc(8)
  expect(readSync(fd, count)).toBe(8)
  expect(count.readBigUInt64LE()).toBe(1000n)
})

test('a closed descriptor is an error with its errno', () => {
  expect(() => signalEventFd(9999)).toThrow(expect.objectContaining({ code: 'SYSTEM_CALL', errno: 'EBADF' }))
  expect(() => drainEventFd(9999)).toThrow(expect.objectContaining({ syscall: 'read', errno: 'EBADF' }))
  expect(() => closeFd(-1)).toThrow(expect.objectContaining({ syscall: 'close', errno: 'EBADF' }))
})

test('what the descriptors of this package are: close-on-exec', async () => {
  const { readFileSync } = await import('node:fs')
  const flags = (fd: number) =>
    Number.parseInt(/flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] as string, 8)
  const [left, right] = createSocketPair().map(own) as [number, number]
  const sent = own(createEventFd())
  send(left, new NativeBuffer(1), 0, 1, [sent])
  const received: number[] = []
  receive(right, new NativeBuffer(1), 0, 1, received)
  const all = [
    left,
    right,
    sent,
    own(received[0] as number),
    own(duplicateFd(sent)),
    own(createMemFd('test', 1)),
  ]
  for (const fd of all) expect(flags(fd) & 0o2000000).toBe(0o2000000)
})

test('a mapping begins at its offset, shares the file, and ends with unmap', () => {
  const fd = own(createMemFd('test', 3 * 4096))
  const [whole, part] = [
    new Mapping({ fd, offset: 0, size: 3 * 4096 }),
    new Mapping({ fd, offset: 4096, size: 100 }),
  ]
  new Uint8Array(whole.pieces[0] as ArrayBuffer)[4096 + 7] = 42
  expect(part.pieces.map(piece => piece.byteLength)).toEqual([100])
  expect(new Uint8Array(part.pieces[0] as ArrayBuffer)[7]).toBe(42)
  for (const mapping of [whole, part]) {
    mapping.unmap()
    mapping.unmap()
  }
})

test('a mapping of more than a piece is several, which meet without a gap', () => {
  const size = 2 * MAX_PIECE_SIZE + 4096
  const fd = own(createMemFd('test', size + 4096))
  const mapping = new Mapping({ fd, offset: 4096, size })
  expect(mapping.pieces.map(piece => piece.byteLength)).toEqual([MAX_PIECE_SIZE, MAX_PIECE_SIZE, 4096])
  const border = new Mapping({ fd, offset: MAX_PIECE_SIZE, size: 8192 })
  const bytes = new Uint8Array(border.pieces[0] as ArrayBuffer)
  new Uint8Array(mapping.pieces[0] as ArrayBuffer)[MAX_PIECE_SIZE - 1] = 1
  new Uint8Array(mapping.pieces[1] as ArrayBuffer)[0] = 2
  expect([bytes[4095], bytes[4096]]).toEqual([1, 2])
  mapping.unmap()
  border.unmap()
})

test('what is not a file that is long enough cannot be mapped', () => {
  const fd = own(createMemFd('test', 8192))
  const bad = expect.objectContaining({ code: 'BAD_MEMORY' })
  expect(() => new Mapping({ fd, offset: 4096, size: 4097 })).toThrow(bad)
  expect(() => new Mapping({ fd, offset: 0, size: 0 })).toThrow(bad)
  expect(() => new Mapping({ fd, offset: 100, size: 100 })).toThrow(bad)
  expect(() => new Mapping({ fd, offset: 4096, size: Number.MAX_SAFE_INTEGER })).toThrow(bad)
  expect(() => new Mapping({ fd: own(createEventFd()), offset: 0, size: 1 })).toThrow(bad)
  expect(() => new Mapping({ fd: own(openSync('/dev/zero', 'r+')), offset: 0, size: 1 })).toThrow(bad)
  ftruncateSync(fd, 0)
  expect(() => new Mapping({ fd, offset: 0, size: 1 })).toThrow(bad)
})

test('a file opened for reading cannot be mapped', () => {
  const path = join(temporaryFolder(), 'file')
  writeFileSync(path, Buffer.alloc(4096))
  const fd = own(openSync(path, 'r'))
  expect(() => new Mapping({ fd, offset: 0, size: 4096 })).toThrow(
    expect.objectContaining({ code: 'BAD_MEMORY', syscall: 'mmap', errno: 'EACCES' }),
  )
})

const ignore = { ready: () => {}, failed: () => {} }

test('descriptors that cannot be polled, or are polled already, are an ordinary error', async () => {
  const bad = expect.objectContaining({ code: 'BAD_DESCRIPTORS' })
  const before = await openDescriptors()
  expect(() => new FdPoll(9999, { readable: true }, ignore)).toThrow(bad)
  expect(() => new FdPoll(-1, { readable: true }, ignore)).toThrow(bad)
  const file = own(createMemFd('test', 1))
  expect(() => new FdPoll(file, { readable: true }, ignore)).toThrow(bad)
  const fd = own(createEventFd())
  const poll = new FdPoll(fd, { readable: true }, ignore)
  expect(() => new FdPoll(fd, { readable: true }, ignore)).toThrow(bad)
  poll.close()
  poll.close()
  poll.watch({ readable: true })
  poll.pause()
  new FdPoll(fd, { readable: true }, ignore).close()
  expect(await openDescriptors()).toBe(before + 2)
})

test('a callback that throws is heard of, and polling goes on', async () => {
  const fd = own(createEventFd())
  const heard: unknown[] = []
  let calls = 0
  const poll = new FdPoll(
    fd,
    { readable: true },
    {
      ready: () => {
        drainEventFd(fd)
        calls++
        if (calls === 1) throw new Error('first')
      },
      failed: error => heard.push(error),
    },
  )
  onTestFinished(() => poll.close())
  signalEventFd(fd)
  await until(() => calls === 1)
  signalEventFd(fd)
  await until(() => calls === 2)
  expect(heard).toEqual([new Error('first')])
})

test('a promise that a poll callback settles is continued before the next turn of the event loop', async () => {
  const fd = own(createEventFd())
  const events: string[] = []
  const poll = new FdPoll(
    fd,
    { readable: true },
    {
      ...ignore,
      ready: () => {
        events.push('callback')
        // The descriptor stays readable, so the second callback comes in the next turn.
        if (events.length === 1) void Promise.resolve().then(() => events.push('continuation'))
        else drainEventFd(fd)
      },
    },
  )
  onTestFinished(() => poll.close())
  signalEventFd(fd)
  await until(() => events.length >= 3)
  expect(events).toEqual(['callback', 'continuation', 'callback'])
})

test('a paused poll stays silent until it watches again', async () => {
  const fd = own(createEventFd())
  let calls = 0
  const poll = new FdPoll(
    fd,
    { readable: true },
    {
      ...ignore,
      ready: () => {
        drainEventFd(fd)
        calls++
      },
    },
  )
  onTestFinished(() => poll.close())
  poll.pause()
  signalEventFd(fd)
  await new Promise(resolve => setTimeout(resolve, 5))
  expect(calls).toBe(0)
  poll.watch({ readable: true })
  await until(() => calls === 1)
})

test('descriptors travel with the bytes they were sent with, as many as fit', () => {
  const [left, right] = createSocketPair().map(own) as [number, number]
  const data = new NativeBuffer(8)
  const sent = Array.from({ length: 253 }, () => own(createEventFd()))
  expect(send(left, data, 0, 4, [])).toBe(4)
  expect(send(left, data, 0, 8, sent)).toBe(8)
  const first: number[] = []
  expect(receive(right, data, 0, 4, first)).toBe(4)
  expect(first).toEqual([])
  const received: number[] = []
  expect(receive(right, data, 0, 8, received)).toBe(8)
  for (const fd of received) own(fd)
  expect(received.map(fd => fstatSync(fd).ino)).toEqual(sent.map(fd => fstatSync(fd).ino))
  expect(receive(right, data, 0, 8, [])).toBeUndefined()
  expect(() => send(left, data, 0, 8, [...sent, sent[0] as number])).toThrow(
    expect.objectContaining({ code: 'BAD_DESCRIPTORS' }),
  )
})

test('a peer that is gone is the end of the stream, and EPIPE for the writer', () => {
  const [left, right] = createSocketPair()
  own(left)
  closeSync(right)
  const data = new NativeBuffer(8)
  expect(receive(left, data, 0, 8, [])).toBe(0)
  expect(() => send(left, data, 0, 8, [])).toThrow(
    expect.objectContaining({ syscall: 'sendmsg', errno: 'EPIPE' }),
  )
})
