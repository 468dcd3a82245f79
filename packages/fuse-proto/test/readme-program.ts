import { type Attr, FsError, FuseClient, FuseServer, ROOT_NODE, spansOf } from '@ovfs/fuse-proto'

const text = new TextEncoder().encode('Hello from the host\n')
const attr = (ino: number, mode: number, size: number): Attr => ({
  ...{ ino, mode, size, nlink: 1, uid: 0, gid: 0, rdev: 0, flags: 0, blocks: 0, blksize: 4096 },
  ...{ atime: 0, mtime: 0, ctime: 0, atimensec: 0, mtimensec: 0, ctimensec: 0 },
})
const root = attr(1, 0o040755, 0)
const file = attr(2, 0o100444, text.byteLength)

const server = new FuseServer({
  init: () => ({ flags: 0 }),
  getattr: (_, node) => ({ attrValid: 1, attrValidNsec: 0, attr: node === ROOT_NODE ? root : file }),
  lookup: (_, _parent, name) => {
    if (name !== 'hello') throw new FsError('ENOENT')
    return {
      nodeid: 2,
      generation: 0,
      entryValid: 1,
      attrValid: 1,
      entryValidNsec: 0,
      attrValidNsec: 0,
      attr: file,
    }
  },
  read: (_, _node, _fh, offset, _size, out) => void out.write(text, Math.min(offset, text.byteLength)),
})

// In place of a virtqueue: the client's bytes go straight to the server.
const client = new FuseClient({
  submit: (request, replyCapacity) =>
    new Promise(resolve => {
      const reply = new Uint8Array(replyCapacity)
      const complete = (written: number) => resolve(reply.subarray(0, written))
      server.handle({ readable: spansOf(request), writable: spansOf([reply]), complete })
    }),
})

await client.init()
const { nodeid } = await client.lookup(ROOT_NODE, 'hello')
export const content = new TextDecoder().decode(await client.read(nodeid, 0, 0, 4096))
