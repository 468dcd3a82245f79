import { closeSync, openSync, writeSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import type { VhostUserError } from '../src/errors.ts'
import { createEventFd, drainEventFd, signalEventFd } from '../src/sys/eventfd.ts'
import { duplicateFd, libc } from '../src/sys/libc.ts'
import { createMemFd } from '../src/sys/memfd.ts'
import { createPipe } from '../src/sys/pipe.ts'
import { createSocketPair } from '../src/sys/unix-socket.ts'
import { Vring } from '../src/vring.ts'
import { openDescriptors, until } from './peers.ts'
import { RecordingDevice } from './recording-device.ts'

const F_SETFL = 4
const ADDRESSES = { descAddress: 0x1000, availAddress: 0x2000, usedAddress: 0x3000 }

function testRing() {
  const device = new RecordingDevice()
  const errors: VhostUserError[] = []
  const ring = new Vring(1, device, error => errors.push(error))
  onTestFinished(() => ring.close())
  /** The test's own end of a descriptor, and a duplicate for the ring to own. */
  const eventPair = () => {
    const mine = createEventFd()
    onTestFinished(() => closeSync(mine))
    return { mine, given: duplicateFd(mine) }
  }
  return { device, ring, errors, eventPair }
}

function startedRing() {
  const parts = testRing()
  const kick = parts.eventPair()
  parts.ring.setSize(256)
  parts.ring.setAddresses(ADDRESSES)
  parts.ring.setKick(kick.given)
  parts.ring.setEnabled(true)
  return { ...parts, kick: kick.mine }
}

/** Lets the event loop see what is ready. */
const turn = () => new Promise(resolve => setTimeout(resolve, 5))

test('a ring runs once it has size, addresses, a kick and is enabled, whatever comes last', () => {
  const steps = {
    size: (ring: Vring) => ring.setSize(256),
    addresses: (ring: Vring) => ring.setAddresses(ADDRESSES),
    kick: (ring: Vring) => ring.setKick(createEventFd()),
    enable: (ring: Vring) => ring.setEnabled(true),
  }
  for (const last of Object.keys(steps)) {
    const { device, ring } = testRing()
    for (const [name, step] of Object.entries(steps)) if (name !== last) step(ring)
    expect(ring.running, `before ${last}`).toBe(false)
    expect(device.log).toEqual([])
    steps[last as keyof typeof steps](ring)
    expect(ring.running, `after ${last}`).toBe(true)
    expect(device.kicks[1], 'looked at once').toBe(1)
  }
})

test('a kick that comes while the ring is disabled is seen when it is enabled', async () => {
  const { device, ring, kick } = startedRing()
  ring.setEnabled(false)
  const before = device.kicks[1] as number
  signalEventFd(kick)
  await turn()
  expect(device.kicks[1]).toBe(before)
  expect(drainEventFd(kick), 'the kick waits in the descriptor').toBe(true)
  signalEventFd(kick)
  ring.setEnabled(true)
  expect(device.kicks[1]).toBe(before + 1)
  await until(() => device.kicks[1] === before + 2)
})

test('a device that has buffers left is kicked again, until it has none', async () => {
  const { device, kick } = startedRing()
  let turns = 3
  device.onKick = () => --turns > 0
  signalEventFd(kick)
  await until(() => turns === 0)
  await turn()
  expect(turns).toBe(0)
})

test('a ring that is disabled or stopped between two turns of the device is not kicked again', async () => {
  for (const end of [(ring: Vring) => ring.setEnabled(false), (ring: Vring) => ring.stop()]) {
    const { device, ring } = startedRing()
    device.onKick = () => true
    ring.setEnabled(false)
    ring.setEnabled(true)
    end(ring)
    const before = device.kicks[1]
    ring.memoryChanged()
    await turn()
    expect(device.kicks[1]).toBe(before)
  }
})

test('a running ring is kicked when guest memory changes: its kicks may have gone unheard', () => {
  const { device, ring } = startedRing()
  ring.memoryChanged()
  expect(device.kicks[1]).toBe(2)
})

test('enabling an enabled ring does nothing', () => {
  const { device, ring } = startedRing()
  ring.setEnabled(true)
  expect(device.log).toEqual(['start 1 base 0'])
  expect(device.kicks[1]).toBe(1)
})

test('notifications go to the call descriptor, and a new one is signalled once in case the old one was missed', () => {
  const { device, ring, eventPair } = startedRing()
  const [first, second] = [eventPair(), eventPair()]
  ring.setCall(first.given)
  drainEventFd(first.mine)
  device.rings.get(1)?.notify()
  expect(drainEventFd(first.mine)).toBe(true)
  ring.setCall(second.given)
  expect(drainEventFd(second.mine)).toBe(true)
  device.rings.get(1)?.notify()
  expect([drainEventFd(first.mine), drainEventFd(second.mine)]).toEqual([false, true])
})

test('a stopped ring notifies no more', () => {
  const { device, ring, eventPair } = startedRing()
  const call = eventPair()
  ring.setCall(call.given)
  const { notify } = device.rings.get(1) as { notify: () => void }
  drainEventFd(call.mine)
  ring.stop()
  notify()
  expect(drainEventFd(call.mine)).toBe(false)
})

test('without a call descriptor nothing is notified, without a kick descriptor the ring is looked at', async () => {
  const { device, ring } = testRing()
  ring.setSize(8)
  ring.setAddresses(ADDRESSES)
  ring.setKick(undefined)
  ring.setEnabled(true)
  device.rings.get(1)?.notify()
  await until(() => (device.kicks[1] as number) >= 3)
  ring.setEnabled(false)
  const quiet = device.kicks[1]
  await turn()
  expect(device.kicks[1]).toBe(quiet)
})

test('a ring that cannot start says so on its err descriptor, and starts when its memory comes', () => {
  const { device, ring, eventPair } = testRing()
  const err = eventPair()
  ring.setErr(err.given)
  ring.setSize(256)
  ring.setAddresses(ADDRESSES)
  ring.setKick(createEventFd())
  device.onStart = () => {
    throw new RangeError('not in guest memory')
  }
  expect(() => ring.setEnabled(true)).toThrow(
    expect.objectContaining({ code: 'DEVICE', cause: new RangeError('not in guest memory') }),
  )
  expect(drainEventFd(err.mine)).toBe(true)
  device.onStart = () => {}
  ring.memoryChanged()
  expect(ring.running).toBe(true)
})

test('a ring that fails is kicked no more, tells the front-end, and works again after a restart', async () => {
  for (const failing of ['throws', 'fails'] as const) {
    const { device, ring, errors, eventPair, kick } = startedRing()
    const err = eventPair()
    ring.setErr(err.given)
    const cause = new Error('a descriptor loops')
    device.onKick = index => {
      if (failing === 'throws') throw cause
      device.rings.get(index)?.fail(cause)
      return true
    }
    signalEventFd(kick)
    await until(() => errors.length === 1)
    expect(errors[0]).toMatchObject({ code: 'DEVICE', cause })
    expect(drainEventFd(err.mine)).toBe(true)
    const kicks = device.kicks[1]
    signalEventFd(kick)
    await turn()
    expect(device.kicks[1]).toBe(kicks)
    expect(errors).toHaveLength(1)

    device.onKick = () => false
    expect(ring.stop()).toBe(0)
    ring.setKick(createEventFd())
    expect(ring.running).toBe(true)
  }
})

test('a ring that breaks when it is first looked at is not listened to', async () => {
  const { device, ring, errors, eventPair } = testRing()
  device.onKick = () => {
    throw new Error('broken from the start')
  }
  const kick = eventPair()
  ring.setSize(256)
  ring.setAddresses(ADDRESSES)
  ring.setEnabled(true)
  ring.setKick(kick.given)
  signalEventFd(kick.mine)
  await turn()
  expect(device.kicks[1]).toBe(1)
  expect(errors).toHaveLength(1)
})

test('stopping gives the device’s base in 16 bits, which is where the next start begins', () => {
  const { device, ring } = startedRing()
  device.onStop = () => 0x1_fffe
  expect(ring.stop()).toBe(0xfffe)
  expect(ring.stop(), 'a stopped ring keeps its base').toBe(0xfffe)
  ring.setKick(createEventFd())
  expect(device.log).toEqual(['start 1 base 0', 'stop 1', 'start 1 base 65534'])
})

test('a ring that is stopped twice at once is stopped once', async () => {
  const { device, ring } = startedRing()
  device.onStop = () => Promise.resolve(5)
  expect(await Promise.all([ring.stop(), ring.stop()])).toEqual([5, 5])
  expect(device.log.filter(line => line === 'stop 1')).toHaveLength(1)
})

test('a device that cannot stop a ring is lost', async () => {
  const { device, ring } = startedRing()
  device.onStop = () => Promise.reject(new Error('stuck'))
  await expect(ring.stop()).rejects.toMatchObject({ code: 'DEVICE_LOST', cause: new Error('stuck') })
})

test.each([0, 3, 32769, 65536, 0xffffffff])('a size of %i is refused', size => {
  const { ring } = testRing()
  expect(() => ring.setSize(size)).toThrow(expect.objectContaining({ code: 'BAD_RING' }))
})

test.each([
  ['descAddress', 8],
  ['availAddress', 1],
  ['usedAddress', 2],
])('an unaligned %s is refused', (part, off) => {
  const { ring } = testRing()
  const addresses = { ...ADDRESSES, [part]: ADDRESSES[part as keyof typeof ADDRESSES] + off }
  expect(() => ring.setAddresses(addresses)).toThrow(expect.objectContaining({ code: 'BAD_RING' }))
})

test('a running ring cannot be moved, but may be told its addresses again', () => {
  const { ring } = startedRing()
  ring.setAddresses({ ...ADDRESSES })
  for (const change of [
    () => ring.setAddresses({ ...ADDRESSES, usedAddress: 0x4000 }),
    () => ring.setSize(512),
    () => ring.setBase(1),
  ]) {
    expect(change).toThrow(expect.objectContaining({ code: 'BAD_RING' }))
  }
})

test.each(['setKick', 'setCall', 'setErr'] as const)(
  '%s refuses and closes what is no eventfd',
  async set => {
    const { ring } = testRing()
    const before = await openDescriptors()
    const { readEnd, writeEnd } = createPipe()
    const [left, right] = createSocketPair()
    const others = [readEnd, writeEnd, left, right, createMemFd('ring', 8), openSync('/dev/null', 'r+')]
    for (const other of others)
      expect(() => ring[set](other)).toThrow(expect.objectContaining({ code: 'BAD_DESCRIPTORS' }))
    expect(await openDescriptors()).toBe(before)
  },
)

// Both ends share the flags and the count of an eventfd: who relied on either would stand in these tests for ever.
test('a call that blocks and is full keeps nobody waiting', () => {
  const { device, ring, errors, eventPair } = startedRing()
  const call = eventPair()
  ring.setCall(call.given)
  drainEventFd(call.mine)
  libc.fcntl(call.mine, F_SETFL, 0)
  const full = Buffer.alloc(8)
  full.writeBigUInt64LE(2n ** 64n - 2n)
  writeSync(call.mine, full)
  for (let i = 0; i < 3; i++) device.rings.get(1)?.notify()
  expect(drainEventFd(call.mine)).toBe(true)
  expect(errors).toEqual([])
})

test('a kick that blocks and is gone before it is read keeps nobody waiting', async () => {
  const rings = [startedRing(), startedRing()]
  let kicks = 0
  for (const { device, kick } of rings) {
    libc.fcntl(kick, F_SETFL, 0)
    device.onKick = () => {
      kicks++
      // Both were readable: the other ring's turn is next.
      for (const other of rings) drainEventFd(other.kick)
      return false
    }
  }
  for (const { kick } of rings) signalEventFd(kick)
  await until(() => kicks > 0)
  await turn()
  expect(kicks).toBe(1)
  expect(rings.flatMap(({ errors }) => errors)).toEqual([])
})

test('a kick that was counted beyond its end is heard again', async () => {
  const { device, kick } = startedRing()
  const full = Buffer.alloc(8)
  full.writeBigUInt64LE(2n ** 64n - 2n)
  writeSync(kick, full)
  // What the kernel signals itself goes one further, which poll(2) shows as an error.
  signalEventFd(kick)
  await until(() => device.kicks[1] === 2)
  signalEventFd(kick)
  await until(() => device.kicks[1] === 3)
})

test('a reset ring keeps its call descriptor, a closed one keeps nothing', async () => {
  const { ring, eventPair } = startedRing()
  const call = eventPair()
  ring.setCall(call.given)
  const before = await openDescriptors()
  ring.reset()
  expect(await openDescriptors(), 'the kick descriptor is closed').toBe(before - 1)
  ring.close()
  expect(await openDescriptors()).toBe(before - 2)
})
