// The configuration space, and the channel on which the device says that it has changed.

import { closeSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { Connection } from '../src/connection.ts'
import type { FrontendChannel } from '../src/device.ts'
import { Header } from '../src/payloads.ts'
import { createEventFd } from '../src/sys/eventfd.ts'
import { closeFd, NativeBuffer } from '../src/sys/libc.ts'
import { createSocketPair } from '../src/sys/unix-socket.ts'
import { guestMemory, openDescriptors, RING, serve, until } from './peers.ts'
import { RecordingDevice } from './recording-device.ts'

class ConfigurableDevice extends RecordingDevice {
  readonly space = Uint8Array.from({ length: 60 }, (_, i) => i)
  readonly written: unknown[] = []
  channel: FrontendChannel | undefined
  readonly config = {
    read: () => this.space,
    write: (offset: number, bytes: Uint8Array, migration: boolean) => {
      if (offset < 8) throw new Error('read-only')
      this.written.push([offset, [...bytes], migration])
    },
  }

  connectFrontend(channel: FrontendChannel | undefined): void {
    this.channel = channel
  }
}

async function configurable() {
  const device = new ConfigurableDevice()
  const backend = serve({ device })
  const session = backend.connect()
  await session.handshake()
  return { ...backend, device, session }
}

test('any window of the configuration space can be read', async () => {
  const { session, device } = await configurable()
  expect(await session.readConfig(0, 60)).toEqual(device.space)
  expect([...(await session.readConfig(36, 4))]).toEqual([36, 37, 38, 39])
  expect(await session.readConfig(60, 0)).toHaveLength(0)
})

test('a window that is not in the space is answered with no bytes at all', async () => {
  const { session } = await configurable()
  for (const [offset, length] of [
    [0, 61],
    [60, 1],
    [0xffff_ffff, 4],
  ] as const) {
    const bytes = new Uint8Array(length)
    expect(
      await session.request('GET_CONFIG', { offset, flags: 0, bytes }),
      `${offset}+${length}`,
    ).toBeUndefined()
    await expect(session.readConfig(offset, length)).rejects.toMatchObject({ code: 'REFUSED' })
  }
})

test('the device hears what is written to its space, and by whom, and may refuse', async () => {
  const { session, device, errors } = await configurable()
  await session.request('SET_CONFIG', { offset: 8, flags: 0, bytes: Uint8Array.of(1, 2) })
  await session.request('SET_CONFIG', { offset: 58, flags: 1, bytes: Uint8Array.of(3, 4) })
  expect(device.written).toEqual([
    [8, [1, 2], false],
    [58, [3, 4], true],
  ])
  for (const offset of [0, 59]) {
    const window = { offset, flags: 0, bytes: Uint8Array.of(9, 9) }
    await expect(session.request('SET_CONFIG', window)).rejects.toMatchObject({ code: 'REFUSED' })
  }
  expect(errors.map(({ code }) => code)).toEqual(['DEVICE', 'BAD_PAYLOAD'])
})

test('a device without a configuration space does not offer it', async () => {
  const { connect } = serve()
  const session = connect()
  const { protocolFeatures } = await session.handshake()
  expect(protocolFeatures & ((1n << 9n) | (1n << 5n))).toBe(0n)
  await expect(session.readConfig(0, 1)).rejects.toMatchObject({ code: 'NOT_NEGOTIATED' })
})

test('the front-end hears of a change while rings run, and its answer reaches the device', async () => {
  const { session, device } = await configurable()
  let changes = 0
  await session.openChannel({
    configChanged: () => {
      changes++
      if (changes === 2) throw new Error('not now')
    },
  })
  await session.addMemory(guestMemory())
  await device.channel?.configChanged()
  expect(changes, 'all rings are stopped').toBe(0)
  const ring = await session.startRing(RING)
  await device.channel?.configChanged()
  expect(changes).toBe(1)
  await expect(device.channel?.configChanged()).rejects.toMatchObject({ code: 'REFUSED' })
  await session.stopRing(ring)
  await device.channel?.configChanged()
  expect(changes).toBe(2)
})

test('the channel outlives a new owner, and ends with the connection', async () => {
  const before = await openDescriptors()
  const { session, device, disconnects } = await configurable()
  await session.openChannel({})
  const { channel } = device
  await session.request('SET_OWNER')
  expect(device.channel).toBe(channel)
  await session.openChannel({})
  expect(device.channel).not.toBe(channel)
  await session.addMemory(guestMemory())
  await session.startRing(RING)
  const last = device.channel
  await expect(last?.configChanged(), 'nobody handles it').rejects.toMatchObject({ code: 'REFUSED' })
  session.close()
  await until(() => disconnects.length === 1)
  expect(device.channel).toBeUndefined()
  await expect(last?.configChanged()).rejects.toMatchObject({ code: 'CLOSED' })
  // The listening socket, and the memory file of guestMemory; a thread may still be reading the channel.
  await expect.poll(openDescriptors).toBe(before + 2)
})

test('a front-end that answers what was not asked loses the channel, not the session', async () => {
  const { session, device, errors } = await configurable()
  const [mine, theirs] = createSocketPair()
  await session.request('SET_BACKEND_REQ_FD', undefined, [theirs])
  closeFd(theirs)
  const peer = new Connection(mine, { readsWhileSending: true, message: () => {}, ended: () => {} })
  onTestFinished(() => peer.close())
  await session.addMemory(guestMemory())
  await session.startRing(RING)
  const asked = device.channel?.configChanged()
  const rejected = expect(asked).rejects.toMatchObject({ code: 'PEER_CLOSED' })
  const data = new NativeBuffer(Header.size + 8)
  Header.encode({ request: 3, flags: 5, size: 8 }, data.view)
  peer.sendBytes(data, [])
  await rejected
  expect(errors.map(({ code }) => code)).toEqual(['BAD_REPLY'])
  expect(await session.readConfig(0, 1)).toHaveLength(1)
})

test('a channel of another kind is refused each time, and nothing of it is left', async () => {
  const { session, errors } = await configurable()
  const file = createEventFd()
  onTestFinished(() => closeSync(file))
  const before = await openDescriptors()
  for (let i = 0; i < 3; i++) {
    const asked = session.request('SET_BACKEND_REQ_FD', undefined, [file])
    await expect(asked).rejects.toMatchObject({ code: 'REFUSED' })
  }
  expect(errors.map(({ code }) => code)).toEqual(Array(3).fill('BAD_DESCRIPTORS'))
  expect(await openDescriptors()).toBe(before)
})
