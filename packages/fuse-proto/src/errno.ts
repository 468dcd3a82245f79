// Linux errno numbers (asm-generic/errno-base.h, errno.h). Our own table: the host's numbers may differ from the guest's.

export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EPROTO: 71,
  EOVERFLOW: 75,
  EILSEQ: 84,
  EOPNOTSUPP: 95,
  ENOTCONN: 107,
  ETIMEDOUT: 110,
  ESTALE: 116,
  EDQUOT: 122,
  ECANCELED: 125,
} as const

export type ErrnoName = keyof typeof Errno
export type ErrnoNumber = (typeof Errno)[ErrnoName]

const names = new Map<number, ErrnoName>(
  Object.entries(Errno).map(([name, number]) => [number, name as ErrnoName]),
)

/** The name of a Linux errno number, such as `ENOENT`; `E<number>` for one that is not in the table. */
export function errnoName(number: number): string {
  return names.get(number) ?? `E${number}`
}

/** The only error whose number reaches a guest; any other error thrown by a handler becomes EIO there. */
export class FsError extends Error {
  readonly code: ErrnoName
  readonly errno: ErrnoNumber

  constructor(code: ErrnoName, message: string = code, options?: ErrorOptions) {
    super(message, options)
    this.name = 'FsError'
    this.code = code
    this.errno = Errno[code]
  }
}
