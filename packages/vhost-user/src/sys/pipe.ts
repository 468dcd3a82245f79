// Pipes of this process: to move a device's state, and to learn that somebody has closed the other end.

import { checked, libc, NativeBuffer } from './libc.ts'

const O_CLOEXEC = 0o2000000
const POLLHUP = 0x10

/** A pipe, close-on-exec; the caller owns both ends. */
export function createPipe(): { readonly readEnd: number; readonly writeEnd: number } {
  const ends = new NativeBuffer(8)
  // SAFETY: the kernel writes two ints to `ends`, which is reachable here.
  checked('pipe2', libc.pipe2(ends.address, O_CLOEXEC))
  return { readEnd: ends.view.getInt32(0, true), writeEnd: ends.view.getInt32(4, true) }
}

/** Whether nobody has the write end any more, in any process. */
export function writerHasClosed(readEnd: number): boolean {
  const entry = new NativeBuffer(8)
  entry.view.setInt32(0, readEnd, true)
  // SAFETY: the kernel reads and writes one struct pollfd in `entry`, which is reachable here; it does not wait.
  checked('poll', libc.poll(entry.address, 1, 0))
  return (entry.view.getInt16(6, true) & POLLHUP) !== 0
}
