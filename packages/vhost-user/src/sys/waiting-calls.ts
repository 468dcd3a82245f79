// System calls that may never come back, because a peer can make them wait: threads make them. Node has four; so only a few such
// calls are under way at a time, and at the end of the process, when Node waits for its threads, nobody waits for these.

import { isMainThread } from 'node:worker_threads'
import { libc } from './libc.ts'

const MOST = 2

let underWay = 0
let watched = false

/** A call begins. Returns what is to be called, once, when it has come back. */
export function waitingCall(): () => void {
  underWay++
  if (!watched && isMainThread) {
    watched = true
    // The listeners of others, who were there first, have been heard.
    process.on('exit', code => {
      // SAFETY: no memory is passed. It does not return.
      if (underWay > 0) libc.exit(code)
    })
  }
  return () => {
    underWay--
  }
}

/** Begins a call; it says when it has come back. */
type Start = (returned: () => void) => void

let turns = 0
const queue: Start[] = []

/** Begins the call when no more than one other of these is under way. */
export function callInTurn(start: Start): void {
  if (turns >= MOST) {
    queue.push(start)
    return
  }
  turns++
  const returned = waitingCall()
  start(() => {
    returned()
    turns--
    const next = queue.shift()
    if (next) callInTurn(next)
  })
}
