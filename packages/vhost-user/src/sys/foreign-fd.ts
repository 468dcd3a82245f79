// Descriptors from a peer: what they are, and how to be rid of them. A file system that the peer provides itself (FUSE) may never
// answer, and fstat, poll and even close ask it; a socket may linger when it is closed. So nothing is done with a descriptor
// before the kernel alone has told what it is, and what may keep its closing waiting is closed by a thread that can wait.

import { close, fstatSync, readFileSync, readlinkSync } from 'node:fs'
import { VhostUserError } from '../errors.ts'
import { closeFd, libc, NativeBuffer } from './libc.ts'
import { fdInfo } from './open-file.ts'
import { shutdownSocket } from './stream-position.ts'
import { isUnixSocket, type Received, receive } from './unix-socket.ts'
import { waitingCall } from './waiting-calls.ts'

const F_GET_SEALS = 1034

/** Whose files answer as soon as the host's disk does, where this process sees them mounted. */
const LOCAL_FILE_SYSTEMS = new Set([
  ...['tmpfs', 'hugetlbfs', 'ramfs', 'ext2', 'ext3', 'ext4', 'xfs', 'btrfs', 'f2fs', 'zfs', 'bcachefs'],
  // One that a user has mounted is in a namespace of the user's own.
  'overlay',
])

/** Descriptors that wait to be closed, above which nothing more is taken from peers. */
const MOST_LEAVING = 64

/** What /proc calls the open file: a path if it begins with a slash, and else a name that no path can have. */
function linkOf(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    // A path may be too long to be told, or no descriptor left to look it up.
    return undefined
  }
}

/** What the descriptor refers to, in quotes, for an error. */
export function nameOf(fd: number): string {
  return JSON.stringify(linkOf(fd) ?? 'something without a name')
}

export function isEventFd(fd: number): boolean {
  return linkOf(fd) === 'anon_inode:[eventfd]'
}

/** Throws BAD_DESCRIPTORS if asking the descriptor anything may wait for somebody, or too many are still to be closed. */
export function requireKnown(fd: number): void {
  if (areTooManyLeaving()) {
    throw new VhostUserError('BAD_DESCRIPTORS', 'the descriptors of earlier messages cannot be closed')
  }
  if (isLocal(fd) || isPipe(fd) || isUnixSocket(fd)) return
  throw new VhostUserError(
    'BAD_DESCRIPTORS',
    `a descriptor of ${nameOf(fd)}, which is no eventfd, pipe or Unix socket, and no file in memory or on a local disk`,
  )
}

/** Closing it waits for nobody. */
function isLocal(fd: number): boolean {
  // SAFETY: no memory is passed. Files of tmpfs, hugetlbfs and memfd_create have seals, and no others (fcntl(2)).
  if (libc.fcntl(fd, F_GET_SEALS, 0) >= 0) return true
  const link = linkOf(fd)
  if (link === 'anon_inode:[eventfd]') return true
  if (!link?.startsWith('/') || !LOCAL_FILE_SYSTEMS.has(fileSystemOf(fd) ?? '')) return false
  const file = fstatSync(fd)
  return file.isFile() || file.isDirectory()
}

/** One without a name: what has one lies in a file system. */
export function isPipe(fd: number): boolean {
  return linkOf(fd)?.startsWith('pipe:[') === true
}

/** Undefined if its mount is none of those that this process sees (proc_pid_fdinfo(5), proc_pid_mountinfo(5)). */
function fileSystemOf(fd: number): string | undefined {
  try {
    const mount = /^mnt_id:\s*(\d+)$/m.exec(fdInfo(fd))?.[1]
    for (const line of readFileSync('/proc/self/mountinfo', 'latin1').split('\n')) {
      if (line.startsWith(`${mount} `)) return / - (\S+) /.exec(line)?.[1]
    }
  } catch {
    // No descriptor is left to look it up.
  }
  return undefined
}

const leaving: number[] = []
let closing = false
const waiters: (() => void)[] = []

/** Closes a descriptor from a peer, whatever is wrong with it. */
export function closeForeignFd(fd: number): void {
  if (!isLocal(fd)) {
    closeInThread(fd)
    return
  }
  try {
    closeFd(fd)
  } catch {
    // Linux has closed it, whatever the disk says.
  }
}

const scratch = new NativeBuffer(4096)

/**
 * Ends a connection and closes the socket. Descriptors may lie in it that nobody has received, which the kernel would close with
 * it, in whatever process is the last to have it: they are received first.
 */
export function dismissSocket(fd: number): void {
  endConnection(fd)
  closeFd(fd)
}

/** The same, and the socket stays open. What is no socket has nothing in it. */
export function endConnection(fd: number): void {
  if (!isUnixSocket(fd)) return
  shutdownSocket(fd)
  const fds: number[] = []
  for (let count: Received = 1; count; ) {
    try {
      count = receive(fd, scratch, 0, 4096, fds)
    } catch (error) {
      // Some of the descriptors were too many for this process; there may be more.
      if (!(error instanceof VhostUserError && error.code === 'BAD_DESCRIPTORS')) return
    } finally {
      for (const received of fds.splice(0)) closeForeignFd(received)
    }
  }
}

/** Closes a descriptor once those before it are closed, in a thread: at most one waits. */
export function closeInThread(fd: number): void {
  leaving.push(fd)
  if (!closing) closeNext()
}

export function areTooManyLeaving(): boolean {
  return leaving.length > MOST_LEAVING
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
