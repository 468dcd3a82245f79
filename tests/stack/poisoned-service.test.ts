// A session that ends each process that goes on with it: it is given up after a few, with one line, and the others are served.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FrontendSession } from '@ovfs/vhost-user'
import { expect, onTestFinished, test } from 'vitest'
import { Service } from '../harness/service-manager.ts'
import { DoublingDriver } from './doubling-driver.ts'

const DAEMON = fileURLToPath(new URL('./poisoned-daemon.mjs', import.meta.url))

async function connect(path: string): Promise<{ driver: DoublingDriver; session: FrontendSession }> {
  const driver = new DoublingDriver()
  const session = FrontendSession.connect(path)
  onTestFinished(() => {
    session.close()
    driver.memory.close()
  })
  await session.handshake()
  await session.addMemory(driver.memory)
  driver.ring = await session.startRing(driver.layout, { onCall: driver.collect })
  return { driver, session }
}

test('a request of which each process dies ends its session, and no other', { timeout: 60_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ovfs-poisoned-'))
  const paths = [join(folder, 'poisoned'), join(folder, 'healthy')]
  const service = new Service([process.execPath, DAEMON, ...paths])
  onTestFinished(async () => {
    await service.stop()
    await rm(folder, { recursive: true, force: true })
  })
  await service.ready()
  const healthy = await connect(paths[1]!)
  const poisoned = await connect(paths[0]!)
  await poisoned.driver.work()
  await poisoned.driver.settle()
  await healthy.driver.work()

  poisoned.driver.ask(-1)
  const ended = service.until(() => poisoned.session.endedBy !== undefined)
  while (poisoned.session.endedBy === undefined) await healthy.driver.work()
  await ended
  await service.ready()
  // The first that it ended, three that took it over, and one that did not.
  expect(service.starts).toBe(5)
  expect(service.said.match(/given up/g)).toHaveLength(1)
  expect(service.complaints).toEqual([])

  await healthy.driver.work()
  await healthy.driver.settle()
  expect(healthy.driver.faults).toEqual([])
  expect(await healthy.session.request('GET_QUEUE_NUM')).toBe(1n)
  // Whoever connects next is served.
  const next = await connect(paths[0]!)
  await next.driver.work()
  await next.driver.settle()
  expect(service.starts).toBe(5)
})
