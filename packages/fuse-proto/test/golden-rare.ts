// Golden messages of locks, ioctl, nameless files and statx.

import { S_IFREG } from '../src/index.ts'
import {
  ENTRY,
  ENTRY_ROWS,
  expectCall,
  FH,
  FH_ROW,
  type GoldenMessage,
  NODE,
  OPEN_ROWS,
  open,
} from './golden-rows.ts'

const OWNER = 0xfeedface_deadbeefn
const LOCK = { start: 0x51n, end: 0x7fffffffffffffffn, type: 1, pid: 0x53 }
const LOCK_ROWS = `
  5100000000000000  start
  ffffffffffffff7f  end
  01000000  type
  53000000  pid`
const LK_ROWS = `
  ${FH_ROW}
  efbeaddecefaedfe  owner
  ${LOCK_ROWS}
  00000000  lk_flags
  00000000  padding`

const time = (tvSec: bigint, tvNsec: number) => ({ tvSec, tvNsec })
const STAT = {
  mask: 0x1fff,
  blksize: 0x1000,
  attributes: 0x61n,
  nlink: 0x62,
  uid: 0x63,
  gid: 0x64,
  mode: S_IFREG | 0o640,
  ino: 0x65,
  size: 0x66,
  blocks: 0x67,
  attributesMask: 0x68n,
  atime: time(0x69n, 0x6a),
  btime: time(-1n, 0x6b),
  ctime: time(0x6cn, 0x6d),
  mtime: time(0x6en, 0x6f),
  rdevMajor: 0x70,
  rdevMinor: 0x71,
  devMajor: 0x72,
  devMinor: 0x73,
}

export const GOLDEN_RARE: Readonly<Record<string, GoldenMessage>> = {
  GETLK: {
    send: client => client.getlk(NODE, FH, OWNER, LOCK),
    opcode: 31,
    node: NODE,
    request: LK_ROWS,
    handler: { getlk: (_, ...call) => expectCall(call, [NODE, FH, OWNER, LOCK], { ...LOCK, pid: 0x54 }) },
    reply: LOCK_ROWS.replace('53000000', '54000000'),
    result: { ...LOCK, pid: 0x54 },
  },
  SETLK: {
    send: client => client.setlk(NODE, FH, OWNER, LOCK),
    opcode: 32,
    node: NODE,
    request: LK_ROWS,
    handler: {
      setlk: (_, ...call) =>
        expectCall(call, [NODE, FH, OWNER, LOCK, { wait: false, flock: false }], undefined),
    },
    reply: '',
    result: undefined,
  },
  SETLKW: {
    send: client => client.setlk(NODE, FH, OWNER, LOCK, true),
    opcode: 33,
    node: NODE,
    request: LK_ROWS,
    handler: {
      setlk: (_, ...call) =>
        expectCall(call, [NODE, FH, OWNER, LOCK, { wait: true, flock: false }], undefined),
    },
    reply: '',
    result: undefined,
  },
  IOCTL: {
    send: client =>
      client.ioctl(NODE, FH, { command: 0x8008_6601, argument: 0x55n, input: Uint8Array.of(1, 2), room: 8 }),
    opcode: 39,
    node: NODE,
    request: `
      ${FH_ROW}
      00000000  flags
      01660880  cmd
      5500000000000000  arg
      02000000  in_size
      08000000  out_size
      0102  data`,
    handler: {
      ioctl: (_, node, fh, command, argument, input, room) =>
        expectCall(
          [node, fh, command, argument, [...input], room],
          [NODE, FH, 0x8008_6601, 0x55n, [1, 2], 8],
          {
            result: 3,
            data: Uint8Array.of(7, 8, 9),
          },
        ),
    },
    reply: `
      03000000  result
      00000000  flags
      00000000  in_iovs
      00000000  out_iovs
      070809  data`,
    result: { result: 3, data: Uint8Array.of(7, 8, 9) },
  },
  TMPFILE: {
    send: client => client.tmpfile(NODE, 0o600, 0x410002),
    opcode: 51,
    node: NODE,
    request: `
      02004100  flags
      80810000  mode
      12000000  umask
      00000000  open_flags
      2f00  name`,
    handler: {
      tmpfile: (_, ...call) => expectCall(call, [NODE, S_IFREG | 0o600, 0x410002, 0], { entry: ENTRY, open }),
    },
    reply: `${ENTRY_ROWS}${OPEN_ROWS}`,
    result: { entry: ENTRY, open: { ...open, backingId: 0 } },
  },
  STATX: {
    send: client => client.statx(NODE, 0xfff, 0x4000),
    opcode: 52,
    node: NODE,
    request: `
      00000000  getattr_flags
      00000000  reserved
      0000000000000000  fh
      00400000  sx_flags
      ff0f0000  sx_mask`,
    handler: {
      statx: (_, ...call) =>
        expectCall(call, [NODE, undefined, 0x4000, 0xfff], {
          attrValid: 0x23,
          attrValidNsec: 0x24,
          stat: STAT,
        }),
    },
    reply: `
      2300000000000000  attr_valid
      24000000  attr_valid_nsec
      00000000  flags
      00000000000000000000000000000000  spare
      ff1f0000  mask
      00100000  blksize
      6100000000000000  attributes
      62000000  nlink
      63000000  uid
      64000000  gid
      a081  mode
      0000  spare
      6500000000000000  ino
      6600000000000000  size
      6700000000000000  blocks
      6800000000000000  attributes_mask
      69000000000000006a00000000000000  atime
      ffffffffffffffff6b00000000000000  btime
      6c000000000000006d00000000000000  ctime
      6e000000000000006f00000000000000  mtime
      70000000  rdev_major
      71000000  rdev_minor
      72000000  dev_major
      73000000  dev_minor
      ${'00'.repeat(112)}  spare`,
    result: { attrValid: 0x23, attrValidNsec: 0x24, flags: 0, stat: STAT },
  },
}
