// Between an inode and the entry that a sidecar keeps of it: only what differs from what the service and the options say is kept,
// and times only for the version of the object that they belong to.

import { encodedLength } from '@ovfs/fuse-proto'
import { type Inode, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../names/inode.ts'
import type { Settings } from '../options.ts'
import type { ObjectInfo } from '../storage/storage.ts'
import { isVersionNamed, versionName } from '../storage/version.ts'
import { type AttributeEntry, isSpecial } from './attribute-entry.ts'
import { compareTimes, type Time } from './time.ts'

type Defaults = Pick<Settings, 'uid' | 'gid' | 'fileMode' | 'dirMode'>

const PERMISSIONS = 0o7777
const LINK_MODE = S_IFLNK | 0o777

/** True if the mode and the owner are those that the options give. */
export function isStandard({ attr, directory }: Inode, { uid, gid, fileMode, dirMode }: Defaults): boolean {
  const mode = directory === undefined ? fileMode : dirMode
  return (attr.mode & PERMISSIONS) === mode && attr.uid === uid && attr.gid === gid
}

/**
 * Sets the attributes of an inode from the storage and from its sidecar entry.
 * @param ownChange of a directory: when this host last stored or deleted an object in it
 */
export function showEntry(
  inode: Inode,
  info: ObjectInfo,
  found: AttributeEntry | undefined,
  defaults: Defaults,
  ownChange?: Time,
): void {
  const { attr } = inode
  if (info.mtime !== undefined && isNewTime(info.mtime, inode, ownChange)) inode.setTime(info.mtime)
  const type = info.kind === 'directory' ? S_IFDIR : info.kind === 'file' ? S_IFREG : info.mode! & S_IFMT
  // Somebody else may have put an object of another type there.
  const entry = found !== undefined && ((found.mode ?? type) & S_IFMT) === type ? found : undefined
  const { given } = info
  inode.given = given
  attr.mode = entry?.mode ?? info.mode ?? type | (given?.mode ?? standardMode(inode, defaults))
  attr.uid = entry?.uid ?? given?.uid ?? defaults.uid
  attr.gid = entry?.gid ?? given?.gid ?? defaults.gid
  attr.rdev = entry?.rdev ?? 0
  inode.target = entry?.target ?? info.target
  inode.setXattrs(entry?.xattrs)
  inode.keepsTimes = inode.file === undefined && entry?.mtime !== undefined
  if (given?.mtime !== undefined) inode.setModifiedAt(given.mtime)
  if (given?.atime !== undefined) inode.setAccessed(given.atime)
  if (entry !== undefined) showTimes(inode, entry, info)
  if (info.kind === 'special') inode.setSize(encodedLength(inode.target ?? ''))
}

/**
 * False if a directory's time is older than the last change that this daemon has made to its names, or if it comes from objects that
 * this host has stored in it: sidecars, hidden objects and the bytes of files do not change names.
 */
function isNewTime(time: Time, { attr, directory }: Inode, ownChange: Time | undefined): boolean {
  if (directory === undefined) return true
  const hadTime = directory.hasTime
  directory.hasTime = true
  if (hadTime && ownChange !== undefined && compareTimes(time, ownChange) <= 0) return false
  return !directory.changedHere || compareTimes(time, { sec: attr.mtime, nsec: attr.mtimensec }) >= 0
}

/** True if names in the directory have changed since `ctime`. A sidecar stores that change only if a program has set the times. */
function isOvertaken(ctime: Time, { attr, directory }: Inode): boolean {
  return directory?.changedHere === true && compareTimes(ctime, { sec: attr.ctime, nsec: attr.ctimensec }) < 0
}

function showTimes(inode: Inode, entry: AttributeEntry, info: ObjectInfo): void {
  const isCurrent = entry.version === undefined || isVersionNamed(info, entry.version)
  if (isCurrent && entry.mtime !== undefined) {
    inode.setTime(entry.mtime)
    inode.setChanged(entry.ctime)
  } else if (compareTimes(entry.ctime, info.mtime) > 0 && !isOvertaken(entry.ctime, inode)) {
    inode.setChanged(entry.ctime)
  }
  if (isCurrent && entry.atime !== undefined) inode.setAccessed(entry.atime)
}

/**
 * What is to be kept of what the inode shows; undefined if nothing is.
 * @param always also if nothing differs: its name is to be known
 */
export function entryOf(inode: Inode, defaults: Defaults, always: boolean): AttributeEntry | undefined {
  const { attr, file } = inode
  const type = attr.mode & S_IFMT
  const ctime: Time = { sec: attr.ctime, nsec: attr.ctimensec }
  const mtime: Time = { sec: attr.mtime, nsec: attr.mtimensec }
  const atime: Time = { sec: attr.atime, nsec: attr.atimensec }
  // Links too may have one, where user metadata makes them.
  const hasObject = type === S_IFREG || file?.info !== undefined
  const published = hasObject && file!.dirty === undefined ? file!.info : undefined
  // Without changes the present version counts, with them the one that they are made to.
  const given = published === undefined ? inode.given : published.given
  const keepsTimes = hasObject
    ? compareTimes(mtime, given?.mtime ?? published?.mtime) !== 0
    : type !== S_IFDIR || inode.keepsTimes
  // An entry without a mode does not make a link or a device of its name.
  const hasMode = hasObject || !isSpecial(attr)
  const usual = type === S_IFLNK ? LINK_MODE : type | (given?.mode ?? standardMode(inode, defaults))
  const entry: AttributeEntry = {
    ctime,
    mode: attr.mode === usual && hasMode ? undefined : attr.mode,
    uid: attr.uid === (given?.uid ?? defaults.uid) ? undefined : attr.uid,
    gid: attr.gid === (given?.gid ?? defaults.gid) ? undefined : attr.gid,
    mtime: keepsTimes ? mtime : undefined,
    atime: (keepsTimes || hasObject) && compareTimes(atime, mtime) !== 0 ? atime : undefined,
    rdev: attr.rdev === 0 ? undefined : attr.rdev,
    target: hasObject ? undefined : inode.target,
    xattrs: inode.xattrs,
  }
  const times = entry.mtime !== undefined || entry.atime !== undefined
  const version = times && published !== undefined ? versionName(published) : undefined
  const differs = Object.values(entry).some(value => value !== undefined && value !== ctime)
  return differs || always ? { ...entry, version } : undefined
}

function standardMode(inode: Inode, { fileMode, dirMode }: Defaults): number {
  return inode.directory === undefined ? fileMode : dirMode
}
