// A device over vhost-user in a process of its own, to be killed at any moment: answers each number with its double, some at
// once and some later. It listens when it is given a socket's path on a line, and says so then: until a predecessor is killed,
// it waits ready. With a record of what is in flight.

import { once } from 'node:events'
import { BackendServer } from '@ovfs/vhost-user'
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
  },
  kickRing: () => queue.drain(handle, 8),
  stopRing: () => queue.stop(),
  reset: () => queue?.detach(),
  inflightBytes: inflightRingBytes,
}

const [line] = await once(process.stdin.setEncoding('utf8'), 'data')
process.stdin.unref()
new BackendServer({ path: line.trim(), device, onError: error => console.error(error) })
console.log('listening')
