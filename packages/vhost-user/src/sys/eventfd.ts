// Eventfds: how rings are kicked and called. Signalling and draining are on the hot path, one system call each, and allocate
// nothing. Neither ever waits, whatever a peer does to the descriptor: O_NONBLOCK belongs to the open file, which the peer shares
// and may change at any time, so it counts only on kernels that leave no other way (before Linux 5.8).

import { VhostUserError } from '../errors.ts'
import { CompletionSignal } from './completion-signal.ts'
import { isEventFd, nameOf } from './foreign-fd.ts'
import { checked, lastErrno, libc, NativeBuffer, SYS, setNonBlocking, systemCallError } from './libc.ts'

const EFD_CLOEXEC = 0o2000000
const EFD_NONBLOCK = 0o4000
/** preadv2(2): EAGAIN instead of waiting; the file has no positions. */
const RWF_NOWAIT = 8
const NO_POSITION = -1

const one = new NativeBuffer(8)
one.view.setBigUint64(0, 1n, true)
const POLLOUT = 4
const pollfd = new NativeBuffer(8)
const sink = new NativeBuffer(8)
/** struct iovec */
const intoSink = new NativeBuffer(16)
intoSink.view.setBigUint64(0, sink.address, true)
intoSink.view.setBigUint64(8, 8n, true)

/** A new eventfd, count 0, non-blocking, close-on-exec; the caller owns and closes it. */
export function createEventFd(): number {
  // SAFETY: no memory is passed; the descriptor belongs to the caller.
  return checked('eventfd', libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))
}

/** Throws BAD_DESCRIPTORS if a descriptor from a peer is no eventfd. */
export function requireEventFd(fd: number): void {
  if (!isEventFd(fd)) throw new VhostUserError('BAD_DESCRIPTORS', `not an eventfd, but ${nameOf(fd)}`)
  setNonBlocking(fd)
}

// Made before any peer can be there, which could use up what the host has of them.
const completion = new CompletionSignal()

/** Adds one to the count; a full counter stays full. Throws SYSTEM_CALL if the descriptor cannot be written. */
export function signalEventFd(fd: number): void {
  if (completion.signal(fd) || !isWritable(fd)) return
  // SAFETY: reads 8 bytes of `one`, which lives as long as this module.
  while (libc.write(fd, one.address, 8) < 0) {
    const errno = lastErrno()
    if (errno === 'EAGAIN') return
    if (errno !== 'EINTR') throw systemCallError('write', errno, 'to an event descriptor')
  }
}

/** False if the counter is full: the reader has something to wake up for already. */
function isWritable(fd: number): boolean {
  const { view, address } = pollfd
  view.setInt32(0, fd, true)
  view.setUint32(4, POLLOUT, true)
  // SAFETY: reads and writes one struct pollfd in `pollfd`, which lives as long as this module; it does not wait.
  checked('poll', libc.poll(address, 1, 0))
  return view.getInt16(6, true) !== 0
}

/** Set once the kernel has refused. */
let readsFlagged = false

/** Takes what was signalled. False if nothing was there. Throws SYSTEM_CALL if the descriptor cannot be read. */
export function drainEventFd(fd: number): boolean {
  for (;;) {
    const count = readsFlagged
      ? // SAFETY: writes at most 8 bytes to `sink`, which lives as long as this module.
        libc.read(fd, sink.address, 8)
      : // SAFETY: the same, and reads `intoSink`.
        libc.preadv2(SYS.preadv2, fd, intoSink.address, 1, NO_POSITION, 0, RWF_NOWAIT)
    if (count > 0) return true
    const errno = lastErrno()
    if (errno === 'EAGAIN') return false
    if (errno === 'EOPNOTSUPP' || errno === 'ENOSYS') readsFlagged = true
    else if (errno !== 'EINTR') throw systemCallError('read', errno, 'from an event descriptor')
  }
}
