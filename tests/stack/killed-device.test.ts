// kill -9 of a device while it works, a hundred times: its successor, over the same guest memory and the same record of what
// was in flight, answers every request exactly once. OVFS_KILLS says how often instead.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FrontendSession, type InflightMemory } from '@ovfs/vhost-user'
import { expect, onTestFinished, test } from 'vitest'
import { DoublingDriver } from './doubling-driver.ts'

const KILLS = Number(process.env.OVFS_KILLS ?? 100)
const DAEMON = fileURLToPath(new URL('./doubling-daemon.mjs', import.meta.url))

function startDevice(): ChildProcess {
  return spawn(process.execPath, [DAEMON], { stdio: ['pipe', 'pipe', 'inherit'] })
}

test('every request is answered exactly once', { timeout: 30_000 + KILLS * 4000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ovfs-killed-'))
  const path = join(folder, 'socket')
  const driver = new DoublingDriver()

  let child: ChildProcess | undefined
  /** Starting a process takes longer than anything else here, so the next one is started while this one works. */
  let successor = startDevice()
  let session: FrontendSession | undefined
  let inflight: InflightMemory | undefined
  onTestFinished(async () => {
    child?.kill('SIGKILL')
    successor.kill('SIGKILL')
    session?.close()
    driver.memory.close()
    await rm(folder, { recursive: true, force: true })
  })

  const connect = async () => {
    child = successor
    successor = startDevice()
    child.stdin!.write(`${path}\n`)
    await once(child.stdout!, 'data')
    session = FrontendSession.connect(path)
    await session.handshake()
    inflight ??= await session.createInflight(1, driver.layout.size)
    await session.useInflight(inflight)
    await session.addMemory(driver.memory)
    driver.ring = await session.startRing(driver.layout, { onCall: driver.collect })
    driver.collect()
  }

  await connect()
  for (let kill = 0; kill < KILLS; kill++) {
    await driver.work()
    const exit = once(child!, 'exit')
    child!.kill('SIGKILL')
    // Asked while nobody is there.
    driver.askSome()
    await exit
    session!.close()
    await connect()
  }
  await driver.settle()
  expect(driver.answered).toBeGreaterThan(KILLS)
  expect(driver.faults).toEqual([])
})
