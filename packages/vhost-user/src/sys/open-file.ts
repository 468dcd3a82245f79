// Which open file a descriptor stands for: two descriptors with the same identity are as good as one, and a service manager
// stores only the first of them. From what /proc tells, because kcmp(2) is often forbidden to services.

import { closeSync, fstatSync, openSync, readlinkSync, readSync } from 'node:fs'

/** Undefined if it cannot be told: then the file counts as one of a kind. */
export function openFileIdentity(fd: number): string | undefined {
  const { dev, ino } = fstatSync(fd, { bigint: true })
  const info = fdInfo(fd)
  const flags = Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(info)?.[1] ?? '0', 8)
  const file = `${dev}:${ino}:${flags & 3}`
  // All eventfds share one inode, and have a number each since Linux 5.2.
  if (!readlinkSync(`/proc/self/fd/${fd}`).startsWith('anon_inode:')) return file
  const eventfd = /^eventfd-id:\s*(\d+)$/m.exec(info)?.[1]
  return eventfd && `${file}:${eventfd}`
}

/** The beginning of proc_pid_fdinfo(5): behind it an epoll instance or inotify has a line for each of a million files. */
export function fdInfo(fd: number): string {
  const file = openSync(`/proc/self/fdinfo/${fd}`, 'r')
  try {
    const bytes = Buffer.alloc(1024)
    return bytes.toString('latin1', 0, readSync(file, bytes))
  } finally {
    closeSync(file)
  }
}
