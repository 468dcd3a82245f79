// A virtio entropy device (virtio 1.2, 5.4): fills the guest's buffers with random bytes of the host.
//   node examples/dist/vhost-user-rng.js SOCKET
//   qemu-system-x86_64 ... -chardev socket,id=rng,path=SOCKET -device vhost-user-rng-pci,chardev=rng

import { randomFillSync } from 'node:crypto'
import { type Chain, copyToSpans, VirtioDevice } from '@ovfs/virtio-device'
import { serve } from './serve.ts'

/** A guest that asks for more at once gets this much, and asks again. */
const MAX_BYTES = 4096
const entropy = new Uint8Array(MAX_BYTES)

/** 5.4.6.2: one or more bytes, from the start of the buffer. */
function fill(chain: Chain): void {
  const length = Math.min(chain.writable.byteLength, MAX_BYTES)
  randomFillSync(entropy, 0, length)
  chain.complete(copyToSpans(chain.writable, 0, entropy, 0, length))
}

const [socketPath] = process.argv.slice(2)
if (socketPath === undefined) throw new Error('usage: vhost-user-rng SOCKET')
await serve(socketPath, new VirtioDevice({ queueCount: 1, handlerOf: () => fill }))
