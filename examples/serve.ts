// How an example runs: listens on its socket until it is told to stop.

import { BackendServer, ServiceManager, type VirtioDevice } from '@ovfs/virtio-device'

/**
 * Serves front-ends, one after the other, until SIGTERM or SIGINT; then gives back what the device has taken. As a service of
 * systemd with FileDescriptorStoreMax=, it may be restarted or killed while a virtual machine runs.
 */
export async function serve(path: string, device: VirtioDevice): Promise<void> {
  const store = ServiceManager.fromEnvironment()
  const server = new BackendServer({
    path,
    device,
    ...(store && { store }),
    onDisconnect: error => error && console.error(error),
    onError: error => console.error(error),
  })
  console.log(`listening on ${path}`)
  await store?.ready()
  return stopped(() => server.leave())
}

/** Runs `stop` at the first SIGTERM or SIGINT. */
export function stopped(stop: () => Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const)
      process.once(signal, () => stop().then(resolve, reject))
  })
}
