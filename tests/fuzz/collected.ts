// What a process still holds after a garbage collection.

import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Bytes of the JavaScript heap and of what hangs on it, once nothing is left to be collected. */
export async function heldBytes(): Promise<number> {
  // What finalizers let go of in the first round goes in the second.
  for (let round = 0; round < 2; round++) {
    collect()
    await turn()
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
