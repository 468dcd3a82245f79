// The log as the protocol carries it: when the device is told of one, and of which, and when its memory goes.

import { readFileSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import type { DirtyLogArea } from '../src/device.ts'
import { FrontendLog } from '../src/frontend-log.ts'
import { createEventFd, drainEventFd } from '../src/sys/eventfd.ts'
import { closeFd } from '../src/sys/libc.ts'
import { createMemFd } from '../src/sys/memfd.ts'
import { guestMemory, openDescriptors, RING, serve, until } from './peers.ts'
import { RecordingDevice } from './recording-device.ts'

class LoggingDevice extends RecordingDevice {
  area: DirtyLogArea | undefined

  setLog(area: DirtyLogArea | undefined): void {
    this.area = area
  }
}

const logMappings = () => readFileSync('/proc/self/maps', 'utf8').split('memfd:dirty-log').length - 1

async function logging() {
  const device = new LoggingDevice()
  const backend = serve({ device })
  const session = backend.connect()
  await session.handshake()
  await session.addMemory(guestMemory())
  const newLog = () => {
    const log = new FrontendLog(0x1_0020_0000)
    onTestFinished(() => log.close())
    return log
  }
  return { ...backend, device, session, newLog }
}

test('marks of the device arrive in the log of the front-end, also after it was replaced while a ring runs', async () => {
  const { session, device, newLog } = await logging()
  const first = newLog()
  const ring = await session.startRing(RING)
  expect(device.area).toBeUndefined()
  await session.startLogging(first)
  expect(device.area?.usedRings).toEqual([undefined, RING.usedAddress])
  expect(device.area?.bitmap).toHaveLength(first.mmapSize)
  device.area!.bitmap[2] = 0x81
  expect(first.take()).toEqual([16, 23])
  expect(first.take()).toEqual([])

  const mappings = logMappings()
  const second = newLog()
  await session.startLogging(second)
  expect(logMappings(), 'the second of the front-end came, the first of the back-end went').toBe(mappings + 1)
  device.area!.bitmap[0] = 1
  expect([first.take(), second.take()]).toEqual([[], [0]])

  await session.stopLogging()
  expect(device.area).toBeUndefined()
  await session.startLogging(second)
  expect(device.area?.usedRings).toEqual([undefined, RING.usedAddress])
  await session.stopRing(ring)
})

test('a ring that starts while a migration is on is logged from its first byte', async () => {
  const { session, device, newLog } = await logging()
  await session.startLogging(newLog())
  expect(device.area?.usedRings).toEqual([undefined, undefined])
  device.onStart = ({ index }) => expect(device.area?.usedRings[index]).toBe(RING.usedAddress)
  await session.startRing(RING)
  expect(device.rings.has(1)).toBe(true)
})

test('a reset and the end of a session switch logging off and let go of the log', async () => {
  const before = { maps: logMappings(), fds: await openDescriptors() }
  const { session, device, newLog, disconnects } = await logging()
  const log = newLog()
  await session.startLogging(log)
  await session.request('RESET_DEVICE')
  expect(device.area).toBeUndefined()
  await session.setFeatures(0x1_7000_0000n | (1n << 26n))
  expect(device.area).toBeDefined()
  const fd = createEventFd()
  await session.request('SET_LOG_FD', undefined, [fd])
  closeFd(fd)
  session.close()
  await until(() => disconnects.length === 1)
  expect(logMappings()).toBe(before.maps + 1)
  // The listening socket, the memory file and the log of this side.
  expect(await openDescriptors()).toBe(before.fds + 3)
})

test('who waits for marks is told through the log descriptor', async () => {
  const { session, device, newLog } = await logging()
  const fd = createEventFd()
  onTestFinished(() => closeFd(fd))
  await session.startLogging(newLog())
  expect(device.area?.marked).toBeUndefined()
  await session.request('SET_LOG_FD', undefined, [fd])
  device.area?.marked?.()
  expect(drainEventFd(fd)).toBe(true)
})

test('a log that cannot be is refused, and the old one stays', async () => {
  const { session, device, newLog, disconnects } = await logging()
  const log = newLog()
  await session.startLogging(log)
  const { area } = device
  const small = createMemFd('test', 4096)
  onTestFinished(() => closeFd(small))
  // SET_LOG_BASE is always answered, so a refusal is the end of the connection.
  await expect(
    session.request('SET_LOG_BASE', { mmapSize: 8192, mmapOffset: 0 }, [small]),
  ).rejects.toMatchObject({
    code: 'PEER_CLOSED',
  })
  expect(device.area).toBe(area)
  await until(() => disconnects.length === 1)
  expect(disconnects[0]).toMatchObject({ code: 'BAD_MEMORY' })
})

test('logging is not offered for a device that cannot, nor accepted from a front-end that did not ask', async () => {
  const { connect } = serve()
  const plain = connect()
  expect(((await plain.request('GET_FEATURES')) >> 26n) & 1n).toBe(0n)
  const { session } = await logging()
  const addresses = { descAddress: 0, availAddress: 0, usedAddress: 0, logAddress: 2n ** 60n }
  await expect(session.request('SET_VRING_ADDR', { index: 0, flags: 1, ...addresses })).rejects.toMatchObject(
    {
      code: 'REFUSED',
    },
  )
  await expect(session.request('SET_VRING_ADDR', { index: 0, flags: 2, ...addresses })).rejects.toMatchObject(
    {
      code: 'REFUSED',
    },
  )
})
