// A FUSE file system with one file, `file`, in the folder that is given. Once that has been opened, nothing is answered any more:
// whoever asks about the file, waits for it or closes it waits as long as this process lives.

import { spawnSync } from 'node:child_process'
import { openSync, readSync, writeSync } from 'node:fs'

const INIT = 26
const LOOKUP = 1
const GETATTR = 3
const OPEN = 14
const FILE_SIZE = 1n << 20n

const device = openSync('/dev/fuse', 'r+')
const options = 'fd=3,rootmode=40000,user_id=0,group_id=0'
const { status, stderr } = spawnSync(
  'mount',
  ['-i', '-t', 'fuse', '-o', options, 'silent', process.argv[2]],
  {
    stdio: ['ignore', 'ignore', 'pipe', device],
  },
)
if (status !== 0) throw new Error(String(stderr))

/** struct fuse_attr */
function attr(node) {
  const bytes = Buffer.alloc(88)
  bytes.writeBigUInt64LE(node)
  bytes.writeBigUInt64LE(node === 1n ? 0n : FILE_SIZE, 8)
  bytes.writeUInt32LE(node === 1n ? 0o040755 : 0o100666, 60)
  bytes.writeUInt32LE(1, 64)
  return bytes
}

/** The struct that answers a request; nothing in it may be kept. */
function answer(opcode, node) {
  switch (opcode) {
    case INIT: {
      const bytes = Buffer.alloc(64)
      bytes.writeUInt32LE(7)
      bytes.writeUInt32LE(31, 4)
      bytes.writeUInt32LE(4096, 20)
      return bytes
    }
    case GETATTR:
      return Buffer.concat([Buffer.alloc(16), attr(node)])
    case LOOKUP: {
      const bytes = Buffer.alloc(40)
      bytes.writeBigUInt64LE(2n)
      return Buffer.concat([bytes, attr(2n)])
    }
    case OPEN:
      return Buffer.alloc(16)
    default:
      return undefined
  }
}

const ENOSYS = 38
const request = Buffer.alloc(1 << 17)
for (let opcode = INIT; opcode !== OPEN; ) {
  readSync(device, request)
  opcode = request.readUInt32LE(4)
  const body = answer(opcode, request.readBigUInt64LE(16))
  const header = Buffer.alloc(16)
  header.writeUInt32LE(16 + (body?.byteLength ?? 0))
  header.writeInt32LE(body ? 0 : -ENOSYS, 4)
  request.copy(header, 8, 8, 16)
  writeSync(device, Buffer.concat([header, body ?? Buffer.alloc(0)]))
  if (opcode === INIT) console.log('ready')
}
setInterval(() => undefined, 1 << 30)
