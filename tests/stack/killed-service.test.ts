// kill -9 of a device that a service manager starts again, while requests and messages are under way: the front-end keeps its
// connection, and every request and every message is answered exactly once. OVFS_KILLS sets how often.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { FrontendSession } from '@ovfs/vhost-user'
import { expect, onTestFinished, test } from 'vitest'
import { Service } from '../harness/service-manager.ts'
import { DoublingDriver } from './doubling-driver.ts'

const KILLS = Number(process.env.OVFS_KILLS ?? 25)
const DAEMON = fileURLToPath(new URL('./doubling-daemon.mjs', import.meta.url))
/** VERSION_1, PROTOCOL_FEATURES, EVENT_IDX. */
const OFFERED = (1n << 32n) | (1n << 30n) | (1n << 29n)

test.each(['SIGKILL', 'SIGTERM'] as const)(
  '%s: every request and every message is answered exactly once',
  { timeout: 60_000 + KILLS * 6000 },
  async signal => {
    const folder = await mkdtemp(join(tmpdir(), 'ovfs-service-'))
    const path = join(folder, 'socket')
    const service = new Service([process.execPath, DAEMON, path])
    const driver = new DoublingDriver()
    let session: FrontendSession | undefined
    onTestFinished(async () => {
      session?.close()
      driver.memory.close()
      await service.stop()
      await rm(folder, { recursive: true, force: true })
    })
    await service.ready()
    session = FrontendSession.connect(path)
    await session.handshake()
    await session.addMemory(driver.memory)
    const { layout, collect } = driver
    driver.ring = await session.startRing(layout, { onCall: collect })

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
          const base = await session!.stopRing(driver.ring!)
          driver.ring = await session!.startRing({ ...layout, base }, { onCall: collect })
          messages++
        }
        await delay(1)
      }
    }
    const monitoring = monitor()
    for (let kill = 0; kill < KILLS; kill++) {
      await driver.work()
      const restarted = service.restart(signal)
      // Asked while nobody is there.
      driver.askSome()
      await restarted
      await service.ready()
      if (signal === 'SIGTERM') expect(service.exitCode).toBe(0)
    }
    over = true
    await monitoring
    await driver.settle()
    expect(driver.answered).toBeGreaterThan(KILLS)
    expect(messages).toBeGreaterThan(KILLS)
    expect({
      faults: driver.faults,
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
