// Memory and rings that a front-end may announce but must not get: refused, and what was there before stays.

import { closeSync, ftruncateSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { isGuarded } from '../src/sys/bus-guard.ts'
import {
  eventFd,
  expectRefused,
  expectSentAway,
  longs,
  memFd,
  NEED_REPLY,
  table,
  VERSION,
  words,
} from './hostility.ts'
import { guestMappings, guestMemory, MIB, openDescriptors, serve, temporaryFolder, until } from './peers.ts'

const fileMappings = (path: string) => readFileSync('/proc/self/maps', 'utf8').split(path).length - 1

describe('memory that cannot be is refused, and the old table stays', () => {
  const apart = { guest: 0x1000_0000, user: 0x7f00_1000_0000 }
  test.each<[string, Uint8Array, number]>([
    ['no bytes', table({ size: 0 }), 1],
    ['an end beyond 2^53-1', table({ size: Number.MAX_SAFE_INTEGER - 4095, guest: 8192 }), 1],
    ['an end beyond 2^64', table({ size: 2n ** 64n - 4096n, guest: 8192 }), 1],
    ['a file offset that overflows', table({ offset: 2n ** 64n - 4096n }), 1],
    ['a guest address that is not page-aligned', table({ guest: 512 }), 1],
    ['a user address that is not page-aligned', table({ user: 0x7f00_0000_0001 }), 1],
    ['a file offset that is not page-aligned', table({ offset: 2048 }), 1],
    ['two regions on one guest address', table({}, { ...apart, guest: MIB - 4096 }), 2],
    ['two regions on one user address', table({}, { ...apart, user: 0x7f00_0000_1000 }), 2],
    ['the second of two regions too long for its file', table({}, { ...apart, size: 2 * MIB }), 2],
  ])('%s', async (_name, payload, count) => {
    const backend = serve()
    const session = backend.connect()
    await session.handshake({ protocolFeatures: ['REPLY_ACK'] })
    await session.addMemory(guestMemory())
    const mapped = guestMappings()
    const fd = memFd(MIB)
    session.sendMessage(5, NEED_REPLY, payload, new Array(count).fill(fd))
    const code =
      payload.some((byte, i) => i >= 8 && byte === 0xff) && !/2\^53/.test(_name)
        ? 'BAD_PAYLOAD'
        : 'BAD_MEMORY'
    await expectRefused(backend, session, code)
    expect(guestMappings()).toBe(mapped)
    expect(backend.device.regions.map(({ guestAddress }) => guestAddress)).toEqual([0, 0x1_0000_0000])
  })

  test('nine regions in one table', async () => {
    const backend = serve()
    const session = backend.connect()
    const regions = Array.from({ length: 9 }, (_, i) => ({
      guest: i * MIB,
      user: 0x7f00_0000_0000 + i * MIB,
    }))
    session.sendMessage(5, NEED_REPLY, table(...regions), new Array(9).fill(memFd(MIB)))
    await expectRefused(backend, session, 'BAD_PAYLOAD')
  })

  test('an added region over another, and the removal of one that never was', async () => {
    const backend = serve()
    const session = backend.connect()
    await session.handshake()
    await session.addMemory(guestMemory())
    session.sendMessage(37, NEED_REPLY, longs(0, 0, 4096, 0x1000, 0), [memFd(4096)])
    await expectRefused(backend, session, 'BAD_MEMORY')
    session.sendMessage(38, NEED_REPLY, longs(0, 0, 4096, 0x1000, 0))
    await expectRefused(backend, session, 'BAD_MEMORY')
  })

  test('more regions than there are slots', async () => {
    const backend = serve()
    const session = backend.connect()
    const { memorySlots } = await session.handshake()
    const fd = memFd(4096)
    for (let i = 0; i < memorySlots; i++) {
      const region = {
        guestAddress: i * 4096,
        userAddress: 0x7f00_0000_0000 + i * 4096,
        size: 4096,
        mmapOffset: 0,
      }
      await session.request('ADD_MEM_REG', { region }, [fd])
    }
    const one = { guestAddress: 2 ** 40, userAddress: 2 ** 40, size: 4096, mmapOffset: 0 }
    await expect(session.request('ADD_MEM_REG', { region: one }, [fd])).rejects.toMatchObject({
      code: 'REFUSED',
    })
    expect(guestMappings()).toBe(memorySlots)
  })

  test('an ordinary file that is shortened after it was checked is not touched by the session', async () => {
    const backend = serve()
    const session = backend.connect()
    await session.handshake()
    const path = join(temporaryFolder(), 'memory')
    writeFileSync(path, Buffer.alloc(MIB))
    const fd = openSync(path, 'r+')
    onTestFinished(() => closeSync(fd))
    const before = fileMappings(path)
    await session.request(
      'ADD_MEM_REG',
      { region: { guestAddress: 0, userAddress: 0, size: MIB, mmapOffset: 0 } },
      [fd],
    )
    expect(fileMappings(path)).toBe(before + 1)
    ftruncateSync(fd, 0)
    session.close()
    await until(() => backend.disconnects.length === 1)
    expect(fileMappings(path)).toBe(before)
  })
})

describe('a front-end that shortens its memory file under a running ring (needs x86-64 or arm64)', () => {
  const onDisk = () => {
    const path = join(temporaryFolder(), 'memory')
    writeFileSync(path, Buffer.alloc(MIB))
    const fd = openSync(path, 'r+')
    onTestFinished(() => closeSync(fd))
    return fd
  }
  const kinds = { 'a memfd': () => memFd(MIB), 'a file on the disk': onDisk }
  test.skipIf(!isGuarded).each(Object.entries(kinds))('%s: is sent away', async (_kind, make) => {
    const backend = serve()
    const session = backend.connect()
    await session.handshake()
    const fd = make()
    const region = { guestAddress: 0, userAddress: 0, size: MIB, mmapOffset: 0 }
    await session.request('ADD_MEM_REG', { region }, [fd])
    ftruncateSync(fd, 0)
    expect(new Uint8Array(backend.device.regions[0]!.pieces[0]!)[0]).toBe(0)
    await until(() => backend.disconnects.length === 1)
    expect(backend.disconnects[0]).toMatchObject({ code: 'BAD_MEMORY' })
    await backend.connect().handshake()
  })
})

describe('rings that cannot be are refused', () => {
  const addresses = (index: number, flags: number, ...parts: number[]) =>
    Uint8Array.of(...words(index, flags), ...longs(...parts, 0))
  test.each<[string, number, Uint8Array]>([
    ['a size for a ring that does not exist', 8, words(2, 256)],
    ['addresses for a ring that does not exist', 9, addresses(0xffffffff, 0, 0, 0, 0)],
    ['a base for a ring that does not exist', 10, words(255, 0)],
    ['a ring enabled that does not exist', 18, words(2, 1)],
    ['a size of 0', 8, words(0, 0)],
    ['a size that is not a power of two', 8, words(0, 100)],
    ['a size above 32768', 8, words(0, 65536)],
    ['a base beyond 16 bits', 10, words(0, 0x10000)],
    ['descriptors that are not aligned', 9, addresses(0, 0, 8, 0, 0)],
    ['a used ring that is not aligned', 9, addresses(0, 0, 0, 2, 0)],
    ['an available ring that is not aligned', 9, addresses(0, 0, 0, 0, 1)],
    ['logging that was not negotiated', 9, addresses(0, 1, 0, 0, 0)],
    ['a ring enabled twice over', 18, words(0, 2)],
  ])('%s', async (_name, request, payload) => {
    const backend = serve()
    const session = backend.connect()
    await session.handshake()
    session.sendMessage(request, NEED_REPLY, payload)
    await expectRefused(backend, session, 'BAD_RING')
  })

  test('a kick for a ring that does not exist does not leak its descriptor', async () => {
    const backend = serve()
    const session = backend.connect()
    await session.handshake()
    const fd = eventFd()
    const before = await openDescriptors()
    session.sendMessage(12, NEED_REPLY, longs(200), [fd])
    await expectRefused(backend, session, 'BAD_RING')
    expect(await openDescriptors()).toBe(before)
  })

  test('asking for the base of a ring that does not exist ends the session: it has no other answer', async () => {
    const backend = serve()
    const session = backend.connect()
    session.sendMessage(11, VERSION, words(9, 0))
    await expectSentAway(backend, session, 'BAD_RING')
  })
})
