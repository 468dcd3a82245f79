// Messages as bytes, one field a row, with values that are easy to recognise and that no two fields share.

import type { Attr, EntryOut, FileHandle, FuseClient, FuseHandler, NodeId } from '../src/index.ts'

export const FH = 0xdeadbeefcafe as FileHandle
export const NODE = 0x0badc0de01 as NodeId
export const NEW_NODE = 0x0facade002 as NodeId

export const ATTR: Attr = {
  ino: 0x111111111111,
  size: 0x122222222222,
  blocks: 0x133333333333,
  atime: 0x14444444,
  mtime: -2,
  ctime: 0x1066666666,
  atimensec: 0x17777777,
  mtimensec: 0x18888888,
  ctimensec: 0x19999999,
  mode: 0o100644,
  nlink: 0x1b,
  uid: 0xfffffffe,
  gid: 0x1d,
  rdev: 0x1e,
  blksize: 0x1000,
  flags: 2,
}
export const ENTRY: EntryOut = {
  nodeid: 0x0badc0de01,
  generation: 0x21,
  entryValid: 0x22,
  attrValid: 0x23,
  entryValidNsec: 0x24242424,
  attrValidNsec: 0x25252525,
  attr: ATTR,
}

const ATTR_ROWS = `
  111111111111 0000  ino
  222222222212 0000  size
  333333333313 0000  blocks
  44444414 00000000  atime
  feffffff ffffffff  mtime
  66666666 10000000  ctime
  77777717  atimensec
  88888818  mtimensec
  99999919  ctimensec
  a4810000  mode
  1b000000  nlink
  feffffff  uid
  1d000000  gid
  1e000000  rdev
  00100000  blksize
  02000000  flags`
const ENTRY_ROWS = `
  01dec0ad0b 000000  nodeid
  2100000000000000   generation
  2200000000000000   entry_valid
  2300000000000000   attr_valid
  24242424  entry_valid_nsec
  25252525  attr_valid_nsec
  ${ATTR_ROWS}`
const FH_ROW = 'fecaefbeadde 0000  fh'
const OPEN_ROWS = `
  ${FH_ROW}
  03000000  open_flags
  00000000  backing_id`

export interface GoldenMessage {
  send(client: FuseClient): Promise<unknown>
  readonly opcode: number
  readonly node: number
  /** Hex, then the field's name. */
  readonly request: string
  readonly handler: Partial<FuseHandler>
  /** Body of the reply; undefined if there is no reply. */
  readonly reply: string | undefined
  readonly result: unknown
}

const attrReply = { attrValid: 0x23, attrValidNsec: 0x25252525, attr: ATTR }
const open = { fh: FH, openFlags: 3 }
const openOut = { ...open, backingId: 0 }

export const GOLDEN: Readonly<Record<string, GoldenMessage>> = {
  LOOKUP: {
    send: client => client.lookup(NODE, 'año'),
    opcode: 1,
    node: NODE,
    request: '61 c3b1 6f 00  name',
    handler: { lookup: (_, node, name) => expectCall([node, name], [NODE, 'año'], ENTRY) },
    reply: ENTRY_ROWS,
    result: ENTRY,
  },
  FORGET: {
    send: client => client.forget(NODE, 0x31),
    opcode: 2,
    node: NODE,
    request: '3100000000000000  nlookup',
    handler: { forget: (node, count) => expectCall([node, count], [NODE, 0x31], undefined) },
    reply: undefined,
    result: undefined,
  },
  GETATTR: {
    send: client => client.getattr(NODE, FH),
    opcode: 3,
    node: NODE,
    request: `
      01000000  getattr_flags
      00000000  dummy
      ${FH_ROW}`,
    handler: { getattr: (_, node, fh) => expectCall([node, fh], [NODE, FH], attrReply) },
    reply: `
      2300000000000000   attr_valid
      25252525  attr_valid_nsec
      00000000  dummy
      ${ATTR_ROWS}`,
    result: attrReply,
  },
  SETATTR: {
    send: client =>
      client.setattr(NODE, {
        valid: 0xc7f,
        fh: FH,
        size: 0x41,
        lockOwner: 0x42n,
        atime: -3,
        mtime: 0x44,
        ctime: 0x45,
        atimensec: 0x46,
        mtimensec: 0x47,
        ctimensec: 0x48,
        mode: 0x49,
        uid: 0x4a,
        gid: 0x4b,
      }),
    opcode: 4,
    node: NODE,
    request: `
      7f0c0000  valid
      00000000  padding
      ${FH_ROW}
      4100000000000000  size
      4200000000000000  lock_owner
      fdffffffffffffff  atime
      4400000000000000  mtime
      4500000000000000  ctime
      46000000  atimensec
      47000000  mtimensec
      48000000  ctimensec
      49000000  mode
      00000000  unused4
      4a000000  uid
      4b000000  gid
      00000000  unused5`,
    handler: {
      setattr: (_, node, change) =>
        expectCall(
          [node, change],
          [
            NODE,
            {
              valid: 0xc7f,
              mode: 0x49,
              uid: 0x4a,
              gid: 0x4b,
              size: 0x41,
              atime: { sec: -3, nsec: 0x46 },
              mtime: { sec: 0x44, nsec: 0x47 },
              ctime: { sec: 0x45, nsec: 0x48 },
              fh: FH,
              killSuidgid: true,
            },
          ],
          attrReply,
        ),
    },
    reply: `
      2300000000000000   attr_valid
      25252525  attr_valid_nsec
      00000000  dummy
      ${ATTR_ROWS}`,
    result: attrReply,
  },
  READLINK: {
    send: client => client.readlink(NODE),
    opcode: 5,
    node: NODE,
    request: '',
    handler: { readlink: (_, node) => expectCall([node], [NODE], '../x') },
    reply: '2e2e2f78  target',
    result: '../x',
  },
  SYMLINK: {
    send: client => client.symlink(NODE, 'l', '/t'),
    opcode: 6,
    node: NODE,
    request: `
      6c00    name
      2f7400  target`,
    handler: { symlink: (_, ...call) => expectCall(call, [NODE, 'l', '/t'], ENTRY) },
    reply: ENTRY_ROWS,
    result: ENTRY,
  },
  MKNOD: {
    send: client => client.mknod(NODE, 'n', 0o100600, 0x52),
    opcode: 8,
    node: NODE,
    request: `
      80810000  mode
      52000000  rdev
      12000000  umask
      00000000  padding
      6e00      name`,
    handler: { mknod: (_, ...call) => expectCall(call, [NODE, 'n', 0o100600, 0x52], ENTRY) },
    reply: ENTRY_ROWS,
    result: ENTRY,
  },
  MKDIR: {
    send: client => client.mkdir(NODE, 'd', 0o700),
    opcode: 9,
    node: NODE,
    request: `
      c0010000  mode
      12000000  umask
      6400      name`,
    handler: { mkdir: (_, ...call) => expectCall(call, [NODE, 'd', 0o700], ENTRY) },
    reply: ENTRY_ROWS,
    result: ENTRY,
  },
  UNLINK: {
    send: client => client.unlink(NODE, 'u'),
    opcode: 10,
    node: NODE,
    request: '7500  name',
    handler: { unlink: (_, ...call) => expectCall(call, [NODE, 'u'], undefined) },
    reply: '',
    result: undefined,
  },
  RMDIR: {
    send: client => client.rmdir(NODE, 'r'),
    opcode: 11,
    node: NODE,
    request: '7200  name',
    handler: { rmdir: (_, ...call) => expectCall(call, [NODE, 'r'], undefined) },
    reply: '',
    result: undefined,
  },
  RENAME: {
    send: client => client.rename(NODE, 'o', NEW_NODE, 'n'),
    opcode: 12,
    node: NODE,
    request: `
      02e0adac0f 000000  newdir
      6f00  oldname
      6e00  newname`,
    handler: { rename: (_, ...call) => expectCall(call, [NODE, 'o', NEW_NODE, 'n', 0], undefined) },
    reply: '',
    result: undefined,
  },
  LINK: {
    send: client => client.link(NEW_NODE, NODE, 'l'),
    opcode: 13,
    node: NODE,
    request: `
      02e0adac0f 000000  oldnodeid
      6c00  newname`,
    handler: { link: (_, ...call) => expectCall(call, [NEW_NODE, NODE, 'l'], ENTRY) },
    reply: ENTRY_ROWS,
    result: ENTRY,
  },
  OPEN: {
    send: client => client.open(NODE, 0x8002),
    opcode: 14,
    node: NODE,
    request: `
      02800000  flags
      00000000  open_flags`,
    handler: { open: (_, ...call) => expectCall(call, [NODE, 0x8002, 0], open) },
    reply: OPEN_ROWS,
    result: openOut,
  },
  READ: {
    send: client => client.read(NODE, FH, 0x6162636465, 0x66),
    opcode: 15,
    node: NODE,
    request: `
      ${FH_ROW}
      6564636261 000000  offset
      66000000  size
      00000000  read_flags
      0000000000000000  lock_owner
      00000000  flags
      00000000  padding`,
    handler: {
      read: (_, node, fh, offset, size, out) => {
        expectCall([node, fh, offset, size, out.room], [NODE, FH, 0x6162636465, 0x66, 0x66], undefined)
        out.write(Uint8Array.of(0xff, 1, 2, 3), 1)
        out.fill(2)
      },
    },
    reply: '010203 0000  data',
    result: Uint8Array.of(1, 2, 3, 0, 0),
  },
  WRITE: {
    send: client => client.write(NODE, FH, 0x71, Uint8Array.of(7, 8, 9), 5),
    opcode: 16,
    node: NODE,
    request: `
      ${FH_ROW}
      7100000000000000  offset
      03000000  size
      05000000  write_flags
      0000000000000000  lock_owner
      02000000  flags
      00000000  padding
      070809    data`,
    handler: {
      write: (_, node, fh, offset, data, flags) => {
        const copy = new Uint8Array(data.byteLength)
        data.copyTo(copy)
        return expectCall([node, fh, offset, [...copy], flags], [NODE, FH, 0x71, [7, 8, 9], 5], 3)
      },
    },
    reply: `
      03000000  size
      00000000  padding`,
    result: 3,
  },
  STATFS: {
    send: client => client.statfs(NODE),
    opcode: 17,
    node: NODE,
    request: '',
    handler: {
      statfs: (_, node) =>
        expectCall([node], [NODE], {
          blocks: 0x81,
          bfree: 0x82,
          bavail: 0x83,
          files: 0x84,
          ffree: 0x85,
          bsize: 0x86,
          namelen: 0x87,
          frsize: 0x88,
        }),
    },
    reply: `
      8100000000000000  blocks
      8200000000000000  bfree
      8300000000000000  bavail
      8400000000000000  files
      8500000000000000  ffree
      86000000  bsize
      87000000  namelen
      88000000  frsize
      00000000  padding
      000000000000000000000000000000000000000000000000  spare`,
    result: {
      blocks: 0x81,
      bfree: 0x82,
      bavail: 0x83,
      files: 0x84,
      ffree: 0x85,
      bsize: 0x86,
      namelen: 0x87,
      frsize: 0x88,
    },
  },
  RELEASE: {
    send: client => client.release(NODE, FH, 0x8001),
    opcode: 18,
    node: NODE,
    request: `
      ${FH_ROW}
      01800000  flags
      00000000  release_flags
      0000000000000000  lock_owner`,
    handler: { release: (_, ...call) => expectCall(call, [NODE, FH], undefined) },
    reply: '',
    result: undefined,
  },
  FSYNC: {
    send: client => client.fsync(NODE, FH, true),
    opcode: 20,
    node: NODE,
    request: `
      ${FH_ROW}
      01000000  fsync_flags
      00000000  padding`,
    handler: { fsync: (_, ...call) => expectCall(call, [NODE, FH, true], undefined) },
    reply: '',
    result: undefined,
  },
  FLUSH: {
    send: client => client.flush(NODE, FH),
    opcode: 25,
    node: NODE,
    request: `
      ${FH_ROW}
      00000000  unused
      00000000  padding
      0000000000000000  lock_owner`,
    handler: { flush: (_, ...call) => expectCall(call, [NODE, FH], undefined) },
    reply: '',
    result: undefined,
  },
  SETXATTR: {
    send: client => client.setxattr(NODE, 'user.a/b', Uint8Array.of(1, 0, 2), 1),
    opcode: 21,
    node: NODE,
    request: `
      03000000  size
      01000000  flags
      757365722e612f6200  name
      010002    value`,
    handler: {
      setxattr: (_, node, name, value, flags) =>
        expectCall([node, name, [...value], flags], [NODE, 'user.a/b', [1, 0, 2], 1], undefined),
    },
    reply: '',
    result: undefined,
  },
  GETXATTR: {
    send: client => client.getxattr(NODE, 'user.a', 0x91),
    opcode: 22,
    node: NODE,
    request: `
      91000000  size
      00000000  padding
      757365722e6100  name`,
    handler: { getxattr: (_, ...call) => expectCall(call, [NODE, 'user.a'], Uint8Array.of(5, 6)) },
    reply: '0506  value',
    result: Uint8Array.of(5, 6),
  },
  'GETXATTR for the length': {
    send: client => client.getxattrSize(NODE, 'user.a'),
    opcode: 22,
    node: NODE,
    request: `
      00000000  size
      00000000  padding
      757365722e6100  name`,
    handler: { getxattr: (_, ...call) => expectCall(call, [NODE, 'user.a'], new Uint8Array(0x92)) },
    reply: `
      92000000  size
      00000000  padding`,
    result: 0x92,
  },
  LISTXATTR: {
    send: client => client.listxattr(NODE, 0x93),
    opcode: 23,
    node: NODE,
    request: `
      93000000  size
      00000000  padding`,
    handler: { listxattr: (_, ...call) => expectCall(call, [NODE], ['user.a', 'b']) },
    reply: `
      757365722e6100  name
      6200  name`,
    result: ['user.a', 'b'],
  },
  REMOVEXATTR: {
    send: client => client.removexattr(NODE, 'user.a'),
    opcode: 24,
    node: NODE,
    request: '757365722e6100  name',
    handler: { removexattr: (_, ...call) => expectCall(call, [NODE, 'user.a'], undefined) },
    reply: '',
    result: undefined,
  },
  OPENDIR: {
    send: client => client.opendir(NODE),
    opcode: 27,
    node: NODE,
    request: `
      00000100  flags
      00000000  open_flags`,
    handler: { opendir: (_, ...call) => expectCall(call, [NODE, 0o200000], open) },
    reply: OPEN_ROWS,
    result: openOut,
  },
  READDIR: {
    send: client => client.readdir(NODE, FH, 0xa1, 0x1000),
    opcode: 28,
    node: NODE,
    request: `
      ${FH_ROW}
      a100000000000000  offset
      00100000  size
      00000000  read_flags
      0000000000000000  lock_owner
      00000000  flags
      00000000  padding`,
    handler: {
      readdir: (_, node, fh, cookie, out) => {
        expectCall([node, fh, cookie], [NODE, FH, 0xa1], undefined)
        out.add('abc', 0xa3, 4, 0xa2)
        out.add('12345678', 0xa5, 8, 0xa4)
      },
    },
    reply: `
      a300000000000000  ino
      a200000000000000  off
      03000000  namelen
      04000000  type
      616263 0000000000  name
      a500000000000000  ino
      a400000000000000  off
      08000000  namelen
      08000000  type
      3132333435363738  name`,
    result: [
      { name: 'abc', ino: 0xa3, type: 4, off: 0xa2 },
      { name: '12345678', ino: 0xa5, type: 8, off: 0xa4 },
    ],
  },
  READDIRPLUS: {
    send: client => client.readdirplus(NODE, FH, 0xa1, 0x1000),
    opcode: 44,
    node: NODE,
    request: `
      ${FH_ROW}
      a100000000000000  offset
      00100000  size
      00000000  read_flags
      0000000000000000  lock_owner
      00000000  flags
      00000000  padding`,
    handler: {
      readdirplus: (_, node, fh, cookie, out) => {
        expectCall([node, fh, cookie], [NODE, FH, 0xa1], undefined)
        out.addEntry('abc', ENTRY, 0xa2)
      },
    },
    reply: `${ENTRY_ROWS}
      111111111111 0000  ino
      a200000000000000  off
      03000000  namelen
      08000000  type
      616263 0000000000  name`,
    result: [{ name: 'abc', ino: ATTR.ino, type: 8, off: 0xa2, entry: ENTRY }],
  },
  RELEASEDIR: {
    send: client => client.releasedir(NODE, FH),
    opcode: 29,
    node: NODE,
    request: `
      ${FH_ROW}
      00000000  flags
      00000000  release_flags
      0000000000000000  lock_owner`,
    handler: { releasedir: (_, ...call) => expectCall(call, [NODE, FH], undefined) },
    reply: '',
    result: undefined,
  },
  FSYNCDIR: {
    send: client => client.fsyncdir(NODE, FH),
    opcode: 30,
    node: NODE,
    request: `
      ${FH_ROW}
      00000000  fsync_flags
      00000000  padding`,
    handler: { fsyncdir: (_, ...call) => expectCall(call, [NODE, FH, false], undefined) },
    reply: '',
    result: undefined,
  },
  ACCESS: {
    send: client => client.access(NODE, 6),
    opcode: 34,
    node: NODE,
    request: `
      06000000  mask
      00000000  padding`,
    handler: { access: (_, ...call) => expectCall(call, [NODE, 6], undefined) },
    reply: '',
    result: undefined,
  },
  CREATE: {
    send: client => client.create(NODE, 'c', 0o600, 0x8241),
    opcode: 35,
    node: NODE,
    request: `
      41820000  flags
      80810000  mode
      12000000  umask
      00000000  open_flags
      6300      name`,
    handler: {
      create: (_, ...call) => expectCall(call, [NODE, 'c', 0o100600, 0x8241, 0], { entry: ENTRY, open }),
    },
    reply: `${ENTRY_ROWS}
      ${OPEN_ROWS}`,
    result: { entry: ENTRY, open: openOut },
  },
  DESTROY: {
    send: client => client.destroy(),
    opcode: 38,
    node: 0,
    request: '',
    handler: { destroy: () => {} },
    reply: '',
    result: undefined,
  },
  BATCH_FORGET: {
    send: client => client.batchForget([{ nodeid: NODE, nlookup: 0xb1 }]),
    opcode: 42,
    node: 0,
    request: `
      01000000  count
      00000000  dummy
      01dec0ad0b 000000  nodeid
      b100000000000000   nlookup`,
    handler: { forget: (...call) => expectCall(call, [NODE, 0xb1], undefined) },
    reply: undefined,
    result: undefined,
  },
  FALLOCATE: {
    send: client => client.fallocate(NODE, FH, 0xc1, 0xc2, 3),
    opcode: 43,
    node: NODE,
    request: `
      ${FH_ROW}
      c100000000000000  offset
      c200000000000000  length
      03000000  mode
      00000000  padding`,
    handler: { fallocate: (_, ...call) => expectCall(call, [NODE, FH, 0xc1, 0xc2, 3], undefined) },
    reply: '',
    result: undefined,
  },
  RENAME2: {
    send: client => client.rename2(NODE, 'o', NEW_NODE, 'n', 1),
    opcode: 45,
    node: NODE,
    request: `
      02e0adac0f 000000  newdir
      01000000  flags
      00000000  padding
      6f00  oldname
      6e00  newname`,
    handler: { rename: (_, ...call) => expectCall(call, [NODE, 'o', NEW_NODE, 'n', 1], undefined) },
    reply: '',
    result: undefined,
  },
  LSEEK: {
    send: client => client.lseek(NODE, FH, 0xd1, 4),
    opcode: 46,
    node: NODE,
    request: `
      ${FH_ROW}
      d100000000000000  offset
      04000000  whence
      00000000  padding`,
    handler: { lseek: (_, ...call) => expectCall(call, [NODE, FH, 0xd1, 4], 0xd2d2d2d2d2) },
    reply: 'd2d2d2d2d2 000000  offset',
    result: 0xd2d2d2d2d2,
  },
  COPY_FILE_RANGE: {
    send: client =>
      client.copyFileRange(
        { node: NODE, fh: FH, offset: 0xe1 },
        { node: NEW_NODE, fh: 0xe2, offset: 0xe3 },
        0xe4,
      ),
    opcode: 47,
    node: NODE,
    request: `
      fecaefbeadde 0000  fh_in
      e100000000000000  off_in
      02e0adac0f 000000  nodeid_out
      e200000000000000  fh_out
      e300000000000000  off_out
      e400000000000000  len
      0000000000000000  flags`,
    handler: {
      copyFileRange: (_, ...call) => expectCall(call, [NODE, FH, 0xe1, NEW_NODE, 0xe2, 0xe3, 0xe4], 0xe0),
    },
    reply: `
      e0000000  size
      00000000  padding`,
    result: 0xe0,
  },
  SYNCFS: {
    send: client => client.syncfs(NODE),
    opcode: 50,
    node: NODE,
    request: '0000000000000000  padding',
    handler: { syncfs: (_, ...call) => expectCall(call, [NODE], undefined) },
    reply: '',
    result: undefined,
  },
}

/** Throws, so that the request fails visibly, when a handler got other arguments than the message says. */
function expectCall<T>(got: readonly unknown[], wanted: readonly unknown[], answer: T): T {
  const text = (value: unknown) =>
    JSON.stringify(value, (_, inner) => (inner === undefined ? 'undefined' : inner))
  if (text(got) !== text(wanted)) throw new Error(`called with ${text(got)} instead of ${text(wanted)}`)
  return answer
}

/** The bytes of rows of hex digits, each row ending in a field's name after two spaces or a last blank. */
export function bytesOf(rows: string): Uint8Array {
  const hex = rows
    .trim()
    .split('\n')
    .filter(row => row.trim() !== '')
    .map(row =>
      row
        .trim()
        .replace(/\s+\w+$/, '')
        .replace(/\s/g, ''),
    )
    .join('')
  return Uint8Array.from(hex.match(/../g) ?? [], pair => Number.parseInt(pair, 16))
}
