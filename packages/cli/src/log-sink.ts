// Where log lines go: a stream, stderr, but with a limit to what is held back. Whoever started the daemon may have stopped
// reading: waiting for it would hang the guest, and keeping everything would fill the memory. What finds no room is lost,
// and counted. On Linux, process.stderr writes to pipes and sockets at once if there is room and never waits.

import type { Writable } from 'node:stream'

export type LogSink = (line: string) => void

/** Held back for a reader that is slow, in bytes. */
const MOST_WAITING = 1 << 20

export function openLogSink(stream: Writable): LogSink {
  // That nobody reads any more is no reason to stop serving.
  stream.on('error', () => {})
  let lost = 0
  return line => {
    if (stream.destroyed) return
    if (stream.writableLength > MOST_WAITING) {
      lost++
      return
    }
    if (lost > 0) stream.write(`ovfs: ${lost} log lines were lost: nobody read them\n`)
    lost = 0
    stream.write(line)
  }
}
