// What one request costs between `handle` and `complete`, in this process, with the spans that Linux makes: the header and
// the arguments in one readable span each, the reply's header and its body in one writable span each. Prints nanoseconds
// of processor time per request, the best of several rounds, because machines are shared.
//   npx tsc -b packages/fuse-proto/bench && node packages/fuse-proto/dist/bench/dispatch.js

import {
  type Attr,
  type EntryOut,
  encodeName,
  type FuseHandler,
  type FuseMessage,
  FuseServer,
  GetattrIn,
  InHeader,
  InitFlags,
  InitIn,
  Opcode,
  ReadIn,
  spansOf,
} from '@ovfs/fuse-proto'

const attr: Attr = {
  ino: 2,
  size: 4096,
  blocks: 8,
  atime: 1_700_000_000,
  mtime: 1_700_000_000,
  ctime: 1_700_000_000,
  atimensec: 123_456_789,
  mtimensec: 123_456_789,
  ctimensec: 123_456_789,
  mode: 0o100644,
  nlink: 1,
  uid: 1000,
  gid: 1000,
  rdev: 0,
  blksize: 4096,
  flags: 0,
}
const entry: EntryOut = {
  nodeid: 2,
  generation: 0,
  entryValid: 1,
  attrValid: 1,
  entryValidNsec: 0,
  attrValidNsec: 0,
  attr,
}
const attrReply = { attrValid: 1, attrValidNsec: 0, attr }
const block = new Uint8Array(4096).fill(7)

const handler: FuseHandler = {
  init: () => ({ flags: InitFlags.ASYNC_READ }),
  getattr: () => attrReply,
  lookup: (_ctx, _parent, name) => {
    if (name.length === 0) throw new Error('no name')
    return entry
  },
  read: (_ctx, _node, _fh, _offset, size, out) => {
    out.write(block, 0, size)
  },
  forget: () => {},
}

let completed = 0
function message(opcode: number, args: Uint8Array, reply: readonly number[]): FuseMessage {
  const header = InHeader.toBytes({
    len: InHeader.size + args.byteLength,
    opcode,
    unique: 2n,
    nodeid: 1,
    uid: 0,
    gid: 0,
    pid: 1,
    totalExtlen: 0,
  })
  return {
    readable: spansOf([header, args]),
    writable: spansOf(reply.map(size => new Uint8Array(size))),
    complete: written => {
      completed += written
    },
  }
}

const init = InitIn.toBytes({ major: 7, minor: 38, maxReadahead: 131072, flags: 0x7bff_fffb, flags2: 0 })
const getattr = GetattrIn.toBytes({ getattrFlags: 0, fh: 0 })
const read = ReadIn.toBytes({ fh: 1, offset: 0, size: 4096, readFlags: 0, lockOwner: 0n, flags: 0 })
const names = Array.from({ length: 100 }, (_, i) =>
  message(Opcode.LOOKUP, encodeName(`file${String(i).padStart(4, '0')}\0`), [16, 128]),
)
const cases: Record<string, FuseMessage[]> = {
  GETATTR: [message(Opcode.GETATTR, getattr, [16, 104])],
  'LOOKUP 8 letters, 100 names': names,
  'LOOKUP 8 letters, always new': Array.from({ length: 50_000 }, (_, i) =>
    message(Opcode.LOOKUP, encodeName(`${String(i).padStart(8, '0')}\0`), [16, 128]),
  ),
  'LOOKUP 12 bytes of UTF-8': [message(Opcode.LOOKUP, encodeName('größe–ñ\0'), [16, 128])],
  'READ 4 KiB': [message(Opcode.READ, read, [16, 4096])],
  FORGET: [message(Opcode.FORGET, new Uint8Array(8).fill(1, 0, 1), [])],
}

const server = new FuseServer(handler)
server.handle(message(Opcode.INIT, init, [16, 64]))
const ROUNDS = 9
const REQUESTS = 300_000

for (let warm = 0; warm < 2; warm++) {
  for (const [name, messages] of Object.entries(cases)) {
    let best = Number.POSITIVE_INFINITY
    for (let round = 0; round < ROUNDS; round++) {
      const start = process.cpuUsage()
      for (let i = 0; i < REQUESTS; i++) server.handle(messages[i % messages.length] as FuseMessage)
      const { user, system } = process.cpuUsage(start)
      best = Math.min(best, ((user + system) * 1000) / REQUESTS)
    }
    if (warm === 1) console.log(`${name.padEnd(30)} ${best.toFixed(0).padStart(6)} ns`)
  }
}
if (completed === 0) throw new Error('nothing was answered')
