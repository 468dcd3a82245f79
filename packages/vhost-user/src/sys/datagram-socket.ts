// Unix datagram sockets, as a service manager and its services use them: each message is whole, and may carry descriptors.
// `receive` and `send` of unix-socket.ts work on them as on streams.

import { VhostUserError } from '../errors.ts'
import { checked, closeFd, lastErrno, libc, NativeBuffer, systemCallError } from './libc.ts'

const AF_UNIX = 1
const SOCK_DGRAM_NONBLOCK_CLOEXEC = 2 | 0o4000 | 0o2000000
const SUN_PATH_SIZE = 108

/** sd_notify(3): an absolute path, or `@` and a name in the abstract namespace, where a zero byte stands for the `@`. */
function datagramAddress(name: string): NativeBuffer {
  const bytes = Buffer.from(name)
  const abstract = name.startsWith('@')
  if ((!abstract && !name.startsWith('/')) || bytes.includes(0)) {
    throw new VhostUserError('TAKEOVER', `${JSON.stringify(name)} is not an address of a Unix socket`)
  }
  if (bytes.length >= SUN_PATH_SIZE) {
    throw new VhostUserError('PATH_TOO_LONG', `${JSON.stringify(name)} has ${bytes.length} bytes`)
  }
  // unix(7): an abstract name ends where the address ends, a path at a zero byte.
  const address = new NativeBuffer(2 + bytes.length + (abstract ? 0 : 1))
  address.view.setUint16(0, AF_UNIX, true)
  bytes.copy(address.bytes, 2)
  if (abstract) address.bytes[2] = 0
  return address
}

function createSocket(): number {
  // SAFETY: no memory is passed; the descriptor belongs to the caller.
  return checked('socket', libc.socket(AF_UNIX, SOCK_DGRAM_NONBLOCK_CLOEXEC, 0))
}

/** A socket whose messages go to the one at the address; the caller owns it. */
export function connectDatagrams(name: string): number {
  const address = datagramAddress(name)
  const fd = createSocket()
  // SAFETY: the kernel copies the address, which is reachable here.
  if (libc.connect(fd, address.address, address.bytes.length) < 0) {
    const errno = lastErrno()
    closeFd(fd)
    throw systemCallError('connect', errno, `to ${name}`)
  }
  return fd
}

/** A socket that gets what is sent to the address; the caller owns it. */
export function bindDatagrams(name: string): number {
  const address = datagramAddress(name)
  const fd = createSocket()
  // SAFETY: the kernel copies the address, which is reachable here.
  if (libc.bind(fd, address.address, address.bytes.length) < 0) {
    const errno = lastErrno()
    closeFd(fd)
    throw systemCallError('bind', errno, name)
  }
  return fd
}
