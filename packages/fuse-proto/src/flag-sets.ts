// The flags of each field that has some, besides those of INIT (features.ts), and where they meet the handler.

import * as C from './constants.ts'

export interface FlagSet {
  /** The messages that have the field. */
  readonly messages: string
  /** As in the table of the structure. */
  readonly field: string
  /** Name in <linux/fuse.h>, or of Linux itself, and value. */
  readonly flags: Readonly<Record<string, number>>
  /** What a handler sees of them, or why it does not. */
  readonly handler: string
}

/** The constants whose names begin so, without that beginning. */
function named(prefix: string): Record<string, number> {
  const entries = Object.entries(C).filter(
    ([name, value]) => name.startsWith(prefix) && typeof value === 'number',
  )
  return Object.fromEntries(entries.map(([name, value]) => [name.slice(prefix.length), value as number]))
}

export const FLAG_SETS: readonly FlagSet[] = [
  {
    messages: 'SETATTR',
    field: 'valid',
    flags: named('FATTR_'),
    handler: 'members of `change`, undefined where the flag is not set; all of them in `change.valid`',
  },
  {
    messages: 'GETATTR, STATX',
    field: 'getattrFlags',
    flags: named('FUSE_GETATTR_'),
    handler: '`fh`, or undefined',
  },
  {
    messages: 'OPEN, CREATE, TMPFILE',
    field: 'openFlags',
    flags: named('FUSE_OPEN_'),
    handler: '`openFlags`',
  },
  {
    messages: 'replies to OPEN, OPENDIR, CREATE, TMPFILE',
    field: 'openFlags',
    flags: named('FOPEN_'),
    handler: '`openFlags` of its answer',
  },
  {
    messages: 'RELEASE',
    field: 'releaseFlags',
    flags: named('FUSE_RELEASE_'),
    handler: 'FLOCK_UNLOCK: `flockOwner`, or undefined; FLUSH: never, a close sends FLUSH as a message',
  },
  {
    messages: 'READ',
    field: 'readFlags',
    flags: named('FUSE_READ_'),
    handler: 'never: for mandatory locks, which Linux has given up',
  },
  { messages: 'WRITE', field: 'writeFlags', flags: named('FUSE_WRITE_'), handler: '`writeFlags`' },
  { messages: 'FSYNC, FSYNCDIR', field: 'fsyncFlags', flags: named('FUSE_FSYNC_'), handler: '`dataOnly`' },
  { messages: 'SETLK, SETLKW', field: 'lkFlags', flags: named('FUSE_LK_'), handler: '`options.flock`' },
  {
    messages: 'SETXATTR',
    field: 'setxattrFlags',
    flags: named('FUSE_SETXATTR_'),
    handler: '`setxattrFlags`',
  },
  { messages: 'RENAME2', field: 'flags', flags: named('RENAME_'), handler: '`flags`' },
  { messages: 'FALLOCATE', field: 'mode', flags: named('FALLOC_FL_'), handler: '`mode`' },
  {
    messages: 'IOCTL',
    field: 'flags',
    flags: named('FUSE_IOCTL_'),
    handler: 'never: commands are known by number and size alone; UNRESTRICTED and RETRY are for CUSE',
  },
  {
    messages: 'POLL',
    field: 'flags',
    flags: named('FUSE_POLL_'),
    handler: 'never: POLL is not served',
  },
  {
    messages: 'attributes of any reply',
    field: 'flags',
    flags: named('FUSE_ATTR_'),
    handler: '`attr.flags` of its answer',
  },
  {
    messages: 'the notification INVAL_ENTRY',
    field: 'flags',
    flags: { EXPIRE_ONLY: C.FUSE_EXPIRE_ONLY },
    handler: 'never: no Linux guest takes notifications over virtio',
  },
]
