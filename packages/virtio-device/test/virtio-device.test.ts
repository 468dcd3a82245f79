// A device of no type in particular, seen by its front-end over a socket.

import { closeSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FrontendLog, type VhostUserError } from '@ovfs/vhost-user'
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import {
  BackendServer,
  type Chain,
  copyFromSpans,
  copyToSpans,
  VirtioDevice,
  type VirtioDeviceOptions,
} from '../src/index.ts'
import { Driver } from './driver.ts'

let path: string
let trouble: VhostUserError[]

beforeEach(() => {
  const folder = mkdtempSync(join(tmpdir(), 'ovfs-virtio-device-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  path = join(folder, 'socket')
  trouble = []
})

function serve<Device extends VirtioDevice>(device: Device): Device {
  const server = new BackendServer({ path, device, onError: error => trouble.push(error) })
  onTestFinished(() => server.close())
  return device
}

/** Answers with the request in upper case, and the number of the queue. */
const shouting = (queue: number) => (chain: Chain) => {
  const text = Buffer.alloc(chain.readable.byteLength)
  copyFromSpans(chain.readable, 0, text)
  chain.complete(copyToSpans(chain.writable, 0, Buffer.from(`${text.toString().toUpperCase()} ${queue}`)))
}

const withQueues = (queueCount: number, more: Partial<VirtioDeviceOptions> = {}) =>
  new VirtioDevice({ queueCount, handlerOf: shouting, ...more })

async function connect(...args: Parameters<typeof Driver.connect>): Promise<Driver> {
  const driver = await Driver.connect(...args)
  onTestFinished(() => driver.session.close())
  return driver
}

const said = async (answer: Promise<Buffer>) => (await answer).toString()

test('each queue has its own handler', async () => {
  serve(withQueues(3))
  const driver = await connect(path, 3)
  for (const queue of [2, 0, 1]) expect(await said(driver.ask(queue, 'hello', 64))).toBe(`HELLO ${queue}`)
})

test('features of the type are offered beside those of the rings, and the driver chooses', async () => {
  const device = serve(withQueues(1, { features: 1n << 5n }))
  const driver = await connect(path, 1)
  expect(driver.features & 0xf_ffff_ffffn & ~(1n << 30n)).toBe(
    (1n << 5n) | (1n << 28n) | (1n << 29n) | (1n << 32n),
  )
  expect(device.driverFeatures & (1n << 5n)).toBe(1n << 5n)
})

test('the configuration space is what the type says', async () => {
  serve(withQueues(1, { config: { read: () => Uint8Array.of(1, 2, 3, 4) } }))
  const driver = await connect(path, 1)
  expect([...(await driver.session.readConfig(1, 2))]).toEqual([2, 3])
})

test('a ring that was stopped goes on where it was', async () => {
  serve(withQueues(1))
  const driver = await connect(path, 1)
  for (let round = 0; round < 3; round++) {
    expect(await said(driver.ask(0, 'once', 64))).toBe('ONCE 0')
    const base = await driver.stop(0)
    expect(base).toBe(round + 1)
    await driver.start(0, base)
  }
})

test('stopping waits for what is in flight', async () => {
  const held: Chain[] = []
  serve(withQueues(1, { handlerOf: () => chain => void held.push(chain) }))
  const driver = await connect(path, 1)
  driver.put(0, 'late', 64)
  await vi.waitFor(() => expect(held).toHaveLength(1))
  const stopped = driver.stop(0)
  held[0]!.complete(0)
  expect(await stopped).toBe(1)
})

test('when the front-end vanishes, an answer that comes later writes nothing, and the next one is served', async () => {
  const held: Chain[] = []
  serve(withQueues(1, { handlerOf: () => chain => void held.push(chain) }))
  const first = await connect(path, 1)
  first.put(0, 'late', 64)
  await vi.waitFor(() => expect(held).toHaveLength(1))
  first.close()
  await vi.waitFor(() => expect(held[0]!.writable.byteLength).toBe(0))
  expect(copyToSpans(held[0]!.writable, 0, Buffer.from('too late'))).toBe(0)
  held[0]!.complete(8)
  const second = await connect(path, 1)
  second.put(0, 'now', 64)
  await vi.waitFor(() => expect(held).toHaveLength(2))
  held[1]!.complete(copyToSpans(held[1]!.writable, 0, Buffer.from('in time')))
  expect(await said(second.answer(0))).toBe('in time')
})

test('a handler that throws breaks its queue, and no other', async () => {
  const handlerOf = (queue: number) =>
    queue === 0
      ? () => {
          throw new Error('out of order')
        }
      : shouting(queue)
  serve(withQueues(2, { handlerOf }))
  const driver = await connect(path, 2)
  driver.put(0, 'any', 64)
  await vi.waitFor(() => expect(driver.isBroken(0)).toBe(true))
  expect(await said(driver.ask(1, 'still here', 64))).toBe('STILL HERE 1')
  expect(trouble).toHaveLength(1)
})

test('buffers and used ring are marked in the dirty log', async () => {
  serve(withQueues(1))
  const driver = await connect(path, 1)
  const log = new FrontendLog(0x20_000)
  onTestFinished(() => log.close())
  await driver.session.startLogging(log)
  log.take()
  await driver.ask(0, 'mark', 64)
  expect(log.take()).toEqual([0, 9])
  await driver.session.stopLogging()
  await driver.ask(0, 'no mark', 64)
  expect(log.take()).toEqual([])
})

test('a chain that was in flight is handled again after the front-end has reconnected', async () => {
  const held: Chain[] = []
  serve(withQueues(1, { handlerOf: () => chain => void held.push(chain) }))
  const first = await connect(path, 1)
  const inflight = await first.session.createInflight(1, 16)
  onTestFinished(() => closeSync(inflight.fd))
  first.close()
  const second = await connect(path, 1, { inflight })
  second.put(0, 'again', 64)
  await vi.waitFor(() => expect(held).toHaveLength(1))
  second.close({ keepMemory: true })
  const third = await connect(path, 1, { inflight, before: second })
  await vi.waitFor(() => expect(held).toHaveLength(2))
  const text = Buffer.alloc(5)
  copyFromSpans(held[1]!.readable, 0, text)
  expect(text.toString()).toBe('again')
  held[1]!.complete(copyToSpans(held[1]!.writable, 0, Buffer.from('done')))
  expect(await said(third.answer(0))).toBe('done')
  third.close()
})

test('a subclass has what its type needs: a reset of its own, and state that moves', async () => {
  class Counting extends VirtioDevice {
    resets = 0
    count = 7
    override reset(): void {
      super.reset()
      this.resets++
    }
    saveState(): Uint8Array {
      return Uint8Array.of(this.count)
    }
    loadState(state: Uint8Array): void {
      this.count = state[0]!
    }
  }
  const device = serve(new Counting({ queueCount: 1, handlerOf: shouting }))
  const driver = await connect(path, 1)
  await driver.stop(0)
  const state = await driver.session.saveState()
  expect([...state]).toEqual([7])
  device.count = 0
  await driver.session.loadState(state)
  expect(device.count).toBe(7)
  const before = device.resets
  driver.close()
  await vi.waitFor(() => expect(device.resets).toBeGreaterThan(before))
})
