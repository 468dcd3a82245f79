// Random conversations against a model of the ring states: whatever the order of the requests, the device runs exactly the
// rings that the specification says, and each begins where it last stopped.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { FrontendSession } from '../src/frontend-session.ts'
import { createEventFd } from '../src/sys/eventfd.ts'
import { closeFd } from '../src/sys/libc.ts'
import { guestMappings, guestMemory, openDescriptors, serve, until } from './peers.ts'
import type { RecordingDevice } from './recording-device.ts'

interface RingModel {
  size: boolean
  addresses: boolean
  started: boolean
  enabled: boolean
  running: boolean
  base: number
}

class Model {
  rings: RingModel[] = []
  constructor() {
    this.newSession()
  }
  newSession(): void {
    this.rings = [0, 1].map(() => ({
      size: false,
      addresses: false,
      started: false,
      enabled: false,
      running: false,
      base: 0,
    }))
  }
  settle(): void {
    for (const ring of this.rings) {
      if (ring.size && ring.addresses && ring.started && ring.enabled) ring.running = true
    }
  }
}

interface Real {
  readonly session: FrontendSession
  readonly device: RecordingDevice
}

type Step = (model: Model, real: Real) => Promise<void>

const ringStep = (act: (ring: RingModel, index: number, real: Real) => Promise<unknown>) =>
  fc.nat(1).map(
    (index): Step =>
      async (model, real) => {
        await act(model.rings[index] as RingModel, index, real)
      },
  )

const refusedIf = async (refused: boolean, request: Promise<unknown>) => {
  if (refused) await expect(request).rejects.toMatchObject({ code: 'REFUSED' })
  else await request
}

const steps: fc.Arbitrary<Step>[] = [
  ringStep(async (ring, index, { session }) => {
    await refusedIf(ring.running, session.request('SET_VRING_NUM', { index, num: 64 }))
    ring.size = true
  }),
  ringStep(async (ring, index, { session }) => {
    const at = 0x7f00_0000_0000 + index * 0x10000
    const addresses = { descAddress: at, availAddress: at + 0x1000, usedAddress: at + 0x2000 }
    await session.request('SET_VRING_ADDR', { index, flags: 0, ...addresses, logAddress: 0n })
    ring.addresses = true
  }),
  ringStep(async (ring, index, { session }) => {
    await refusedIf(ring.running, session.request('SET_VRING_BASE', { index, num: 100 + index }))
    if (!ring.running) ring.base = 100 + index
  }),
  ringStep(async (ring, index, { session }) => {
    const fd = createEventFd()
    await session.request('SET_VRING_KICK', { index, noFd: false }, [fd])
    closeFd(fd)
    ring.started = true
  }),
  ringStep(async (ring, index, { session }) => {
    await session.request('SET_VRING_ENABLE', { index, num: 1 })
    ring.enabled = true
  }),
  ringStep(async (ring, index, { session }) => {
    await session.request('SET_VRING_ENABLE', { index, num: 0 })
    ring.enabled = false
  }),
  ringStep(async (ring, index, { session }) => {
    const { num } = await session.request('GET_VRING_BASE', { index, num: 0 })
    if (ring.running) ring.base += 1
    expect(num).toBe(ring.base)
    ring.running = false
    ring.started = false
  }),
  fc.constant(async (model, { session }) => {
    await session.request('RESET_DEVICE')
    for (const ring of model.rings)
      Object.assign(ring, { started: false, enabled: false, running: false, base: 0 })
  }),
  fc.constant(async (model, { session }) => {
    await session.request('SET_OWNER')
    await session.addMemory(memoryOf.get(session) as ReturnType<typeof guestMemory>)
    model.newSession()
  }),
]

const memoryOf = new WeakMap<FrontendSession, ReturnType<typeof guestMemory>>()

test('the device runs exactly the rings that the requests so far say', async () => {
  const backend = serve()
  const memory = guestMemory()
  const before = { fds: await openDescriptors(), maps: guestMappings() }
  let served = 0
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(...steps), { minLength: 5, maxLength: 40 }), async chosen => {
      const { device } = backend
      const session = backend.connect()
      memoryOf.set(session, memory)
      await session.handshake()
      await session.addMemory(memory)
      const model = new Model()
      device.onStop = index => (model.rings[index] as RingModel).base + 1
      for (const step of chosen) {
        await step(model, { session, device })
        model.settle()
        for (const [index, { running, base }] of model.rings.entries()) {
          expect(device.rings.has(index)).toBe(running)
          if (running) expect(device.rings.get(index)?.config.base).toBe(base)
        }
        expect(guestMappings()).toBe(before.maps + 2)
      }
      session.close()
      served++
      await until(() => backend.disconnects.length === served)
      expect({ fds: await openDescriptors(), maps: guestMappings() }).toEqual(before)
    }),
    { numRuns: 60 },
  )
  expect(backend.errors.every(({ code }) => code === 'BAD_RING')).toBe(true)
})
