import { describe, expect, onTestFinished, test } from 'vitest'
import { FrontendMemory } from '../src/frontend-memory.ts'
import type { FrontendSession } from '../src/frontend-session.ts'
import { guestMappings, guestMemory, MIB, openDescriptors, RING, serve, until } from './peers.ts'

test('a front-end negotiates, announces memory, runs a ring and stops it', async () => {
  const { device, connect } = serve()
  const memory = guestMemory()
  const session = connect()

  const negotiated = await session.handshake()
  expect(negotiated).toEqual({
    features: 0x1_7000_0000n,
    protocolFeatures: 0x1a009n,
    queueCount: 2,
    memorySlots: 509,
  })
  await session.addMemory(memory)
  new Uint8Array(memory.regions[1]?.pieces[0] as ArrayBuffer)[0x1234] = 0xa5
  expect(device.byteAt(0x1_0000_1234)).toBe(0xa5)

  const ring = await session.startRing({ ...RING, base: 7 })
  expect(device.rings.get(1)?.config).toEqual({
    index: 1,
    size: 256,
    base: 7,
    descAddress: 0x7f01_0000_1000,
    availAddress: 0x7f01_0000_3000,
    usedAddress: 0x7f01_0000_4000,
  })
  // Looked at once when enabled, and once for each kick.
  expect(device.kicks).toEqual([0, 1])
  ring.kick()
  await until(() => device.kicks[1] === 2)

  device.rings.get(1)?.notify()
  await ring.called(0)

  device.onStop = () => 0x1_0009
  expect(await session.stopRing(ring)).toBe(9)
  expect(device.log).toEqual([
    'features 0x130000000',
    'add 0x0',
    'add 0x100000000',
    'start 1 base 7',
    'stop 1',
  ])
})

test('everything of a session is released when the front-end vanishes', async () => {
  const backend = serve()
  const memory = guestMemory()
  const before = { fds: await openDescriptors(), maps: guestMappings() }
  for (let i = 0; i < 3; i++) {
    const session = backend.connect()
    await session.handshake()
    await session.addMemory(memory)
    await session.startRing(RING)
    expect(guestMappings()).toBe(before.maps + 2)
    session.close()
    await until(() => backend.disconnects.length === i + 1)
  }
  expect(backend.disconnects).toEqual([undefined, undefined, undefined])
  expect({ fds: await openDescriptors(), maps: guestMappings() }).toEqual(before)
})

test('GET_VRING_BASE waits for the device, and later requests wait for it', async () => {
  const { device, connect } = serve()
  const session = connect()
  await session.handshake()
  await session.addMemory(guestMemory())
  await session.startRing(RING)
  let finish: (base: number) => void = () => {}
  device.onStop = () =>
    new Promise(resolve => {
      finish = resolve
    })
  const replies: number[] = []
  session.sendMessage(11, 1, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))
  session.sendMessage(1, 1, new Uint8Array(0))
  const both = [session.reply(), session.reply()].map(reply =>
    reply.then(({ request }) => replies.push(request)),
  )
  await until(() => device.log.includes('stop 1'))
  await new Promise(resolve => setImmediate(resolve))
  expect(replies).toEqual([])
  finish(3)
  await Promise.all(both)
  expect(replies).toEqual([11, 1])
})

test('a memory table that names the same memory again leaves it mapped', async () => {
  const { device, connect } = serve()
  const session = connect()
  await session.handshake({ protocolFeatures: ['REPLY_ACK'] })
  await session.addMemory(guestMemory())
  const more = new FrontendMemory([{ guestAddress: 0x10_0000_0000, size: MIB }])
  await session.addMemory(more)
  await session.removeMemory(more)
  more.close()
  expect(device.log.slice(1)).toEqual([
    'add 0x0',
    'add 0x100000000',
    'add 0x1000000000',
    'remove 0x1000000000',
  ])
})

test('a new owner on the connection finds nothing of the old session but what was negotiated', async () => {
  const { device, connect } = serve()
  const memory = guestMemory()
  const session = connect()
  await session.handshake()
  await session.addMemory(memory)
  await session.startRing(RING)
  const mapped = guestMappings()
  await session.request('SET_OWNER')
  expect(device.log.at(-1)).toBe('reset')
  expect(guestMappings()).toBe(mapped - 2)
  // QEMU announces the same memory again without ever having removed it.
  await session.addMemory(memory)
  await session.startRing(RING)
  expect(device.rings.get(1)?.config.base).toBe(0)
})

describe('a reset device', () => {
  test.each([
    ['RESET_DEVICE', (session: FrontendSession) => session.request('RESET_DEVICE')],
    ['a status of 0', (session: FrontendSession) => session.request('SET_STATUS', 0n)],
  ])('has its memory and its connection still: %s', async (_name, reset) => {
    const { device, connect } = serve()
    const session = connect()
    await session.handshake()
    await session.addMemory(guestMemory())
    const ring = await session.startRing(RING)
    device.log.length = 0
    await reset(session)
    await reset(session)
    expect(device.log.filter(line => line !== 'stop 1')).toEqual([
      ...['reset', 'add 0x0', 'add 0x100000000'],
      ...['reset', 'add 0x0', 'add 0x100000000'],
    ])
    const kicks = device.kicks[1]
    ring.kick()
    await session.setFeatures(0x1_7000_0000n)
    expect(await session.request('GET_VRING_BASE', { index: 1, num: 0 })).toEqual({ index: 1, num: 0 })
    expect(device.kicks[1]).toBe(kicks)
    await session.startRing(RING)
    expect(device.log.slice(-2)).toEqual(['features 0x130000000', 'start 1 base 0'])
  })

  test('by a status of 0 has finished what it took, and still tells where its ring stands', async () => {
    const { device, connect } = serve()
    const session = connect()
    await session.handshake()
    await session.addMemory(guestMemory())
    await session.startRing(RING)
    device.log.length = 0
    device.onStop = () => new Promise(resolve => setImmediate(resolve, 7))
    await session.request('SET_STATUS', 0n)
    expect(device.log.slice(0, 2)).toEqual(['stop 1', 'reset'])
    expect(await session.request('GET_VRING_BASE', { index: 1, num: 0 })).toEqual({ index: 1, num: 7 })
  })

  test('is waited for before the reset is acknowledged', async () => {
    const { device, connect } = serve()
    const session = connect()
    await session.handshake()
    let finish = () => {}
    device.onReset = () =>
      new Promise(resolve => {
        finish = resolve
      })
    let acknowledged = false
    const reset = session.request('RESET_DEVICE').then(() => {
      acknowledged = true
    })
    await until(() => device.log.includes('reset'))
    await new Promise(resolve => setTimeout(resolve, 2))
    expect(acknowledged).toBe(false)
    device.onReset = () => {}
    finish()
    await reset
  })
})

test('the status is what was last set', async () => {
  const session = serve().connect()
  await session.handshake()
  expect(await session.request('GET_STATUS')).toBe(0n)
  await session.request('SET_STATUS', 8n)
  expect(await session.request('GET_STATUS')).toBe(8n)
  await expect(session.request('SET_STATUS', 256n)).rejects.toMatchObject({ code: 'REFUSED' })
})

test('without protocol features rings are enabled from the start', async () => {
  const { device, connect } = serve()
  const session = connect()
  const { features } = await session.handshake({ features: 0x1_3000_0000n })
  expect(features).toBe(0x1_3000_0000n)
  await session.addMemory(guestMemory())
  const ring = await session.startRing(RING)
  // Nothing was acknowledged: a question that is answered says that all before it is done.
  await session.request('GET_FEATURES')
  expect(device.rings.has(1)).toBe(true)
  expect(await session.stopRing(ring)).toBe(0)
})

test('memory may come and go while a ring runs, and the ring goes on', async () => {
  const { device, connect } = serve()
  const session = connect()
  await session.handshake()
  await session.addMemory(guestMemory())
  const ring = await session.startRing(RING)
  const more = new FrontendMemory([{ guestAddress: 0x20_0000_0000, size: MIB }])
  onTestFinished(() => more.close())
  await session.addMemory(more)
  await session.removeMemory(more)
  const kicks = device.kicks[1] as number
  ring.kick()
  await until(() => device.kicks[1] === kicks + 1)
  expect(device.log.slice(-3)).toEqual(['start 1 base 0', 'add 0x2000000000', 'remove 0x2000000000'])
})

test('removed memory stays mapped until the device has let go of it', async () => {
  const { device, connect } = serve()
  const memory = guestMemory()
  const session = connect()
  await session.handshake()
  const before = guestMappings()
  await session.addMemory(memory)
  let release = () => {}
  device.onRemoveRegion = () =>
    new Promise<void>(resolve => {
      release = resolve
    })
  await session.request('REM_MEM_REG', { region: memory.regions[0] as (typeof memory.regions)[0] })
  expect(guestMappings()).toBe(before + 2)
  release()
  await until(() => guestMappings() === before + 1)
})

test('memory that a reset device still uses stays mapped until it has let go', async () => {
  const { device, connect, disconnects } = serve()
  const memory = guestMemory()
  const session = connect()
  await session.handshake()
  const before = guestMappings()
  await session.addMemory(memory)
  let release = () => {}
  device.onReset = () =>
    new Promise<void>(resolve => {
      release = resolve
    })
  session.close()
  await until(() => device.log.includes('reset'))
  await new Promise(resolve => setTimeout(resolve, 2))
  expect({ maps: guestMappings(), disconnects }).toEqual({ maps: before + 2, disconnects: [] })
  release()
  await until(() => disconnects.length === 1)
  expect(guestMappings()).toBe(before)
})

test('a session is not over before removed memory is let go of', async () => {
  const { device, connect, disconnects } = serve()
  const memory = guestMemory()
  const session = connect()
  await session.handshake()
  const before = guestMappings()
  await session.addMemory(memory)
  let release = () => {}
  device.onRemoveRegion = () =>
    new Promise<void>(resolve => {
      release = resolve
    })
  await session.request('REM_MEM_REG', { region: memory.regions[0] as (typeof memory.regions)[0] })
  session.close()
  await until(() => device.log.includes('reset'))
  await new Promise(resolve => setTimeout(resolve, 2))
  expect(disconnects).toEqual([])
  release()
  await until(() => disconnects.length === 1)
  expect(guestMappings()).toBe(before)
})

test('what the device cannot do is refused, and the session goes on', async () => {
  const { device, connect, errors } = serve()
  const session = connect()
  await session.handshake()
  device.onAddRegion = () => {
    throw new Error('full')
  }
  const before = guestMappings()
  const memory = guestMemory()
  const own = guestMappings() - before
  await expect(session.addMemory(memory)).rejects.toMatchObject({ code: 'REFUSED' })
  expect(guestMappings()).toBe(before + own)
  expect(errors).toMatchObject([{ code: 'DEVICE', cause: new Error('full') }])
  device.onAddRegion = () => {}
  await session.addMemory(memory)
  device.onStart = () => {
    throw new Error('no')
  }
  await expect(session.startRing(RING)).rejects.toMatchObject({ code: 'REFUSED' })
  device.onStart = () => {}
  await session.startRing({ ...RING, base: 5 })
  expect(device.log.at(-1)).toBe('start 1 base 5')
})

test('a device that cannot stop its ring ends the session', async () => {
  const { device, connect, disconnects } = serve()
  const session = connect()
  await session.handshake()
  await session.addMemory(guestMemory())
  const ring = await session.startRing(RING)
  device.onStop = () => Promise.reject(new Error('stuck'))
  await expect(session.stopRing(ring)).rejects.toMatchObject({ code: 'PEER_CLOSED' })
  expect(disconnects).toMatchObject([{ code: 'DEVICE_LOST', cause: new Error('stuck') }])
})

test('a device that cannot be reset ends the session, and its memory stays mapped', async () => {
  const { device, connect, disconnects, errors } = serve()
  const session = connect()
  await session.handshake()
  const memory = guestMemory()
  const before = guestMappings()
  await session.addMemory(memory)
  device.onReset = () => Promise.reject(new Error('stuck'))
  await expect(session.request('RESET_DEVICE')).rejects.toMatchObject({ code: 'PEER_CLOSED' })
  await until(() => disconnects.length === 1)
  expect(disconnects).toMatchObject([{ code: 'DEVICE_LOST', cause: new Error('stuck') }])
  expect(errors, 'the second failure is not lost').toMatchObject([{ code: 'DEVICE_LOST' }])
  expect(guestMappings()).toBe(before + 2)
})
