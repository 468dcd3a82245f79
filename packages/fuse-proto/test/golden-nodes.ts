// Golden messages of the operations on nodes and names, and of the session.

import {
  ATTR_ROWS,
  attrReply,
  ENTRY,
  ENTRY_ROWS,
  expectCall,
  FH,
  FH_ROW,
  type GoldenMessage,
  NEW_NODE,
  NODE,
} from './golden-rows.ts'

export const GOLDEN_NODES: Readonly<Record<string, GoldenMessage>> = {
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
}
