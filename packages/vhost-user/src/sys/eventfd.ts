// Eventfds: how rings are kicked and called. Signalling and draining are on the hot path, one system call each, and
// allocate nothing. Descriptors from a peer may be pipes instead; eight bytes are moved either way.

import { fstatSync, readlinkSync } from 'node:fs'
import { VhostUserError } from '../errors.ts'
import { requirePollable } from './fd-poll.ts'
import { checked, lastErrno, libc, NativeBuffer, setNonBlocking, systemCallError } from './libc.ts'

const EFD_CLOEXEC = 0o2000000
const EFD_NONBLOCK = 0o4000

const one = new NativeBuffer(8)
one.view.setBigUint64(0, 1n, true)
const sink = new NativeBuffer(8)

/** A new eventfd, count 0, non-blocking, close-on-exec; the caller owns and closes it. */
export function createEventFd(): number {
  // SAFETY: no memory is passed; the descriptor belongs to the caller.
  return checked('eventfd', libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))
}

/**
 * Makes a descriptor from a peer one that is written to without waiting. Throws BAD_DESCRIPTORS if it is no eventfd, pipe or
 * socket: a file of the peer's own file system may wait without end, whatever its flags say.
 */
export function prepareToSignal(fd: number): void {
  requireNotifier(fd)
  setNonBlocking(fd)
}

/** Throws BAD_DESCRIPTORS if a descriptor from a peer is none of these, or cannot be waited for. */
export function requireKick(fd: number): void {
  requireNotifier(fd)
  requirePollable(fd)
}

function requireNotifier(fd: number): void {
  const file = fstatSync(fd)
  if (file.isFIFO() || file.isSocket()) return
  const name = readlinkSync(`/proc/self/fd/${fd}`)
  if (name !== 'anon_inode:[eventfd]')
    throw new VhostUserError('BAD_DESCRIPTORS', `a ring cannot be notified through ${JSON.stringify(name)}`)
}

/**
 * Adds one to the count. A full counter or pipe is fine: the reader has something to wake up for already. Throws
 * SYSTEM_CALL if the descriptor cannot be written.
 */
export function signalEventFd(fd: number): void {
  // SAFETY: reads 8 bytes of `one`, which lives as long as this module.
  while (libc.write(fd, one.address, 8) < 0) {
    const errno = lastErrno()
    if (errno === 'EAGAIN') return
    if (errno !== 'EINTR') throw systemCallError('write', errno, 'to an event descriptor')
  }
}

/**
 * Takes what was signalled. False if nothing was there. Throws SYSTEM_CALL, with errno EPIPE at the end of a pipe, if
 * nothing can ever come from it any more.
 */
export function drainEventFd(fd: number): boolean {
  for (;;) {
    // SAFETY: writes at most 8 bytes to `sink`, which lives as long as this module.
    const count = libc.read(fd, sink.address, 8)
    if (count > 0) return true
    if (count === 0) throw systemCallError('read', 'EPIPE', 'from an event descriptor')
    const errno = lastErrno()
    if (errno === 'EAGAIN') return false
    if (errno !== 'EINTR') throw systemCallError('read', errno, 'from an event descriptor')
  }
}
