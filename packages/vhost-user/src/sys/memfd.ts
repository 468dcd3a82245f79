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
const F_GET_SEALS = 1034
const F_SEAL_SHRINK = 2

/**
 * Where nothing else stands before an access past the end of a peer's file (bus-guard.ts): seals it. Elsewhere nothing is done,
 * because a peer can hold the lock that sealing takes.
 */
export function sealUnlessGuarded(fd: number): void {
  if (!isGuarded) sealAgainstShrinking(fd)
}

/**
 * Forbids everybody to make the memory file shorter, for ever: an access past its end would kill the process. False if the
 * file can still be shortened, because it is no memory file or its maker forbade further seals.
 */
function sealAgainstShrinking(fd: number): boolean {
  // SAFETY: no memory is passed. That it fails is an answer, which the next call gives.
  libc.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK)
  // SAFETY: no memory is passed.
  const seals = libc.fcntl(fd, F_GET_SEALS, 0)
  return seals >= 0 && (seals & F_SEAL_SHRINK) !== 0
}
