import { expect, test } from 'vitest'
import { FrontendMemory } from '../src/frontend-memory.ts'
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
  const before = { fds: openDescriptors(), maps: guestMappings() }
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
  expect({ fds: openDescriptors(), maps: guestMappings() }).toEqual(before)
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
