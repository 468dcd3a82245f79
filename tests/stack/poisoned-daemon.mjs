// Two devices over vhost-user in one process, which a service manager starts again whenever it dies. Each answers a number with
// its double; the first dies of a negative one. Listens at the paths that are its arguments.

import { BackendServer, ServiceManager } from '@ovfs/vhost-user'
import { VirtioDevice } from '@ovfs/virtio-device'
import { copyFromSpans, copyToSpans } from '@ovfs/virtqueue'

const device = () =>
  new VirtioDevice({
    queueCount: 1,
    handlerOf: () => chain => {
      const number = new Float64Array(1)
      copyFromSpans(chain.readable, 0, new Uint8Array(number.buffer))
      // Not at once: what else is in flight, and the front-ends, have their turn before.
      if (number[0] < 0) setTimeout(() => process.abort(), 5)
      else {
        number[0] *= 2
        chain.complete(copyToSpans(chain.writable, 0, new Uint8Array(number.buffer)))
      }
    },
  })

const store = ServiceManager.fromEnvironment()
for (const [index, path] of process.argv.slice(2).entries()) {
  new BackendServer({
    path,
    device: device(),
    store,
    storePrefix: `device${index}-`,
    onError: error => console.error(error.message),
  })
}
await store.ready()
