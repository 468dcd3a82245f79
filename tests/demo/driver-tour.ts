// The same tour without a virtual machine: our own front-end and driver put FUSE requests on the ring.

import type { DemoStorage } from './storage.ts'

export async function driverTour(
  _socketPath: string,
  _storage: DemoStorage,
  _print: (text: string) => void,
): Promise<void> {
  throw new Error('not yet')
}
