// The C library as this package calls it: every foreign function of the project is declared here. The structures of the
// neighbouring files are laid out for 64-bit little-endian Linux, which is checked on loading; glibc and musl both serve.
// A memory argument is always an address from NativeBuffer, so that nothing the kernel writes to can move or be collected.

import { endianness } from 'node:os'
import koffi from 'koffi'
import { VhostUserError } from '../errors.ts'

const SUPPORTED_ARCHITECTURES = new Set(['x64', 'arm64', 'riscv64', 'loong64'])

if (process.platform !== 'linux' || !SUPPORTED_ARCHITECTURES.has(process.arch) || endianness() !== 'LE') {
  throw new VhostUserError(
    'UNSUPPORTED_PLATFORM',
    `vhost-user needs 64-bit little-endian Linux, not ${process.platform} on ${process.arch}`,
  )
}

// SAFETY: null loads the running program, whose C library stays mapped until the process ends.
const library = koffi.load(null)

/** An address of this process, as the foreign functions take it. */
export type Address = bigint

type Call<A extends unknown[], R> = (...args: A) => R
const declare = <A extends unknown[], R>(prototype: string) =>
  library.func(prototype) as unknown as Call<A, R>

/** Undefined if neither the program nor a library of it has the function. */
function declareIfThere<A extends unknown[], R>(prototype: string): Call<A, R> | undefined {
  try {
    return declare<A, R>(prototype)
  } catch {
    return undefined
  }
}

// ssize_t is not known to koffi's parser, hence int64_t; off_t has 64 bits on the supported machines.
export const libc = {
  socket: declare<[number, number, number], number>('int socket(int, int, int)'),
  bind: declare<[number, Address, number], number>('int bind(int, void *, uint32_t)'),
  listen: declare<[number, number], number>('int listen(int, int)'),
  accept4: declare<[number, null, null, number], number>('int accept4(int, void *, void *, int)'),
  connect: declare<[number, Address, number], number>('int connect(int, void *, uint32_t)'),
  getsockopt: declare<[number, number, number, Address, Address], number>(
    'int getsockopt(int, int, int, void *, void *)',
  ),
  setsockopt: declare<[number, number, number, Address, number], number>(
    'int setsockopt(int, int, int, void *, uint32_t)',
  ),
  shutdown: declare<[number, number], number>('int shutdown(int, int)'),
  socketpair: declare<[number, number, number, Address], number>('int socketpair(int, int, int, void *)'),
  recvmsg: declare<[number, Address, number], number>('int64_t recvmsg(int, void *, int)'),
  sendmsg: declare<[number, Address, number], number>('int64_t sendmsg(int, void *, int)'),
  read: declare<[number, Address, number], number>('int64_t read(int, void *, size_t)'),
  write: declare<[number, Address, number], number>('int64_t write(int, void *, size_t)'),
  sendfile: declare<[number, number, null, number], number>('int64_t sendfile(int, int, void *, size_t)'),
  lseek: declare<[number, number, number], number>('int64_t lseek(int, int64_t, int)'),
  pipe2: declare<[Address, number], number>('int pipe2(void *, int)'),
  close: declare<[number], number>('int close(int)'),
  exit: declare<[number], void>('void _exit(int)'),
  fcntl: declare<[number, number, number], number>('int fcntl(int, int, int)'),
  poll: declare<[Address, number, number], number>('int poll(void *, unsigned long, int)'),
  epollCreate1: declare<[number], number>('int epoll_create1(int)'),
  epollCtl: declare<[number, number, number, Address], number>('int epoll_ctl(int, int, int, void *)'),
  eventfd: declare<[number, number], number>('int eventfd(unsigned int, int)'),
  memfdCreate: declare<[string, number], number>('int memfd_create(const char *, unsigned int)'),
  ftruncate: declare<[number, number], number>('int ftruncate(int, int64_t)'),
  mmap: declare<[null, number, number, number, number, number], Address>(
    'void *mmap(void *, size_t, int, int, int, int64_t)',
  ),
  munmap: declare<[Address, number], number>('int munmap(void *, size_t)'),
  mprotect: declare<[Address, number, number], number>('int mprotect(void *, size_t, int)'),
  sigaction: declare<[number, Address, null], number>('int sigaction(int, void *, void *)'),
  // By number, because not every C library has a function for these.
  ioSetup: declare<[number, number, Address], number>('int64_t syscall(int64_t, int64_t, void *)'),
  ioSubmit: declare<[number, bigint, number, Address], number>(
    'int64_t syscall(int64_t, uint64_t, int64_t, void *)',
  ),
  ioGetevents: declare<[number, bigint, number, number, Address, null], number>(
    'int64_t syscall(int64_t, uint64_t, int64_t, int64_t, void *, void *)',
  ),
  preadv2: declare<[number, number, Address, number, number, number, number], number>(
    'int64_t syscall(int64_t, int64_t, void *, int64_t, int64_t, int64_t, int64_t)',
  ),
  clearCache: declareIfThere<[Address, Address], void>('void __clear_cache(void *, void *)'),
} as const

const isX64 = process.arch === 'x64'
/** asm/unistd_64.h; the others share asm-generic/unistd.h. */
export const SYS = {
  io_setup: isX64 ? 206 : 0,
  io_submit: isX64 ? 209 : 2,
  io_getevents: isX64 ? 208 : 4,
  preadv2: isX64 ? 327 : 286,
} as const

/** What mmap returns when it fails. */
export const MAP_FAILED = 2n ** 64n - 1n

const errnoNames = new Map<number, string>()
for (const [name, value] of Object.entries(koffi.os.errno)) {
  if (!errnoNames.has(value)) errnoNames.set(value, name)
}
// EAGAIN and EWOULDBLOCK share a number on Linux; the first is the usual name.
errnoNames.set(koffi.os.errno.EAGAIN as number, 'EAGAIN')

/** errno of the foreign call made just before, by name. */
export function lastErrno(): string {
  const value = koffi.errno()
  return errnoNames.get(value) ?? `errno ${value}`
}

export function systemCallError(
  syscall: string,
  errno: string,
  what = '',
  code: 'SYSTEM_CALL' | 'BAD_MEMORY' | 'BAD_DESCRIPTORS' = 'SYSTEM_CALL',
): VhostUserError {
  return new VhostUserError(code, `${syscall}${what && ` ${what}`}: ${errno}`, { syscall, errno })
}

/** Passes on the result of a system call, or throws SYSTEM_CALL if it is negative. */
export function checked(syscall: string, result: number, what = ''): number {
  if (result < 0) throw systemCallError(syscall, lastErrno(), what)
  return result
}

/**
 * Zeroed memory at a fixed address. Whoever passes `address` to C must keep the NativeBuffer itself reachable: a bare
 * address does not keep the memory alive.
 */
export class NativeBuffer {
  readonly bytes: Buffer
  readonly view: DataView
  readonly address: Address

  constructor(size: number) {
    // allocUnsafeSlow has a backing store of its own, outside the pool and outside the moving heap.
    this.bytes = Buffer.allocUnsafeSlow(size).fill(0)
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, size)
    // SAFETY: the address is valid as long as `bytes` is reachable, that is as long as this object is.
    this.address = koffi.address(this.bytes)
  }
}

/** Closes a descriptor that the caller owns; EINTR has closed it too on Linux. */
export function closeFd(fd: number): void {
  // SAFETY: the caller gives the descriptor up with this call and does not use the number again.
  if (libc.close(fd) < 0) {
    const errno = lastErrno()
    if (errno !== 'EINTR') throw systemCallError('close', errno, `of descriptor ${fd}`)
  }
}

const F_DUPFD_CLOEXEC = 1030
const F_GETFL = 3
const F_SETFL = 4
const F_SETFD = 2
const FD_CLOEXEC = 1
const O_NONBLOCK = 0o4000

/** A second descriptor for the same open file, close-on-exec, owned by the caller. */
export function duplicateFd(fd: number): number {
  // SAFETY: `fd` is only looked at; the new descriptor belongs to the caller.
  return checked('fcntl', libc.fcntl(fd, F_DUPFD_CLOEXEC, 0), 'F_DUPFD_CLOEXEC')
}

export function setCloseOnExec(fd: number): void {
  // SAFETY: changes a flag of a descriptor that the caller owns.
  checked('fcntl', libc.fcntl(fd, F_SETFD, FD_CLOEXEC), 'F_SETFD')
}

/** Makes the open file non-blocking, for every process that shares it. */
export function setNonBlocking(fd: number): void {
  // SAFETY: changes flags of an open file that the caller holds a descriptor of.
  const flags = checked('fcntl', libc.fcntl(fd, F_GETFL, 0), 'F_GETFL')
  if ((flags & O_NONBLOCK) === 0) {
    // SAFETY: as above.
    checked('fcntl', libc.fcntl(fd, F_SETFL, flags | O_NONBLOCK), 'F_SETFL')
  }
}
