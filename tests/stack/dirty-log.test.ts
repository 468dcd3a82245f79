// Live migration, as far as memory goes: whatever the daemon writes to guest memory is in the dirty log.

import { ROOT_NODE } from '@ovfs/fuse-proto'
import { FrontendLog } from '@ovfs/vhost-user'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { expect, onTestFinished, test } from 'vitest'
import { ovfsInProcess } from './daemons.ts'

const PAGE = 4096
const END = 0x1_1000_0000

async function migrating() {
  const daemon = await ovfsInProcess('memory', {})
  const driver = await VirtioFsDriver.connect(daemon.socketPath, { slots: 4 })
  const log = new FrontendLog(END)
  onTestFinished(async () => {
    await driver.close()
    log.close()
    await daemon.stop()
  })
  await driver.client.init()
  const image = () =>
    driver.memory.regions.map(({ guestAddress, pieces }) => ({
      guestAddress,
      bytes: Buffer.from(new Uint8Array(pieces[0] as ArrayBuffer)),
    }))
  /** Guest-physical page numbers that differ from `before`. */
  const changed = (before: ReturnType<typeof image>): number[] =>
    image().flatMap(({ guestAddress, bytes }, r) => {
      const pages: number[] = []
      for (let at = 0; at < bytes.length; at += PAGE) {
        if (bytes.compare(before[r]!.bytes, at, at + PAGE, at, at + PAGE) !== 0)
          pages.push((guestAddress + at) / PAGE)
      }
      return pages
    })
  return { daemon, driver, log, image, changed }
}

/** What was submitted is in guest memory, and the daemon, in this process, has not had its turn. */
async function submitted(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

test('every page that the daemon writes is marked, also in a log that takes the place of another', async () => {
  const { daemon, driver, log, image, changed } = await migrating()
  const { client } = driver
  const { entry, open } = await client.create(ROOT_NODE, 'file')
  const data = Buffer.alloc(900_000, 'abc')
  await client.write(entry.nodeid, open.fh, 0, data)
  const second = new FrontendLog(END)
  onTestFinished(() => second.close())
  const logs = [log, second]
  for (let round = 0; round < 12; round++) {
    const present = logs[round % 2]!
    await driver.session.startLogging(present)
    expect(present.take().length, 'of the last round of this log').toBe(0)
    const before = image()
    const work = [
      client.read(entry.nodeid, open.fh, (round * 12_345) % 100_000, 700_000 >> (round % 4)),
      client.getattr(ROOT_NODE),
      client.lookup(ROOT_NODE, round % 2 ? 'file' : 'absent'),
      client.getattr(entry.nodeid),
    ]
    // The spare bytes of a slot hold the answer of another round: wiped, so that each answer is a difference.
    await submitted()
    const asked = image()
    await Promise.all(work)
    const marked = new Set(present.take())
    const unmarked = changed(asked).filter(page => !marked.has(page))
    expect(
      unmarked.map(page => page.toString(16)),
      `round ${round}`,
    ).toEqual([])
    expect(marked.size).toBeGreaterThan(round % 4 === 0 ? 100 : 3)
    expect(before).toHaveLength(2)
  }
  await driver.session.stopLogging()
  await client.getattr(ROOT_NODE)
  expect([log.take(), second.take()]).toEqual([[], []])
  expect(daemon.trouble).toEqual([])
})

test('nothing is written any more once a ring has been stopped', async () => {
  const { driver, log, image, changed } = await migrating()
  const { client, session } = driver
  await session.startLogging(log)
  const { entry, open } = await client.create(ROOT_NODE, 'file')
  const work = [1, 2, 3].map(i => client.write(entry.nodeid, open.fh, i * 5000, Buffer.alloc(4000, i)))
  await submitted()
  await session.stopRing(driver.requests.frontend)
  await session.stopRing(driver.hiprio.frontend)
  log.take()
  const before = image()
  for (let i = 0; i < 20; i++) await new Promise(resolve => setTimeout(resolve, 1))
  expect(changed(before)).toEqual([])
  expect(log.take()).toEqual([])
  await driver.close()
  await Promise.allSettled(work)
})
