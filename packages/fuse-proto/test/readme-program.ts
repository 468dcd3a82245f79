import {
  attrOf,
  attrReplyOf,
  entryOf,
  FsError,
  FuseClient,
  FuseServer,
  ROOT_NODE,
  spansOf,
} from '@ovfs/fuse-proto'

const text = new TextEncoder().encode('Hello from the host\n')
const root = attrOf({ ino: ROOT_NODE, mode: 0o040755 })
const file = attrOf({ ino: 2, mode: 0o100444, size: text.byteLength })

const server = new FuseServer({
  init: () => ({ flags: 0 }),
  getattr: (_, node) => attrReplyOf(node === ROOT_NODE ? root : file, 1),
  lookup: (_, _parent, name) => {
    if (name !== 'hello') throw new FsError('ENOENT')
    return entryOf(file, 1)
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
