// A front-end that sends descriptors of a file system that never answers: asking, mapping, polling or closing such a file waits
// without end. The daemon does none of it where others would wait with it.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readdirSync } from 'node:fs'
import { mkdtemp, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type FrontendRequest, FrontendSession } from '@ovfs/vhost-user'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { unmount } from '../crash/tmpfs.ts'
import { type Daemon, startOvfs } from '../harness/daemon.ts'
import { ownProcess, printed } from '../harness/process.ts'

const SERVER = fileURLToPath(new URL('./silent-files.mjs', import.meta.url))

let folder: string
let server: ChildProcess
let daemon: Daemon
let file: number

// A kernel without FUSE has no such files.
const hasFuse = existsSync('/dev/fuse')

beforeEach(async () => {
  if (!hasFuse) return
  folder = await mkdtemp(join(tmpdir(), 'ovfs-silent-'))
  server = ownProcess(spawn(process.execPath, [SERVER, folder], { stdio: ['ignore', 'pipe', 'inherit'] }))
  await printed(server, server.stdout!, /ready/)
  daemon = await startOvfs('memory://')
  // From now on this process starts no other: what a child inherits it closes, and waits.
  file = openSync(join(folder, 'file'), 'r+')
})
afterEach(async () => {
  if (!hasFuse) return
  server.kill('SIGKILL')
  try {
    closeSync(file)
  } catch {
    // Nobody serves the file any more.
  }
  unmount(folder)
  await rmdir(folder)
})

const region = { guestAddress: 0, size: 65536, userAddress: 0x10000, mmapOffset: 0 }
const MESSAGES: [FrontendRequest, unknown][] = [
  ['SET_VRING_KICK', { index: 0, noFd: false }],
  ['SET_VRING_CALL', { index: 0, noFd: false }],
  ['SET_VRING_ERR', { index: 0, noFd: false }],
  ['ADD_MEM_REG', { region }],
  ['SET_MEM_TABLE', [region]],
  ['SET_LOG_BASE', { mmapSize: 4096, mmapOffset: 0 }],
  ['SET_LOG_FD', undefined],
  ['SET_INFLIGHT_FD', { mmapSize: 4096, mmapOffset: 0, numQueues: 1, queueSize: 128 }],
  ['SET_DEVICE_STATE_FD', { direction: 0, phase: 0 }],
  ['GET_QUEUE_NUM', undefined],
]

test('a daemon that is given files which never answer serves the next front-end', {
  timeout: 60_000,
}, async () => {
  if (!hasFuse) return
  for (const [name, payload] of MESSAGES) {
    const session = FrontendSession.connect(daemon.socketPath)
    await session.handshake()
    const asked = session.request(name, payload as never, [file])
    await expect(asked, name).rejects.toMatchObject({ code: 'PEER_CLOSED' })
    session.close()
  }
  const next = FrontendSession.connect(daemon.socketPath)
  await next.handshake()
  expect(await next.request('GET_QUEUE_NUM')).toBeGreaterThan(0n)
  next.close()
  expect(daemon.stderr().match(/silent-\w+\/file\W+which is no eventfd/g)).toHaveLength(MESSAGES.length)
  // A process that has begun to close such a file cannot end before the file system does.
  server.kill('SIGKILL')
  await daemon.stop()
})

test('a daemon that is flooded with such files takes no more, until it is rid of them', {
  timeout: 60_000,
}, async () => {
  if (!hasFuse) return
  for (let i = 0; i < 3; i++) {
    const session = FrontendSession.connect(daemon.socketPath)
    session.sendMessage(3, 1, new Uint8Array(0), Array(30).fill(file))
    await expect.poll(() => session.endedBy).toBeDefined()
    session.close()
  }
  const next = FrontendSession.connect(daemon.socketPath)
  let isServed = false
  const served = next.handshake().then(() => {
    isServed = true
  })
  await new Promise(resolve => setTimeout(resolve, 100))
  expect(isServed).toBe(false)
  expect(readdirSync(`/proc/${daemon.pid}/fd`).length).toBeLessThan(200)

  server.kill('SIGKILL')
  await served
  next.close()
  await daemon.stop()
})
