// How an example runs: listens on its socket until it is told to stop.

import { BackendServer, type VirtioDevice } from '@ovfs/virtio-device'

/** Serves front-ends, one after the other, until SIGTERM or SIGINT; then gives back what the device has taken. */
export function serve(path: string, device: VirtioDevice): Promise<void> {
  const server = new BackendServer({ path, device, onError: error => console.error(error) })
  console.log(`listening on ${path}`)
  return stopped(() => server.close())
}

/** Runs `stop` at the first SIGTERM or SIGINT. */
export function stopped(stop: () => Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const)
      process.once(signal, () => stop().then(resolve, reject))
  })
}
