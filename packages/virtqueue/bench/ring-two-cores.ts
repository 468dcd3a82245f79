// The same traffic with the driver on another core, polling, as a guest or a benchmark would: what it costs to move cache
// lines between cores, and how much the two sides overlap. Needs two idle cores to mean anything.
//
//   node bench/dist/ring-two-cores.js

import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { type Chain, DeviceQueue, DriverQueue, GuestMemory } from '@ovfs/virtqueue'

const SIZE = 1024
const SECONDS = Number(process.env.SECONDS ?? 1)
const GUEST_BASE = 0x1_0000_0000
const USER_BASE = 0x7f00_0000_0000
const RING_BYTES = 1 << 20

interface Job {
  readonly buffer: SharedArrayBuffer
  readonly depth: number
  readonly seconds: number
}

function map(buffer: SharedArrayBuffer): GuestMemory {
  const memory = new GuestMemory()
  const size = buffer.byteLength
  memory.addRegion({ guestAddress: GUEST_BASE, userAddress: USER_BASE, size, pieces: [buffer] })
  return memory
}

function onError(error: Error): never {
  throw error
}

function answer(chain: Chain): void {
  const { readable, writable } = chain
  const view = writable.views[0]!
  const at = writable.offsets[0]!
  view.setUint32(at, writable.byteLength, true)
  view.setUint32(at + 8, readable.views[0]!.getUint32(readable.offsets[0]!, true), true)
  chain.complete(120)
}

/** In the worker. The flag at the end of the buffer: 1 = ring laid out, 2 = finished. */
function drive({ buffer, depth, seconds }: Job): void {
  const flag = new Int32Array(buffer, buffer.byteLength - 4, 1)
  const driver = new DriverQueue(map(buffer), {
    size: SIZE,
    address: GUEST_BASE,
    eventIdx: true,
    tableEntries: 4,
    onError,
  })
  driver.disableInterrupts()
  Atomics.store(flag, 0, 1)
  Atomics.notify(flag, 0)
  for (let i = 0; i < depth; i++) {
    const at = GUEST_BASE + RING_BYTES + i * 4096
    const readable = [
      { address: at, length: 40 },
      { address: at + 64, length: 16 },
    ]
    const writable = [
      { address: at + 128, length: 16 },
      { address: at + 192, length: 104 },
    ]
    driver.add(readable, writable, true)
  }
  driver.publish()
  const again = (head: number) => driver.resubmit(head)
  const turn = () => {
    const count = driver.collect(again)
    if (count > 0) driver.publish()
    return count
  }
  const warm = performance.now() + 300
  while (performance.now() < warm) turn()
  let chains = 0
  const start = performance.now()
  while (performance.now() - start < seconds * 1000) for (let i = 0; i < 100; i++) chains += turn()
  const rate = chains / (performance.now() - start) / 1000
  Atomics.store(flag, 0, 2)
  console.log(`depth ${String(depth).padStart(3)}: ${rate.toFixed(2)} M chains/s`)
}

async function serve(depth: number): Promise<void> {
  const buffer = new SharedArrayBuffer(16 << 20)
  const flag = new Int32Array(buffer, buffer.byteLength - 4, 1)
  const job: Job = { buffer, depth, seconds: SECONDS }
  const worker = new Worker(new URL(import.meta.url), { workerData: job })
  const exited = new Promise(resolve => worker.once('exit', resolve))
  Atomics.wait(flag, 0, 0)
  const memory = map(buffer)
  const ring = {
    size: SIZE,
    descAddress: USER_BASE,
    availAddress: USER_BASE + SIZE * 16,
    usedAddress: USER_BASE + SIZE * 16 + 8 + SIZE * 2,
  }
  const device = new DeviceQueue(memory, {
    ...ring,
    base: 0,
    eventIdx: true,
    indirect: true,
    notify: () => {},
    onError,
  })
  while (Atomics.load(flag, 0) !== 2) device.drain(answer)
  await exited
}

if (isMainThread) for (const depth of [1, 8, 32, 128]) await serve(depth)
else drive(workerData)
