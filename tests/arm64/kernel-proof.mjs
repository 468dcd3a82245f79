// Runs in an arm64 guest, below the folder that kernel.test.ts has laid out: what an emulator of user space cannot show, because
// there the system calls, signals and caches are those of the machine outside. Ends with a SIGBUS that nobody guards against.

import assert from 'node:assert/strict'
import { closeSync, ftruncateSync, openSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { FsError } from '@ovfs/fuse-proto'
import { VirtioFs } from '@ovfs/virtio-fs'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'

// Parts of the package that it does not export.
const sys = new URL('node_modules/@ovfs/vhost-user/dist/sys/', import.meta.url)
const { isGuarded } = await import(new URL('bus-guard.js', sys))
const { libc, NativeBuffer } = await import(new URL('libc.js', sys))
const { Mapping } = await import(new URL('mapping.js', sys))
const stream = await import(new URL('stream-position.js', sys))
const { createSocketPair, peek, receive, send } = await import(new URL('unix-socket.js', sys))
const { createMemFd } = await import(new URL('memfd.js', sys))

assert.equal(process.arch, 'arm64')
const MIB = 2 ** 20

async function truncatedMemory() {
  assert.ok(isGuarded)
  assert.ok(libc.clearCache)
  const map = name => {
    writeFileSync(name, Buffer.alloc(MIB, 7))
    const fd = openSync(name, 'r+')
    const state = { fd, losses: 0 }
    state.mapping = new Mapping({ fd, offset: 0, size: MIB, lost: () => state.losses++ })
    state.bytes = new Uint8Array(state.mapping.pieces[0])
    return state
  }
  const files = ['/tmp/a', '/tmp/b', '/tmp/c', '/tmp/d'].map(map)
  const [read, copied, atomic, untouched] = files
  for (const { fd } of [read, copied, atomic]) ftruncateSync(fd, 0)
  assert.equal(read.bytes[5000], 0)
  read.bytes[MIB - 1] = 9
  assert.deepEqual([read.bytes[0], read.bytes[MIB - 1]], [0, 9])
  const target = new Uint8Array(MIB).fill(1)
  target.set(copied.bytes)
  assert.ok(target.every(byte => byte === 0))
  assert.equal(Atomics.load(new Uint16Array(atomic.mapping.pieces[0]), 4321), 0)
  for (let i = 0; i < 1000 && files.some(({ losses }, at) => at < 3 && losses === 0); i++) await sleep(10)
  assert.deepEqual(
    files.map(({ losses }) => losses),
    [1, 1, 1, 0],
  )
  assert.equal(untouched.bytes[0], 7)
  for (const { mapping, fd } of files) {
    mapping.unmap()
    closeSync(fd)
  }
}

function positionsOfAStream() {
  const [left, right] = createSocketPair()
  const data = new NativeBuffer(16)
  assert.equal(send(left, data, 0, 10, []), 10)
  stream.setPeekPosition(right, 0)
  assert.equal(peek(right, data, 0, 4), 4)
  assert.equal(stream.peekPosition(right), 4)
  assert.equal(receive(right, data, 0, 3, []), 3)
  assert.equal(stream.peekPosition(right), 1)
  const file = createMemFd('answers', 4096)
  stream.setSendPosition(file, 100)
  assert.equal(stream.sendFromFile(right, file, 20), 20)
  assert.equal(stream.sendPosition(file), 120)
}

const text = Buffer.from('made on arm64\n')
const times = { atime: 0, mtime: 0, ctime: 0, atimensec: 0, mtimensec: 0, ctimensec: 0 }
const common = { ...times, blocks: 1, nlink: 1, uid: 0, gid: 0, rdev: 0, blksize: 4096, flags: 0 }
const attr = { ...common, ino: 2, mode: 0o100444, size: text.length }
const valid = { attrValid: 60, attrValidNsec: 0, entryValid: 60, entryValidNsec: 0 }

async function session() {
  const handler = {
    init: () => ({ flags: 0 }),
    getattr: () => ({ ...valid, attr }),
    lookup(_ctx, _parent, name) {
      if (name !== 'hello') throw new FsError('ENOENT')
      return { nodeid: 2, generation: 0, ...valid, attr }
    },
    open: () => ({ fh: 1, openFlags: 0 }),
    read(_ctx, _node, _fh, offset, size, out) {
      out.write(text, offset, Math.max(0, Math.min(size, text.length - offset)))
    },
  }
  const share = new VirtioFs({ handler, socketPath: '/tmp/socket' })
  share.listen()
  const driver = await VirtioFsDriver.connect('/tmp/socket', { slots: 2 })
  await driver.client.init()
  const { nodeid } = await driver.client.lookup(1, 'hello')
  const { fh } = await driver.client.open(nodeid)
  const replies = await Promise.all(Array.from({ length: 50 }, () => driver.client.read(nodeid, fh, 0, 4096)))
  for (const reply of replies) assert.deepEqual(Buffer.from(reply), text)
  await driver.close()
  await share.close()
}

for (const proof of [truncatedMemory, positionsOfAStream, session]) {
  await proof()
  console.log(`shown: ${proof.name}`)
}
process.kill(process.pid, 'SIGBUS')
await sleep(60_000)
