// Collects the garbage after each test: since Node 26 a file handle that is collected while it is open is an uncaught exception.

import { afterEach } from 'vitest'

afterEach(async () => {
  if (globalThis.gc === undefined) throw new Error('this Node runs without --expose-gc')
  globalThis.gc()
  // Finalizers run in a later turn of the event loop.
  await new Promise(resolve => setImmediate(resolve))
})
