// How far a stream has been read and written, kept by the kernel where it outlives the process: each position moves in the very
// system call that moves the bytes, so that whoever goes on with the stream knows what is done, whenever the last one died.
//
// Reading: SO_PEEK_OFF of the socket. Bytes that are taken out of the socket are subtracted from it (socket(7)). Writing: the
// file offset of a memory file from which sendfile sends; it moves by what was sent.

import { checked, lastErrno, libc, NativeBuffer, systemCallError } from './libc.ts'

const SOL_SOCKET = 1
const SO_SNDBUF = 7
const SO_PEEK_OFF = 42
const SEEK_SET = 0
const SEEK_CUR = 1
const SHUT_RDWR = 2

/** Where the next peek begins, in bytes from the first that is unread. Peeking adds to it, reading subtracts from it. */
export function setPeekPosition(socket: number, position: number): void {
  const option = new NativeBuffer(4)
  option.view.setInt32(0, position, true)
  // SAFETY: the kernel reads an int from `option`, which is reachable here.
  checked('setsockopt', libc.setsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, option.address, 4), 'SO_PEEK_OFF')
}

export function peekPosition(socket: number): number {
  const option = new NativeBuffer(8)
  option.view.setUint32(4, 4, true)
  // SAFETY: the kernel writes an int at 0 and its length at 4 of `option`, which is reachable here.
  const result = libc.getsockopt(socket, SOL_SOCKET, SO_PEEK_OFF, option.address, option.address + 4n)
  checked('getsockopt', result, 'SO_PEEK_OFF')
  return option.view.getInt32(0, true)
}

/** Bounds what the peer has not read yet. */
export function limitUnread(socket: number, bytes: number): void {
  const option = new NativeBuffer(4)
  // socket(7): the kernel doubles the value, and counts its own overhead against it.
  option.view.setInt32(0, bytes / 2, true)
  // SAFETY: the kernel reads an int from `option`, which is reachable here.
  checked('setsockopt', libc.setsockopt(socket, SOL_SOCKET, SO_SNDBUF, option.address, 4), 'SO_SNDBUF')
}

/** From where `sendFromFile` sends next. */
export function setSendPosition(file: number, position: number): void {
  // SAFETY: no memory is passed.
  checked('lseek', libc.lseek(file, position, SEEK_SET))
}

export function sendPosition(file: number): number {
  // SAFETY: no memory is passed.
  return checked('lseek', libc.lseek(file, 0, SEEK_CUR))
}

/** Bytes sent from the file, at least 1, or `undefined` if the peer has to read first. Throws as `send` does. */
export function sendFromFile(socket: number, file: number, length: number): number | undefined {
  for (;;) {
    // SAFETY: no memory is passed. A peer that is gone would raise SIGPIPE, which Node ignores.
    const count = libc.sendfile(socket, file, null, length)
    if (count >= 0) return count
    const errno = lastErrno()
    if (errno === 'EAGAIN') return undefined
    if (errno !== 'EINTR') throw systemCallError('sendfile', errno)
  }
}

/** Ends a connection, however many processes still hold it. A peer that is gone is no error. */
export function shutdownSocket(socket: number): void {
  // SAFETY: no memory is passed.
  if (libc.shutdown(socket, SHUT_RDWR) < 0) {
    const errno = lastErrno()
    if (errno !== 'ENOTCONN') throw systemCallError('shutdown', errno)
  }
}
