// A device over vhost-user in a process of its own, to be killed at any moment: answers each number with its double, some at
// once and some later. It listens at the path that is its argument, or comes on a line: until a predecessor is killed, it waits
// ready; and says so then. With a record of what is in flight. If a service manager has started it, its successor takes over.

import { once } from 'node:events'
import { BackendServer, ServiceManager } from '@ovfs/vhost-user'
import { copyFromSpans, copyToSpans, DeviceQueue, GuestMemory, inflightRingBytes } from '@ovfs/virtqueue'

const EVENT_IDX = 1n << 29n
const memory = new GuestMemory()
let queue

const handle = chain => {
  const number = new Float64Array(1)
  copyFromSpans(chain.readable, 0, new Uint8Array(number.buffer))
  const answer = () => {
    number[0] *= 2
    chain.complete(copyToSpans(chain.writable, 0, new Uint8Array(number.buffer)))
  }
  if (Math.random() < 0.5) answer()
  else setTimeout(answer, Math.random() * 8)
}

const device = {
  features: (1n << 32n) | EVENT_IDX,
  queueCount: 1,
  setFeatures() {},
  addRegion: region => memory.addRegion(region),
  removeRegion: region => memory.removeRegion(region),
  startRing(ring, notify, onError) {
    queue = new DeviceQueue(memory, { ...ring, eventIdx: true, indirect: false, notify, onError })
    if (ring.base === undefined) queue.drain(handle, 0)
  },
  kickRing: () => queue.drain(handle, 8),
  stopRing: () => queue.stop(),
  reset() {
    queue?.detach()
    for (const region of [...memory.regions]) memory.removeRegion(region)
  },
  inflightBytes: inflightRingBytes,
}

let path = process.argv[2]
if (path === undefined) {
  const [line] = await once(process.stdin.setEncoding('utf8'), 'data')
  process.stdin.unref()
  path = line.trim()
}
const store = ServiceManager.fromEnvironment()
const server = new BackendServer({
  path,
  device,
  ...(store && { store }),
  onError: error => console.error(error),
})
console.log('listening')
await store?.ready()
process.once('SIGTERM', async () => {
  await server.leave()
  process.exit(0)
})
