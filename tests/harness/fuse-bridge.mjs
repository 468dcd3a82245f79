// Serves a virtio-fs share as a FUSE mount of this machine, without a guest. The kernel's FUSE messages pass between /dev/fuse
// and the share's queues byte for byte, INIT included. Arguments: the daemon's socket and the mount point. For each line of standard
// input it mounts the share, prints `mounted`, and prints `unmounted` when somebody has unmounted it. It ends when the daemon goes
// away, or when standard input ends; then it unmounts the share.

import { spawn, spawnSync } from 'node:child_process'
import { close, openSync, read, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'

const [socketPath, path] = process.argv.slice(2)

/** Opcodes of linux/fuse.h that have no reply, or whose reply is as long as the request says. */
const FORGET = 2
const READ = 15
const GETXATTR = 22
const LISTXATTR = 23
const READDIR = 28
const INTERRUPT = 36
const DESTROY = 38
const BATCH_FORGET = 42
const READDIRPLUS = 44

const IN_HEADER = 40
const OUT_HEADER = 16
/** Room for every other reply: READLINK has the longest, a path of 4096 bytes. */
const SHORT_REPLY = 8192
/** The kernel demands room for the largest WRITE that was negotiated: 1 MiB and its headers. */
const MESSAGE = 1024 * 1024 + 8192
const READERS = 4

const ENODEV = 'ENODEV'
const EIO = 5
const ENOSYS = 38

const readMessage = promisify(read)
const lines = createInterface(process.stdin)
lines.once('close', () => {
  spawnSync('umount', ['-l', path], { stdio: 'ignore' })
  die()
})
for await (const _line of lines) {
  const driver = await VirtioFsDriver.connect(socketPath, { slots: 16 })
  const fuse = openSync('/dev/fuse', 'r+')
  await mount(fuse)
  process.stdout.write('mounted\n')
  await Promise.all(Array.from({ length: READERS }, () => serve(fuse, driver)))
  // On unmount the kernel sends DESTROY for a virtiofs mount, but not for this kind of mount.
  await driver.submit([message(DESTROY)], SHORT_REPLY).catch(() => undefined)
  await driver.close()
  await promisify(close)(fuse)
  process.stdout.write('unmounted\n')
}

/** @param {number} fuse */
async function mount(fuse) {
  const options = `fd=3,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions`
  const child = spawn('mount', ['-i', '-t', 'fuse', '-o', options, 'ovfs', path], {
    stdio: ['ignore', 'ignore', 'inherit', fuse],
  })
  const status = await new Promise((resolve, reject) => child.once('close', resolve).once('error', reject))
  if (status !== 0) throw new Error(`mount ended with status ${status}`)
}

/**
 * Reads messages and passes each on without waiting for its reply, until the share is unmounted.
 * @param {number} fuse
 * @param {VirtioFsDriver} driver
 */
async function serve(fuse, driver) {
  for (;;) {
    const buffer = Buffer.allocUnsafe(MESSAGE)
    let length
    try {
      length = (await readMessage(fuse, buffer, 0, MESSAGE, null)).bytesRead
    } catch (error) {
      if (error.code === ENODEV) return
      // The request was interrupted before it was read.
      if (error.code === 'ENOENT' || error.code === 'EINTR' || error.code === 'EAGAIN') continue
      throw error
    }
    void pass(fuse, driver, buffer.subarray(0, length))
  }
}

/**
 * @param {number} fuse
 * @param {VirtioFsDriver} driver
 * @param {Buffer} request
 */
async function pass(fuse, driver, request) {
  const opcode = request.readUInt32LE(4)
  const unique = request.readBigUInt64LE(8)
  // Linux' virtiofs driver never interrupts a request. After this answer the kernel does not try again here either.
  if (opcode === INTERRUPT) return answer(fuse, failure(unique, ENOSYS))
  try {
    const capacity = capacityOf(opcode, request)
    const reply = await driver.submit([request.subarray(0, IN_HEADER), request.subarray(IN_HEADER)], capacity)
    if (capacity > 0) answer(fuse, reply)
  } catch (error) {
    if (driver.session.endedBy === undefined) {
      console.error(error)
      return answer(fuse, failure(unique, EIO))
    }
    // The mount stays until the test unmounts it: with /dev/fuse closed, each call on it is ENOTCONN.
    console.error('the daemon went away')
    die()
  }
}

/** @param {Uint8Array} reply */
function answer(fuse, reply) {
  try {
    writeSync(fuse, reply)
  } catch (error) {
    // ENOENT: nobody waits for this reply any more.
    if (error.code !== 'ENOENT' && error.code !== ENODEV) throw error
  }
}

/**
 * @param {number} opcode
 * @param {Buffer} request
 */
function capacityOf(opcode, request) {
  switch (opcode) {
    case FORGET:
    case BATCH_FORGET:
      return 0
    case READ:
    case READDIR:
    case READDIRPLUS:
      // fuse_read_in: fh, offset, size.
      return OUT_HEADER + request.readUInt32LE(IN_HEADER + 16)
    case GETXATTR:
    case LISTXATTR:
      return OUT_HEADER + Math.max(8, request.readUInt32LE(IN_HEADER))
    default:
      return SHORT_REPLY
  }
}

function message(opcode) {
  const header = Buffer.alloc(IN_HEADER)
  header.writeUInt32LE(IN_HEADER, 0)
  header.writeUInt32LE(opcode, 4)
  header.writeBigUInt64LE(2n, 8)
  return header
}

function failure(unique, errno) {
  const header = Buffer.alloc(OUT_HEADER)
  header.writeUInt32LE(OUT_HEADER, 0)
  header.writeInt32LE(-errno, 4)
  header.writeBigUInt64LE(unique, 8)
  return header
}

/** Ends without waiting for the threads that read /dev/fuse, as process.exit would. */
function die() {
  process.kill(process.pid, 'SIGKILL')
}
