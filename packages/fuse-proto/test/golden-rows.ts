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

export const ATTR_ROWS = `
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
export const ENTRY_ROWS = `
  01dec0ad0b 000000  nodeid
  2100000000000000   generation
  2200000000000000   entry_valid
  2300000000000000   attr_valid
  24242424  entry_valid_nsec
  25252525  attr_valid_nsec
  ${ATTR_ROWS}`
export const FH_ROW = 'fecaefbeadde 0000  fh'
export const OPEN_ROWS = `
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

export const attrReply = { attrValid: 0x23, attrValidNsec: 0x25252525, attr: ATTR }
export const open = { fh: FH, openFlags: 3 }
export const openOut = { ...open, backingId: 0 }

/** Throws, so that the request fails visibly, when a handler got other arguments than the message says. */
export function expectCall<T>(got: readonly unknown[], wanted: readonly unknown[], answer: T): T {
  const text = (value: unknown) =>
    JSON.stringify(value, (_, inner) =>
      inner === undefined ? 'undefined' : typeof inner === 'bigint' ? `${inner}n` : inner,
    )
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
