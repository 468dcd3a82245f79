// Anonymous shared memory files: what a front-end makes guest memory of.

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
