// kill -9 of a device while it works, a hundred times: its successor, over the same guest memory and the same record of what
// was in flight, answers every request exactly once. OVFS_KILLS says how often instead.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { FrontendMemory, type FrontendRing, FrontendSession, type InflightMemory } from '@ovfs/vhost-user'
import { DriverQueue, GuestMemory } from '@ovfs/virtqueue'
import { expect, onTestFinished, test } from 'vitest'

const KILLS = Number(process.env.OVFS_KILLS ?? 100)
const DAEMON = fileURLToPath(new URL('./doubling-daemon.mjs', import.meta.url))
const SIZE = 64
const DATA_AT = 0x10_0000

function startDevice(): ChildProcess {
  return spawn(process.execPath, [DAEMON], { stdio: ['pipe', 'pipe', 'inherit'] })
}

test('every request is answered exactly once', { timeout: 30_000 + KILLS * 4000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ovfs-killed-'))
  const path = join(folder, 'socket')
  const frontendMemory = new FrontendMemory([{ guestAddress: 0, size: 0x20_0000 }])
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

  let child: ChildProcess | undefined
  /** Starting a process takes longer than anything else here, so the next one is started while this one works. */
  let successor = startDevice()
  let session: FrontendSession | undefined
  let ring: FrontendRing | undefined
  let inflight: InflightMemory | undefined
  onTestFinished(async () => {
    child?.kill('SIGKILL')
    successor.kill('SIGKILL')
    session?.close()
    frontendMemory.close()
    await rm(folder, { recursive: true, force: true })
  })

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
    if (driver.kickNeeded()) ring?.kick()
  }
  const connect = async () => {
    child = successor
    successor = startDevice()
    child.stdin!.write(`${path}\n`)
    await once(child.stdout!, 'data')
    session = FrontendSession.connect(path)
    await session.handshake()
    inflight ??= await session.createInflight(1, SIZE)
    await session.useInflight(inflight)
    await session.addMemory(frontendMemory)
    const { descAddress } = driver.ring
    ring = await session.startRing(
      {
        index: 0,
        size: SIZE,
        descAddress: 0,
        availAddress: driver.ring.availAddress - descAddress,
        usedAddress: driver.ring.usedAddress - descAddress,
      },
      { onCall: collect },
    )
    collect()
  }

  await connect()
  for (let kill = 0; kill < KILLS; kill++) {
    const before = answered
    const moments = 5 + Math.floor(Math.random() * 20)
    for (let moment = 0; moment < moments || answered === before; moment++) {
      for (let i = Math.floor(Math.random() * 12); i > 0; i--) ask()
      await delay(1)
    }
    const exit = once(child!, 'exit')
    child!.kill('SIGKILL')
    // Asked while nobody is there.
    for (let i = Math.floor(Math.random() * 12); i > 0; i--) ask()
    await exit
    session!.close()
    await connect()
  }
  while (asked.size > 0) await delay(1)
  expect(answered).toBe(next - 1)
  expect(answered).toBeGreaterThan(KILLS)
  expect(faults).toEqual([])
})
