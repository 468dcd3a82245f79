// Unix stream sockets whose messages carry descriptors. All are non-blocking and close-on-exec. The C structures are
// written by hand: msghdr 56 bytes, iovec 16, cmsghdr 16 (musl splits the length fields into 32 bits and padding; zeroed
// memory and values below 2^32 make both readings the same).

import { VhostUserError } from '../errors.ts'
import { checked, closeFd, lastErrno, libc, NativeBuffer, setCloseOnExec, systemCallError } from './libc.ts'

const AF_UNIX = 1
const SOCK_STREAM_NONBLOCK_CLOEXEC = 1 | 0o4000 | 0o2000000
const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const SO_ACCEPTCONN = 30
const SO_TYPE = 3
const SO_DOMAIN = 39
const SOCK_STREAM = 1
const SUN_PATH_SIZE = 108
const MSG_PEEK = 0x2
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const MSG_CMSG_CLOEXEC = 0x4000_0000
const MSG_CTRUNC = 0x8
const POLLRDHUP = 0x2000

/** Descriptors of one message, at most: the specification's tables never need more than 8. */
export const MAX_RECEIVED_FDS = 32
/** SCM_MAX_FD, unix(7): what does not fit into one receive the kernel closes at once, whoever waits for that. */
const MAX_PASSED_FDS = 253

const MSG = { iov: 16, iovlen: 24, control: 32, controllen: 40, flags: 48 } as const
const MSGHDR_SIZE = 56
const CMSGHDR_SIZE = 16
const CONTROL_SIZE = CMSGHDR_SIZE + 4 * MAX_PASSED_FDS + 4

/** One msghdr, its iovec and its control buffer, side by side. Calls are synchronous, so one serves all sockets. */
const message = new NativeBuffer(MSGHDR_SIZE + 16 + CONTROL_SIZE)
const IOVEC = MSGHDR_SIZE
const CONTROL = MSGHDR_SIZE + 16

function prepareMessage(data: NativeBuffer, offset: number, length: number, controlLength: number): void {
  const { view, address } = message
  message.bytes.fill(0)
  view.setBigUint64(MSG.iov, address + BigInt(IOVEC), true)
  view.setUint32(MSG.iovlen, 1, true)
  if (controlLength > 0) {
    view.setBigUint64(MSG.control, address + BigInt(CONTROL), true)
    view.setUint32(MSG.controllen, controlLength, true)
  }
  view.setBigUint64(IOVEC, data.address + BigInt(offset), true)
  view.setUint32(IOVEC + 8, length, true)
}

/** Bytes received; 0 at the end of the stream; `undefined` if there is nothing yet. */
export type Received = number | undefined

/**
 * Receives at most `length` bytes to `offset` of the buffer, and appends the descriptors that came with them to `fds`; they
 * belong to the caller. Throws BAD_DESCRIPTORS if this process may have no more: `fds` then holds those that it got.
 */
export function receive(
  fd: number,
  data: NativeBuffer,
  offset: number,
  length: number,
  fds: number[],
): Received {
  return receiveWith(MSG_CMSG_CLOEXEC, fd, data, offset, length, fds)
}

/**
 * The same, and everything stays in the socket; the descriptors are further ones for the same files. Without `fds` no
 * descriptor is made. If there are none with these bytes, Linux gives the next ones that are in the socket.
 */
export function peek(
  fd: number,
  data: NativeBuffer,
  offset: number,
  length: number,
  fds?: number[],
): Received {
  return receiveWith(MSG_CMSG_CLOEXEC | MSG_PEEK, fd, data, offset, length, fds)
}

function receiveWith(
  flags: number,
  fd: number,
  data: NativeBuffer,
  offset: number,
  length: number,
  fds: number[] | undefined,
): Received {
  for (;;) {
    prepareMessage(data, offset, length, fds ? CONTROL_SIZE : 0)
    // SAFETY: the kernel writes to `message` and `data`, both reachable here, within the lengths given.
    const count = libc.recvmsg(fd, message.address, MSG_DONTWAIT | flags)
    if (count >= 0) {
      if (fds) takeDescriptors(fds)
      return count
    }
    const errno = lastErrno()
    if (errno === 'EAGAIN') return undefined
    // A peer that closes with unread data of ours resets the stream: for the reader that is its end.
    if (errno === 'ECONNRESET') return 0
    if (errno !== 'EINTR') throw systemCallError('recvmsg', errno)
  }
}

function takeDescriptors(fds: number[]): void {
  const { view } = message
  let at = CONTROL
  const end = CONTROL + view.getUint32(MSG.controllen, true)
  while (at + CMSGHDR_SIZE <= end) {
    const length = view.getUint32(at, true)
    if (length < CMSGHDR_SIZE) break
    if (view.getInt32(at + 8, true) === SOL_SOCKET && view.getInt32(at + 12, true) === SCM_RIGHTS) {
      for (let i = at + CMSGHDR_SIZE; i + 4 <= at + length; i += 4) fds.push(view.getInt32(i, true))
    }
    at += Math.ceil(length / 8) * 8
  }
  if ((view.getUint32(MSG.flags, true) & MSG_CTRUNC) !== 0) {
    throw new VhostUserError('BAD_DESCRIPTORS', 'a message came with more descriptors than can be taken')
  }
}

/**
 * Sends from `offset` of the buffer, with copies of the descriptors, which stay the caller's. Bytes sent, at least 1, or
 * `undefined` if the peer has to read first. The descriptors are sent if any byte is.
 */
export function send(
  fd: number,
  data: NativeBuffer,
  offset: number,
  length: number,
  fds: readonly number[],
): Received {
  if (fds.length > MAX_PASSED_FDS) {
    throw new VhostUserError('BAD_DESCRIPTORS', `${fds.length} descriptors do not fit in one message`)
  }
  const controlLength = fds.length === 0 ? 0 : Math.ceil((CMSGHDR_SIZE + 4 * fds.length) / 8) * 8
  prepareMessage(data, offset, length, controlLength)
  if (fds.length > 0) {
    const { view } = message
    view.setUint32(CONTROL, CMSGHDR_SIZE + 4 * fds.length, true)
    view.setInt32(CONTROL + 8, SOL_SOCKET, true)
    view.setInt32(CONTROL + 12, SCM_RIGHTS, true)
    for (const [i, passed] of fds.entries()) view.setInt32(CONTROL + CMSGHDR_SIZE + 4 * i, passed, true)
  }
  for (;;) {
    // SAFETY: the kernel reads `message` and `data`, both reachable here, within the lengths given.
    const count = libc.sendmsg(fd, message.address, MSG_DONTWAIT | MSG_NOSIGNAL)
    if (count >= 0) return count
    const errno = lastErrno()
    if (errno === 'EAGAIN') return undefined
    if (errno !== 'EINTR') throw systemCallError('sendmsg', errno)
  }
}

/** struct sockaddr_un. */
function socketAddress(path: string): NativeBuffer {
  const name = Buffer.from(path)
  if (name.length === 0 || name.length >= SUN_PATH_SIZE || name.includes(0)) {
    throw new VhostUserError(
      'PATH_TOO_LONG',
      `a socket path must have 1 to ${SUN_PATH_SIZE - 1} bytes: ${JSON.stringify(path)} has ${name.length}`,
    )
  }
  const address = new NativeBuffer(2 + SUN_PATH_SIZE)
  address.view.setUint16(0, AF_UNIX, true)
  name.copy(address.bytes, 2)
  return address
}

function createSocket(): number {
  // SAFETY: no memory is passed; the descriptor belongs to the caller.
  return checked('socket', libc.socket(AF_UNIX, SOCK_STREAM_NONBLOCK_CLOEXEC, 0))
}

/** A socket bound to the path, not listening yet: nobody can connect, so that its mode can be set first. */
export function bindSocket(path: string): number {
  const address = socketAddress(path)
  const fd = createSocket()
  // SAFETY: the kernel copies the address, which is reachable here.
  if (libc.bind(fd, address.address, address.bytes.length) < 0) {
    const errno = lastErrno()
    closeFd(fd)
    throw systemCallError('bind', errno, path)
  }
  return fd
}

export function listenSocket(fd: number, backlog: number): void {
  // SAFETY: no memory is passed.
  checked('listen', libc.listen(fd, backlog))
}

/** A socket connected to the path; the caller owns it. Unix sockets connect at once or fail. */
export function connectSocket(path: string): number {
  const address = socketAddress(path)
  const fd = createSocket()
  // SAFETY: the kernel copies the address, which is reachable here.
  if (libc.connect(fd, address.address, address.bytes.length) < 0) {
    const errno = lastErrno()
    closeFd(fd)
    throw systemCallError('connect', errno, `to ${path}`)
  }
  return fd
}

/** Two connected sockets; the caller owns both. */
export function createSocketPair(): [number, number] {
  const pair = new NativeBuffer(8)
  // SAFETY: the kernel writes two ints to `pair`, which is reachable here.
  checked('socketpair', libc.socketpair(AF_UNIX, SOCK_STREAM_NONBLOCK_CLOEXEC, 0, pair.address))
  return [pair.view.getInt32(0, true), pair.view.getInt32(4, true)]
}

/** The next connection, owned by the caller, or `undefined` if there is none. */
export function acceptConnection(listener: number): number | undefined {
  for (;;) {
    // SAFETY: no memory is passed; the descriptor belongs to the caller.
    const fd = libc.accept4(listener, null, null, SOCK_STREAM_NONBLOCK_CLOEXEC & ~1)
    if (fd >= 0) return fd
    const errno = lastErrno()
    if (errno === 'EAGAIN' || errno === 'ECONNABORTED') return undefined
    if (errno !== 'EINTR') throw systemCallError('accept4', errno)
  }
}

/** Checks that an inherited descriptor is a listening socket, and makes it close-on-exec. */
export function adoptListener(fd: number): void {
  const option = new NativeBuffer(8)
  option.view.setUint32(4, 4, true)
  // SAFETY: the kernel writes an int at 0 and its length at 4 of `option`, which is reachable here.
  const result = libc.getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, option.address, option.address + 4n)
  checked('getsockopt', result, `on descriptor ${fd}`)
  if (option.view.getInt32(0, true) !== 1) {
    throw new VhostUserError('NOT_A_SOCKET', `descriptor ${fd} is not a listening socket`)
  }
  setCloseOnExec(fd)
}

/** Of any type. Asking takes no lock. */
export function isUnixSocket(fd: number): boolean {
  return socketOption(fd, SO_DOMAIN) === AF_UNIX
}

/** Throws BAD_DESCRIPTORS if it is no Unix stream socket. */
export function requireUnixStream(fd: number): void {
  if (!isUnixSocket(fd) || socketOption(fd, SO_TYPE) !== SOCK_STREAM)
    throw new VhostUserError('BAD_DESCRIPTORS', 'the descriptor of a channel is no Unix stream socket')
}

/** Undefined if it is no socket. */
function socketOption(fd: number, name: number): number | undefined {
  const option = new NativeBuffer(8)
  option.view.setUint32(4, 4, true)
  // SAFETY: the kernel writes an int at 0 and its length at 4 of `option`, which is reachable here.
  const result = libc.getsockopt(fd, SOL_SOCKET, name, option.address, option.address + 4n)
  return result < 0 ? undefined : option.view.getInt32(0, true)
}

/** Whether the peer has closed its side already, even if data is left to read. */
export function peerHasClosed(fd: number): boolean {
  const entry = new NativeBuffer(8)
  entry.view.setInt32(0, fd, true)
  entry.view.setInt16(4, POLLRDHUP, true)
  // SAFETY: the kernel reads and writes one struct pollfd in `entry`, which is reachable here; it does not wait.
  checked('poll', libc.poll(entry.address, 1, 0))
  return entry.view.getInt16(6, true) !== 0
}
