// Golden messages of the operations on open files, directories and extended attributes.

import {
  ATTR,
  ENTRY,
  ENTRY_ROWS,
  expectCall,
  FH,
  FH_ROW,
  type GoldenMessage,
  NEW_NODE,
  NODE,
  OPEN_ROWS,
  open,
  openOut,
} from './golden-rows.ts'

export const GOLDEN_FILES: Readonly<Record<string, GoldenMessage>> = {
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
  RELEASE: {
    send: client => client.release(NODE, FH, 0x8001),
    opcode: 18,
    node: NODE,
    request: `
      ${FH_ROW}
      01800000  flags
      00000000  release_flags
      0000000000000000  lock_owner`,
    handler: { release: (_, ...call) => expectCall(call, [NODE, FH, undefined], undefined) },
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
    handler: { flush: (_, ...call) => expectCall(call, [NODE, FH, 0n], undefined) },
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
      { name: 'abc', ino: 0xa3, type: 4, off: 0xa2n },
      { name: '12345678', ino: 0xa5, type: 8, off: 0xa4n },
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
    result: [{ name: 'abc', ino: ATTR.ino, type: 8, off: 0xa2n, entry: ENTRY }],
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
