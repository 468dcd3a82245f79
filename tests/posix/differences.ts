// Where a share is not what a local file system would be, on purpose: the checks that fail, and why. All that a row names must
// fail, so that a difference which has gone is not kept.

export interface Difference {
  readonly checks: RegExp
  readonly reason: string
  /** The storages that it is about; default all. */
  readonly on?: readonly string[]
}

export const DIFFERENCES: readonly Difference[] = [
  {
    checks: /^making: a link gives a file a second name/,
    reason: 'No service gives one object two names.',
  },
  {
    checks: /^renaming: EXCHANGE swaps /,
    reason:
      'No service swaps two objects at once, and two moves one after the other are no exchange: EINVAL.',
  },
  {
    checks: /^access lists: /,
    reason: 'Access control lists are not kept: EOPNOTSUPP.',
  },
  {
    checks: /^stats: a directory has a link for its name/,
    reason:
      'Counting what is in a directory means listing it. One link says that nobody counted; a wrong count makes programs that ' +
      'walk a tree leave out what is there.',
  },
  {
    checks: /^stats: a hole takes no blocks/,
    reason: 'A service stores zeros like all other bytes: what a file takes is its size.',
  },
  {
    checks: /^times: the access time is marked when /,
    reason:
      'Each read would be a write to the service. As with the mount option noatime, only programs set access times.',
  },
  {
    checks: /^sizes: a file larger than 4 GiB /,
    reason: 'OpenDAL takes an object for memory in one piece, and one piece may have 1 GiB.',
    on: ['memory'],
  },
  {
    checks: /^modes: .*fallocate by root without CAP_FSETID /,
    reason:
      "Nothing in FUSE's fallocate request says whether the caller has CAP_FSETID: root is taken to have it, and keeps the bits.",
  },
]
