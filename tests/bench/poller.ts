// A driver that polls: keeps `depth` requests in flight and never sleeps, so that what is measured is the device. It has
// the process to itself while it runs.

import type { GuestRange, VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { SLOT_BYTES, type Workload } from './workload.ts'

export interface Measurement {
  readonly workload: string
  readonly depth: number
  readonly operations: number
  readonly seconds: number
  /** Latencies, microseconds. */
  readonly p50: number
  readonly p99: number
}

const WARM_UP = 0.2
/** Most latencies kept; when there are more, every n-th. */
const SAMPLES = 1 << 20

export function measure(
  driver: VirtioFsDriver,
  workload: Workload,
  depth: number,
  seconds: number,
): Measurement {
  const { queue, frontend } = driver.requests
  const { spare } = driver
  const started = new Float64Array(queue.size)
  const requests: DataView[] = []
  const replies: DataView[] = []
  const samples = new Float64Array(SAMPLES)
  let completed = 0
  let sampled = 0
  let counting = false
  let stopping = false
  let failure: string | undefined

  queue.disableInterrupts()
  for (let slot = 0; slot < depth; slot++) {
    const at: GuestRange = {
      address: spare.address + slot * SLOT_BYTES,
      length: SLOT_BYTES,
      bytes: spare.bytes.subarray(slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES),
    }
    const { readable, writable } = workload.prepare(slot, at)
    const request = new DataView(at.bytes.buffer, at.bytes.byteOffset, SLOT_BYTES)
    workload.vary?.(request)
    const head = queue.add(readable, writable, true)
    if (head < 0) throw new Error(`the queue has no room for ${depth} requests`)
    requests[head] = request
    const reply = writable[0]?.address ?? 0
    replies[head] = new DataView(at.bytes.buffer, at.bytes.byteOffset + (reply - at.address), 16)
    started[head] = performance.now()
  }
  const onUsed = (head: number) => {
    const now = performance.now()
    const error = (replies[head] as DataView).getInt32(4, true)
    if (error !== 0) failure ??= `${workload.name} was answered with errno ${-error}`
    if (counting) {
      if ((completed & 7) === 0 && sampled < SAMPLES) samples[sampled++] = now - (started[head] as number)
      completed++
    }
    if (stopping || failure !== undefined) return
    workload.vary?.(requests[head] as DataView)
    started[head] = now
    queue.resubmit(head)
  }
  const pump = () => {
    queue.publish()
    if (queue.kickNeeded()) frontend.kick()
    queue.collect(onUsed)
    if (queue.broken !== undefined) throw queue.broken
  }

  const begin = performance.now()
  while (performance.now() - begin < WARM_UP * 1000 && failure === undefined) pump()
  counting = true
  const from = performance.now()
  while (performance.now() - from < seconds * 1000 && failure === undefined) pump()
  const elapsed = (performance.now() - from) / 1000
  counting = false
  stopping = true
  while (queue.inFlight > 0) pump()
  queue.enableInterrupts()
  if (failure !== undefined) throw new Error(failure)

  const sorted = samples.subarray(0, sampled).sort()
  const quantile = (q: number) =>
    1000 * (sorted[Math.min(sampled - 1, Math.floor(q * sampled))] ?? Number.NaN)
  return {
    workload: workload.name,
    depth,
    operations: completed,
    seconds: elapsed,
    p50: quantile(0.5),
    p99: quantile(0.99),
  }
}
