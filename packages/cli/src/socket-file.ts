// Who may connect: mode and group of the socket file. Anybody who can connect can read and change the whole share.

import { chmodSync, chownSync, readFileSync } from 'node:fs'
import { CliError } from './error.ts'

export interface SocketAccess {
  readonly mode: number | undefined
  readonly gid: number | undefined
}

/** Runs `listen` so that the file is never more open than `access.mode` says, not even for a moment. */
export async function listenWith(
  path: string,
  access: SocketAccess,
  listen: () => Promise<void>,
): Promise<void> {
  if (access.mode === undefined) {
    await listen()
  } else {
    // unix(7): bind creates the file with 0777 less the umask. The group is still ours, so it gets nothing yet.
    const before = process.umask(0o777 & ~(access.mode & 0o700))
    try {
      await listen()
    } finally {
      process.umask(before)
    }
  }
  try {
    if (access.gid !== undefined) chownSync(path, -1, access.gid)
    if (access.mode !== undefined) chmodSync(path, access.mode)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    const hint = access.gid === undefined ? undefined : 'be a member of the group, or root'
    throw new CliError('SOCKET', `cannot set the permissions of ${path} (${code})`, hint, { cause: error })
  }
}

/** @param group a number, or a name of /etc/group */
export function groupId(group: string, readGroups = () => readFileSync('/etc/group', 'utf8')): number {
  if (/^\d{1,10}$/.test(group)) return Number(group)
  for (const line of readGroups().split('\n')) {
    const [name, , id] = line.split(':')
    if (name === group && id !== undefined) return Number(id)
  }
  throw new CliError('SOCKET', `there is no group ${JSON.stringify(group)} in /etc/group`, 'give its number')
}
