// Anonymous shared memory files: what guest memory, dirty logs and in-flight regions are made of.

import { isGuarded } from './bus-guard.ts'
import { checked, closeFd, libc } from './libc.ts'

const MFD_CLOEXEC = 1
const MFD_ALLOW_SEALING = 2

/** A new zeroed memory file of `size` bytes, close-on-exec; the caller owns and closes the descriptor. */
export function createMemFd(name: string, size: number): number {
  // SAFETY: the name is copied by the kernel; the descriptor belongs to the caller.
  const fd = checked('memfd_create', libc.memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING))
  try {
    // SAFETY: no memory is passed.
    checked('ftruncate', libc.ftruncate(fd, size), `to ${size} bytes`)
  } catch (error) {
    closeFd(fd)
    throw error
  }
  return fd
}

const F_ADD_SEALS = 1033
const F_SEAL_SHRINK = 2

/**
 * Where nothing else stands before an access past the end of a peer's file (bus-guard.ts): forbids everybody to make a memory file
 * shorter, if its maker allows seals. Elsewhere nothing is done, because a peer can hold the lock that sealing takes.
 */
export function sealUnlessGuarded(fd: number): void {
  // SAFETY: no memory is passed. What cannot be sealed stays as it is.
  if (!isGuarded) libc.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)
}
