// What a monitor that keeps no configuration space of its own learns from the daemon.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FrontendSession } from '@ovfs/vhost-user'
import { VirtioFs, type VirtioFsOptions } from '@ovfs/virtio-fs'
import { expect, onTestFinished, test } from 'vitest'

async function session(options: Partial<VirtioFsOptions>): Promise<FrontendSession> {
  const folder = await mkdtemp(join(tmpdir(), 'ovfs-config-'))
  const socketPath = join(folder, 'socket')
  const server = new VirtioFs({ handler: { init: () => ({ flags: 0 }) }, socketPath, ...options })
  server.listen()
  const frontend = FrontendSession.connect(socketPath)
  onTestFinished(async () => {
    frontend.close()
    await server.close()
    await rm(folder, { recursive: true })
  })
  return frontend
}

test('the tag and the number of request queues are in the configuration space', async () => {
  const frontend = await session({ tag: 'größe', requestQueues: 3 })
  const { queueCount } = await frontend.handshake()
  expect(queueCount, 'one more, for urgent requests').toBe(4)
  const space = Buffer.from(await frontend.readConfig(0, 40))
  expect(space.toString('utf8', 0, 7)).toBe('größe')
  expect(space.subarray(7, 36).every(byte => byte === 0)).toBe(true)
  expect(space.readUInt32LE(36)).toBe(3)
})

test('a tag may fill its field, and no more', async () => {
  const frontend = await session({ tag: 'x'.repeat(36) })
  await frontend.handshake()
  expect(Buffer.from(await frontend.readConfig(0, 36)).toString()).toBe('x'.repeat(36))
  for (const tag of ['', 'x'.repeat(37), 'a\0b']) {
    expect(() => new VirtioFs({ handler: { init: () => ({ flags: 0 }) }, socketPath: '/none', tag })).toThrow(
      RangeError,
    )
  }
})

test('without a tag there is no configuration space: the monitor has its own', async () => {
  const frontend = await session({})
  await frontend.handshake()
  expect(frontend.isNegotiated('CONFIG')).toBe(false)
})
