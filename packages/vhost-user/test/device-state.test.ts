// Save and load of a device's state through a pipe, beside the control socket.

import { expect, onTestFinished, test } from 'vitest'
import { createEventFd } from '../src/sys/eventfd.ts'
import { closeFd } from '../src/sys/libc.ts'
import { createPipe } from '../src/sys/pipe.ts'
import { guestMemory, openDescriptors, RING, serve, until } from './peers.ts'
import { RecordingDevice } from './recording-device.ts'

class MovableDevice extends RecordingDevice {
  state: Uint8Array = new Uint8Array(0)
  onSave: () => Uint8Array | Promise<Uint8Array> = () => this.state
  onLoad: (state: Uint8Array) => void | Promise<void> = state => {
    this.state = state
  }

  saveState(): Uint8Array | Promise<Uint8Array> {
    return this.onSave()
  }

  loadState(state: Uint8Array): void | Promise<void> {
    return this.onLoad(state)
  }
}

async function movable() {
  const device = new MovableDevice()
  const backend = serve({ device })
  const session = backend.connect()
  await session.handshake()
  return { ...backend, device, session }
}

test('a state of any length is saved on one device and loaded on another', async () => {
  const [from, to] = [await movable(), await movable()]
  // Around and far beyond what a pipe holds.
  for (const length of [0, 1, 65535, 65536, 65537, 5_000_000]) {
    from.device.state = Uint8Array.from({ length }, (_, i) => (i * 31) >> 3)
    const state = await from.session.saveState()
    expect(Buffer.compare(state, from.device.state), `${length} bytes`).toBe(0)
    await to.session.loadState(state)
    expect(Buffer.compare(to.device.state, from.device.state), `${length} bytes`).toBe(0)
  }
  expect([...from.errors, ...to.errors]).toEqual([])
})

test('the control socket is served while the state is on its way', async () => {
  const { session, device } = await movable()
  device.state = new Uint8Array(1_000_000)
  const { readEnd, writeEnd } = createPipe()
  onTestFinished(() => closeFd(readEnd))
  expect(await session.request('SET_DEVICE_STATE_FD', { direction: 0, phase: 0 }, [writeEnd])).toBe(0x100n)
  closeFd(writeEnd)
  // Nobody reads the pipe, which is full.
  expect(await session.request('GET_FEATURES')).toBe(0x1_7000_0000n)
})

test('a device that fails to save or load is told in the check, and the session goes on', async () => {
  const { session, device, errors } = await movable()
  device.onSave = () => Promise.reject(new Error('the storage is away'))
  await expect(session.saveState()).rejects.toMatchObject({ code: 'REFUSED' })
  device.onLoad = () => {
    throw new Error('not my format')
  }
  await expect(session.loadState(Uint8Array.of(1))).rejects.toMatchObject({ code: 'REFUSED' })
  expect(errors.map(({ code, cause }) => [code, (cause as Error).message])).toEqual([
    ['DEVICE', 'the storage is away'],
    ['DEVICE', 'not my format'],
  ])
  device.state = Uint8Array.of(7)
  device.onSave = () => device.state
  expect([...(await session.saveState())]).toEqual([7])
})

test('a check without a transfer fails', async () => {
  const { session } = await movable()
  expect(await session.request('CHECK_DEVICE_STATE')).toBe(1n)
})

test('transfers that cannot be are refused: while a ring runs, in another phase, through what is no pipe', async () => {
  const { session, errors } = await movable()
  const send = async (direction: number, phase: number, fd: number) => {
    onTestFinished(() => closeFd(fd))
    return session.request('SET_DEVICE_STATE_FD', { direction, phase }, [fd])
  }
  const pipe = createPipe()
  onTestFinished(() => closeFd(pipe.readEnd))
  expect(await send(0, 1, pipe.writeEnd)).toBe(0x101n)
  expect(await send(2, 0, createEventFd())).toBe(0x101n)
  const memory = guestMemory()
  const before = await openDescriptors()
  await session.request('SET_DEVICE_STATE_FD', { direction: 0, phase: 0 }, [memory.fd])
  expect(await session.request('CHECK_DEVICE_STATE')).toBe(1n)
  expect(await openDescriptors()).toBe(before)
  await session.addMemory(memory)
  await session.startRing(RING)
  expect(await send(0, 0, createEventFd())).toBe(0x101n)
  expect(errors.map(({ code }) => code)).toEqual(['BAD_PAYLOAD', 'BAD_PAYLOAD', 'DEVICE', 'BAD_RING'])
})

test('a front-end that leaves, or another transfer, ends the one on its way without a trace', async () => {
  const before = await openDescriptors()
  const { session, device, disconnects, errors } = await movable()
  let saved: (state: Uint8Array) => void = () => {}
  device.onSave = () => new Promise(resolve => (saved = resolve))
  for (let i = 0; i < 2; i++) {
    const { readEnd, writeEnd } = createPipe()
    onTestFinished(() => closeFd(readEnd))
    await session.request('SET_DEVICE_STATE_FD', { direction: 0, phase: 0 }, [writeEnd])
    closeFd(writeEnd)
  }
  session.close()
  await until(() => disconnects.length === 1)
  saved(new Uint8Array(100_000))
  await new Promise(resolve => setTimeout(resolve, 2))
  expect(errors).toEqual([])
  // The listening socket and the two read ends of this side.
  expect(await openDescriptors()).toBe(before + 3)
})

test('a front-end that asks for the outcome of a transfer without end, and leaves, is not waited for', async () => {
  const { session, server, connect, disconnects } = await movable()
  const { readEnd, writeEnd } = createPipe()
  onTestFinished(() => closeFd(writeEnd))
  await session.request('SET_DEVICE_STATE_FD', { direction: 1, phase: 0 }, [readEnd])
  closeFd(readEnd)
  session.request('CHECK_DEVICE_STATE').catch(() => undefined)
  await new Promise(resolve => setTimeout(resolve, 2))
  session.close()
  const next = connect()
  await next.handshake()
  expect(disconnects).toHaveLength(1)

  const second = createPipe()
  onTestFinished(() => closeFd(second.writeEnd))
  await next.request('SET_DEVICE_STATE_FD', { direction: 1, phase: 0 }, [second.readEnd])
  closeFd(second.readEnd)
  next.request('CHECK_DEVICE_STATE').catch(() => undefined)
  await new Promise(resolve => setTimeout(resolve, 2))
  await server.close()
})
