// What the ring itself costs: driver and device take turns in one thread, so there are no wake-ups and no cache lines
// change cores. 32 chains of 2 readable and 2 writable buffers in flight, each answered at once with a 16-byte header.
// The device's share is timed around `drain`; its handler does the least that an answer needs. A drain ends with the moment of
// watching of busy-wait.ts, which can never pay here, since the driver has its turn later.
//
//   npm run bench (in this package)        profile: node --cpu-prof bench/dist/ring.js

import { type Chain, DeviceQueue, DriverQueue, GuestMemory } from '@ovfs/virtqueue'

const DEPTH = 32
const SIZE = 1024
const SECONDS = Number(process.env.SECONDS ?? 2)
const SAMPLES = 15
const GUEST_BASE = 0x1_0000_0000
const USER_BASE = 0x7f00_0000_0000

function answer(chain: Chain): void {
  const { writable } = chain
  const view = writable.views[0]!
  const at = writable.offsets[0]!
  view.setUint32(at, writable.byteLength, true)
  view.setUint32(at + 4, 0, true)
  view.setUint32(at + 8, chain.readable.views[0]!.getUint32(chain.readable.offsets[0]!, true), true)
  view.setUint32(at + 12, 0, true)
  chain.complete(120)
}

function run(name: string, indirect: boolean, eventIdx: boolean, scattered: boolean): void {
  const memory = new GuestMemory()
  const size = 4 * 2 ** 30
  const pieces = Array.from({ length: 4 }, () => new ArrayBuffer(size / 4))
  memory.addRegion({ guestAddress: GUEST_BASE, userAddress: USER_BASE, size, pieces })
  let notifications = 0
  const onError = (error: Error) => {
    throw error
  }
  const driver = new DriverQueue(memory, {
    size: SIZE,
    address: GUEST_BASE,
    eventIdx,
    tableEntries: indirect ? 4 : 0,
    onError,
  })
  const device = new DeviceQueue(memory, {
    ...driver.ring,
    base: 0,
    eventIdx,
    indirect,
    notify: () => {
      notifications++
    },
    onError,
  })
  driver.disableInterrupts()
  /** Scattered: no two buffers of a chain in the same piece, as where a guest has memory of more than 1 GiB. */
  const place = (chain: number, buffer: number) => {
    const piece = scattered ? (chain + buffer) % 4 : 0
    return GUEST_BASE + (1 << 20) + piece * (size / 4) + chain * 4096 + buffer * 64
  }
  for (let i = 0; i < DEPTH; i++) {
    driver.add(
      [
        { address: place(i, 0), length: 40 },
        { address: place(i, 1), length: 16 },
      ],
      [
        { address: place(i, 2), length: 16 },
        { address: place(i, 3), length: 104 },
      ],
      indirect,
    )
  }
  driver.publish()
  const again = (head: number) => driver.resubmit(head)

  function rounds(seconds: number) {
    let chains = 0
    let drained = 0
    let kicks = 0
    const start = performance.now()
    const end = start + seconds * 1000
    let now = start
    while (now < end) {
      const before = performance.now()
      device.drain(answer)
      now = performance.now()
      drained += now - before
      chains += driver.collect(again)
      driver.publish()
      if (driver.kickNeeded()) kicks++
    }
    return { chains, drained, kicks, elapsed: now - start }
  }

  rounds(0.5)
  notifications = 0
  const samples = Array.from({ length: SAMPLES }, () => rounds(SECONDS / SAMPLES))
  const total = samples.reduce((sum, sample) => sum + sample.chains, 0)
  const kicks = samples.reduce((sum, sample) => sum + sample.kicks, 0) / total
  samples.sort((a, b) => a.elapsed / a.chains - b.elapsed / b.chains)
  const median = samples[SAMPLES >> 1]!
  const best = samples[0]!
  console.log(
    `${name.padEnd(20)} ${(median.chains / median.elapsed / 1000).toFixed(2).padStart(6)} M chains/s, a chain ` +
      `${nanoseconds(median.elapsed, median.chains)} (best ${nanoseconds(best.elapsed, best.chains)}), in the device ` +
      `${nanoseconds(median.drained, median.chains)} (best ${nanoseconds(best.drained, best.chains)}); ` +
      `${kicks.toFixed(3)} kicks, ${(notifications / total).toFixed(3)} notifications`,
  )
}

function nanoseconds(milliseconds: number, count: number): string {
  return `${((milliseconds * 1e6) / count).toFixed(0)} ns`
}

const only = process.argv[2]
for (const [name, indirect, eventIdx, scattered] of [
  ['direct', false, false, false],
  ['direct, event-idx', false, true, false],
  ['indirect', true, false, false],
  ['indirect, event-idx', true, true, false],
  ['indirect, scattered', true, true, true],
] as const) {
  if (only === undefined || only === name) run(name, indirect, eventIdx, scattered)
}
