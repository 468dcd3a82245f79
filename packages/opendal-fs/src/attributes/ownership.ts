// Whose a new file is, and the rights that a file loses when it is written to or given away. Nothing is kept here: that is for
// attributes.ts to do.

import { type Inode, S_IFMT } from '../names/inode.ts'
import { now } from './time.ts'

const S_ISUID = 0o4000
const S_ISGID = 0o2000
const S_IXGRP = 0o010
const PERMISSIONS = 0o7777
const CAPABILITY = 'security.capability'

export interface Creator {
  readonly uid: number
  readonly gid: number
}

/** A new inode belongs to its creator; in a directory with setgid it has the group of that, and a directory setgid too. */
export function giveTo({ attr, parent, directory }: Inode, creator: Creator, permissions: number): void {
  const { mode, gid } = parent!.attr
  const inherits = (mode & S_ISGID) !== 0
  attr.mode = (attr.mode & S_IFMT) | (permissions & PERMISSIONS)
  if (inherits && directory !== undefined) attr.mode |= S_ISGID
  attr.uid = creator.uid
  attr.gid = inherits ? gid : creator.gid
}

/**
 * Removes file capabilities, and with `modeBits` setuid and setgid, from a file; returns whether there were any. As in Linux
 * (setattr_should_drop_sgid), setgid without the right to execute stays if a member of the group makes the change.
 * @param group the caller's primary group; ovfs does not know supplementary groups
 */
export function clearPrivileges(inode: Inode, modeBits: boolean, group?: number): boolean {
  const { attr } = inode
  if (inode.file === undefined || !inode.privileged) return false
  let cleared = 0
  const isMember = group === undefined || group === attr.gid
  if (modeBits) cleared = S_ISUID | ((attr.mode & S_IXGRP) !== 0 || !isMember ? S_ISGID : 0)
  const capability = inode.xattrs?.has(CAPABILITY) === true
  if ((attr.mode & cleared) === 0 && !capability) return false
  attr.mode &= ~cleared
  if (capability) inode.setXattrs(new Map([...inode.xattrs!].filter(([name]) => name !== CAPABILITY)))
  inode.setChanged(now())
  return true
}
