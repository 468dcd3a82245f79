// kill -9 of a device that a service manager starts again, while requests and messages are under way: the front-end keeps its
// connection, and every request and every message is answered exactly once. OVFS_KILLS sets how often.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { FrontendMemory, FrontendSession } from '@ovfs/vhost-user'
import { DriverQueue, GuestMemory } from '@ovfs/virtqueue'
import { expect, onTestFinished, test } from 'vitest'
import { Service } from '../harness/service-manager.ts'

const KILLS = Number(process.env.OVFS_KILLS ?? 25)
const DAEMON = fileURLToPath(new URL('./doubling-daemon.mjs', import.meta.url))
const SIZE = 64
const DATA_AT = 0x10_0000
/** VERSION_1, PROTOCOL_FEATURES, EVENT_IDX. */
const OFFERED = (1n << 32n) | (1n << 30n) | (1n << 29n)

test.each(['SIGKILL', 'SIGTERM'] as const)(
  '%s: every request and every message is answered exactly once',
  { timeout: 60_000 + KILLS * 6000 },
  async signal => {
    const folder = await mkdtemp(join(tmpdir(), 'ovfs-service-'))
    const path = join(folder, 'socket')
    const service = new Service([process.execPath, DAEMON, path])
    const frontendMemory = new FrontendMemory([{ guestAddress: 0, size: 0x20_0000 }])
    let session: FrontendSession | undefined
    onTestFinished(async () => {
      session?.close()
      frontendMemory.close()
      await service.stop()
      await rm(folder, { recursive: true, force: true })
    })
    const memory = new GuestMemory()
    for (const region of frontendMemory.regions) memory.addRegion(region)
    const numbers = new Float64Array(frontendMemory.regions[0]!.pieces[0] as ArrayBuffer, DATA_AT)
    const faults: unknown[] = []
    const driver = new DriverQueue(memory, {
      size: SIZE,
      address: 0,
      eventIdx: true,
      onError: error => faults.push(error),
    })
    await service.ready()
    session = FrontendSession.connect(path)
    await session.handshake()
    await session.addMemory(frontendMemory)

    /** By head: the slot of its number and of its answer, and the number. */
    const asked = new Map<number, { slot: number; number: number }>()
    const freeSlots = Array.from({ length: SIZE / 2 }, (_, i) => i)
    let next = 1
    let answered = 0
    const collect = () => {
      do {
        driver.collect((head, written) => {
          const request = asked.get(head)
          expect(request, `head ${head} was asked for`).toBeDefined()
          asked.delete(head)
          expect(written).toBe(8)
          expect(numbers[2 * request!.slot + 1]).toBe(2 * request!.number)
          freeSlots.push(request!.slot)
          answered++
        })
      } while (driver.enableInterrupts())
    }
    const { descAddress } = driver.ring
    const layout = {
      index: 0,
      size: SIZE,
      descAddress: 0,
      availAddress: driver.ring.availAddress - descAddress,
      usedAddress: driver.ring.usedAddress - descAddress,
    }
    let ring = await session.startRing(layout, { onCall: collect })
    const ask = () => {
      const slot = freeSlots.shift()
      if (slot === undefined) return
      const number = next++
      numbers[2 * slot] = number
      numbers[2 * slot + 1] = -1
      const at = DATA_AT + 16 * slot
      const head = driver.add([{ address: at, length: 8 }], [{ address: at + 8, length: 8 }], false)
      asked.set(head, { slot, number })
      driver.publish()
      if (driver.kickNeeded()) ring.kick()
    }

    let over = false
    let messages = 0
    /** What a monitor does meanwhile: asks, pauses and goes on, stops the ring and starts it where it stood. */
    const monitor = async () => {
      while (!over) {
        expect(await session!.request('GET_FEATURES', undefined)).toBe(OFFERED)
        expect(await session!.request('GET_QUEUE_NUM', undefined)).toBe(1n)
        await session!.request('SET_VRING_ENABLE', { index: 0, num: 0 })
        await session!.request('SET_VRING_ENABLE', { index: 0, num: 1 })
        messages += 4
        if (messages % 20 === 0) {
          const base = await session!.stopRing(ring)
          ring = await session!.startRing({ ...layout, base }, { onCall: collect })
          messages++
        }
        await delay(1)
      }
    }
    const monitoring = monitor()
    for (let kill = 0; kill < KILLS; kill++) {
      const before = answered
      const moments = 5 + Math.floor(Math.random() * 20)
      for (let moment = 0; moment < moments || answered === before; moment++) {
        for (let i = Math.floor(Math.random() * 12); i > 0; i--) ask()
        await delay(1)
      }
      const restarted = service.restart(signal)
      // Asked while nobody is there.
      for (let i = Math.floor(Math.random() * 12); i > 0; i--) ask()
      await restarted
      await service.ready()
      if (signal === 'SIGTERM') expect(service.exitCode).toBe(0)
    }
    over = true
    await monitoring
    while (asked.size > 0) await delay(1)
    expect(answered).toBe(next - 1)
    expect(answered).toBeGreaterThan(KILLS)
    expect(messages).toBeGreaterThan(KILLS)
    expect({
      faults,
      complaints: service.complaints,
      said: service.said.replaceAll('listening\n', ''),
    }).toEqual({
      faults: [],
      complaints: [],
      said: '',
    })
    session.close()
    await service.until(() => service.stored.length === 0)
  },
)
