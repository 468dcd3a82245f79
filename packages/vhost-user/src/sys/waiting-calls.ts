// System calls that a thread makes because they may never come back. At its end Node waits for its threads; for such ones nobody
// does.

import { isMainThread } from 'node:worker_threads'
import { libc } from './libc.ts'

let waiting = 0
let watched = false

/** A call begins. Returns what is to be called, once, when it has come back. */
export function waitingCall(): () => void {
  waiting++
  if (!watched && isMainThread) {
    watched = true
    // The listeners of others, who were there first, have been heard.
    process.on('exit', code => {
      // SAFETY: no memory is passed. It does not return.
      if (waiting > 0) libc.exit(code)
    })
  }
  return () => {
    waiting--
  }
}
