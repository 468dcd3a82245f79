// The record of buffers in flight, as the protocol carries it: who makes the memory, which part each ring gets, how long it
// lives. What a device writes there is tested with virtqueues.

import { readFileSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import type { FrontendSession, InflightMemory } from '../src/frontend-session.ts'
import { closeFd } from '../src/sys/libc.ts'
import { createMemFd } from '../src/sys/memfd.ts'
import { guestMemory, openDescriptors, RING, serve, until } from './peers.ts'
import { RecordingDevice } from './recording-device.ts'

class RememberingDevice extends RecordingDevice {
  inflightBytes(size: number): number {
    return size * 64
  }

  record(index: number): Uint8Array | undefined {
    return this.rings.get(index)?.config.inflight
  }
}

const recordMappings = () => readFileSync('/proc/self/maps', 'utf8').split('memfd:inflight').length - 1

async function connected() {
  const device = new RememberingDevice()
  const backend = serve({ device })
  const join = async (): Promise<FrontendSession> => {
    const session = backend.connect()
    await session.handshake()
    await session.addMemory(guestMemory())
    return session
  }
  return { ...backend, device, join, session: await join() }
}

const owned = (memory: InflightMemory): InflightMemory => {
  onTestFinished(() => closeFd(memory.fd))
  return memory
}

test('each ring has a part of its own, which is all zero at first and kept for the next connection', async () => {
  const { device, session, join, disconnects } = await connected()
  const memory = owned(await session.createInflight(2, 256))
  expect(memory).toMatchObject({ mmapSize: 2 * 256 * 64, mmapOffset: 0, numQueues: 2, queueSize: 256 })
  await session.useInflight(memory)
  await session.startRing(RING)
  await session.startRing({ ...RING, index: 0, descAddress: 0x1_0001_0000 })
  expect(device.record(1)).toHaveLength(256 * 64)
  expect(device.record(0)?.every(byte => byte === 0)).toBe(true)
  device.record(1)![5] = 0x55
  expect(device.record(0)?.every(byte => byte === 0)).toBe(true)
  session.close()
  await until(() => disconnects.length === 1)

  const next = await join()
  await next.useInflight(memory)
  await next.startRing(RING)
  expect(device.record(1)?.[5]).toBe(0x55)
})

test('a ring that the region has no part for starts without one', async () => {
  const { device, session } = await connected()
  await session.useInflight(owned(await session.createInflight(1, 256)))
  await session.startRing(RING)
  expect(device.record(1)).toBeUndefined()
  await session.startRing({ ...RING, index: 0, size: 512 })
  expect(device.record(0)).toBeUndefined()
})

test('a reset by the driver forgets what was in flight', async () => {
  const { device, session } = await connected()
  await session.useInflight(owned(await session.createInflight(2, 256)))
  await session.startRing(RING)
  device.record(1)!.fill(1)
  await session.request('RESET_DEVICE')
  await session.startRing(RING)
  expect(device.record(1)?.every(byte => byte === 0)).toBe(true)
})

test('the region goes when another comes and when the session ends, with its descriptors', async () => {
  const before = { maps: recordMappings(), fds: await openDescriptors() }
  const { session, disconnects } = await connected()
  await session.useInflight(owned(await session.createInflight(2, 256)))
  await session.useInflight(owned(await session.createInflight(2, 512)))
  expect(recordMappings()).toBe(before.maps + 1)
  session.close()
  await until(() => disconnects.length === 1)
  expect(recordMappings()).toBe(before.maps)
  // The listening socket, the memory file, and the two regions of this side.
  expect(await openDescriptors()).toBe(before.fds + 4)
})

test('a region that cannot be is refused, and so is one that comes while a ring runs', async () => {
  const { session, errors } = await connected()
  const good = owned(await session.createInflight(2, 256))
  const fd = createMemFd('test', 4096)
  onTestFinished(() => closeFd(fd))
  const refused = { code: 'REFUSED' }
  await expect(session.useInflight({ ...good, fd }), 'a file that is too short').rejects.toMatchObject(
    refused,
  )
  await expect(session.useInflight({ ...good, mmapSize: 4096 })).rejects.toMatchObject(refused)
  await expect(session.useInflight({ ...good, numQueues: 0 })).rejects.toMatchObject(refused)
  await expect(session.useInflight({ ...good, queueSize: 65535 })).rejects.toMatchObject(refused)
  await expect(session.useInflight({ ...good, mmapOffset: 7 })).rejects.toMatchObject(refused)
  await session.startRing(RING)
  await expect(session.useInflight(good)).rejects.toMatchObject(refused)
  expect(errors.map(({ code }) => code)).toEqual([
    'BAD_MEMORY',
    'BAD_MEMORY',
    'BAD_PAYLOAD',
    'BAD_PAYLOAD',
    'BAD_MEMORY',
    'BAD_RING',
  ])
})

test('memory for no rings, or for more than can be, is not made', async () => {
  for (const [numQueues, queueSize] of [
    [0, 256],
    [257, 1],
    [1, 0],
    [1, 32769],
  ] as const) {
    const { session, disconnects } = await connected()
    await expect(session.createInflight(numQueues, queueSize)).rejects.toMatchObject({ code: 'PEER_CLOSED' })
    await until(() => disconnects.length === 1)
    expect(disconnects[0]).toMatchObject({ code: 'BAD_PAYLOAD' })
  }
})
