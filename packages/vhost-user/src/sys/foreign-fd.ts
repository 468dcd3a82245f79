// Descriptors from a peer: what they are, and how to be rid of them. A file system that the peer provides itself (FUSE) may never
// answer, and fstat, poll and even close ask it; a socket may linger when it is closed. So nothing is done with a descriptor
// before the kernel alone has told what it is, and what may keep its closing waiting is closed by a thread that can wait.

import { close, fstatSync, readFileSync, readlinkSync } from 'node:fs'
import { VhostUserError } from '../errors.ts'
import { closeFd, libc } from './libc.ts'
import { waitingCall } from './waiting-calls.ts'

const F_GET_SEALS = 1034

/** Whose files answer as soon as the host's disk does, where this process sees them mounted. */
const LOCAL_FILE_SYSTEMS = new Set([
  ...['tmpfs', 'hugetlbfs', 'ramfs', 'ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'f2fs', 'zfs', 'bcachefs'],
  // One that a user has mounted is in a namespace of the user's own.
  'overlay',
])

/** What the descriptor refers to, in quotes, for an error. */
export function nameOf(fd: number): string {
  return JSON.stringify(readlinkSync(`/proc/self/fd/${fd}`))
}

export function isEventFd(fd: number): boolean {
  return readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[eventfd]'
}

/** Throws BAD_DESCRIPTORS if asking the descriptor anything may wait for somebody. */
export function requireKnown(fd: number): void {
  if (isLocal(fd) || isStream(fd)) return
  throw new VhostUserError(
    'BAD_DESCRIPTORS',
    `a descriptor of ${nameOf(fd)}, which is no eventfd, pipe or socket, and no file in memory or on a local disk`,
  )
}

/** Closing it waits for nobody. */
function isLocal(fd: number): boolean {
  // SAFETY: no memory is passed. Files of tmpfs, hugetlbfs and memfd_create have seals, and no others (fcntl(2)).
  if (libc.fcntl(fd, F_GET_SEALS, 0) >= 0 || isEventFd(fd)) return true
  if (!LOCAL_FILE_SYSTEMS.has(fileSystemOf(fd) ?? '')) return false
  const file = fstatSync(fd)
  return file.isFile() || file.isDirectory()
}

/** A pipe without a name, or a socket. No path looks like this: paths begin with a slash. */
function isStream(fd: number): boolean {
  return /^(pipe|socket):\[/.test(readlinkSync(`/proc/self/fd/${fd}`))
}

/** Undefined if its mount is none of those that this process sees (proc_pid_fdinfo(5), proc_pid_mountinfo(5)). */
function fileSystemOf(fd: number): string | undefined {
  const mount = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1]
  for (const line of readFileSync('/proc/self/mountinfo', 'latin1').split('\n')) {
    if (line.startsWith(`${mount} `)) return / - (\S+) /.exec(line)?.[1]
  }
  return undefined
}

const leaving: number[] = []
let closing = false
const waiters: (() => void)[] = []

/** Closes a descriptor from a peer, at once or as soon as those before it are closed: at most one thread waits. */
export function closeForeignFd(fd: number): void {
  if (isLocal(fd)) {
    closeFd(fd)
    return
  }
  leaving.push(fd)
  if (!closing) closeNext()
}

function closeNext(): void {
  const fd = leaving.shift()
  closing = fd !== undefined
  if (fd === undefined) {
    for (const wake of waiters.splice(0)) wake()
    return
  }
  const returned = waitingCall()
  close(fd, () => {
    returned()
    closeNext()
  })
}

/** Resolves when none is left to be closed. */
export async function foreignFdsClosed(): Promise<void> {
  if (closing) await new Promise<void>(resolve => waiters.push(resolve))
}
