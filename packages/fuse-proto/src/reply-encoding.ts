// Writes the fixed replies straight into their place, mostly guest memory. Hand-written because they are on the path of
// every lookup: the offsets come from the struct tables, but no value object is walked and nothing is checked but room,
// which the caller has seen to. Values are what handlers promise: integers of at most 2^53-1, seconds possibly negative.

import type { AttrReply, OpenReply } from './handler.ts'
import { Attr, AttrOut, EntryOut, KstatfsOut, OpenOut } from './structs.ts'

const HIGH = 1 / 0x1_0000_0000

/** Stores a u64. DataView takes each word modulo 2^32, so the low word needs no arithmetic. */
export function storeNumber(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value, true)
  view.setUint32(offset + 4, value <= 0xffff_ffff ? 0 : value * HIGH, true)
}

/** Stores a signed 64-bit count of seconds in two's complement. */
function storeSeconds(view: DataView, offset: number, value: number): void {
  if (value >= 0) {
    storeNumber(view, offset, value)
  } else {
    const whole = Math.floor(value)
    view.setUint32(offset, whole, true)
    view.setInt32(offset + 4, Math.floor(whole * HIGH), true)
  }
}

const A = Attr.offsets

export function storeAttr(view: DataView, offset: number, attr: Attr): void {
  storeNumber(view, offset + A.ino, attr.ino)
  storeNumber(view, offset + A.size, attr.size)
  storeNumber(view, offset + A.blocks, attr.blocks)
  storeSeconds(view, offset + A.atime, attr.atime)
  storeSeconds(view, offset + A.mtime, attr.mtime)
  storeSeconds(view, offset + A.ctime, attr.ctime)
  view.setUint32(offset + A.atimensec, attr.atimensec, true)
  view.setUint32(offset + A.mtimensec, attr.mtimensec, true)
  view.setUint32(offset + A.ctimensec, attr.ctimensec, true)
  view.setUint32(offset + A.mode, attr.mode, true)
  view.setUint32(offset + A.nlink, attr.nlink, true)
  view.setUint32(offset + A.uid, attr.uid, true)
  view.setUint32(offset + A.gid, attr.gid, true)
  view.setUint32(offset + A.rdev, attr.rdev, true)
  view.setUint32(offset + A.blksize, attr.blksize, true)
  view.setUint32(offset + A.flags, attr.flags, true)
}

const E = EntryOut.offsets

export function storeEntry(view: DataView, offset: number, entry: EntryOut): void {
  storeNumber(view, offset + E.nodeid, entry.nodeid)
  storeNumber(view, offset + E.generation, entry.generation)
  storeNumber(view, offset + E.entryValid, entry.entryValid)
  storeNumber(view, offset + E.attrValid, entry.attrValid)
  view.setUint32(offset + E.entryValidNsec, entry.entryValidNsec, true)
  view.setUint32(offset + E.attrValidNsec, entry.attrValidNsec, true)
  storeAttr(view, offset + E.attr, entry.attr)
}

const AO = AttrOut.offsets

export function storeAttrOut(view: DataView, offset: number, reply: AttrReply): void {
  storeNumber(view, offset + AO.attrValid, reply.attrValid)
  view.setUint32(offset + AO.attrValidNsec, reply.attrValidNsec, true)
  view.setUint32(offset + AO.dummy, 0, true)
  storeAttr(view, offset + AO.attr, reply.attr)
}

export function storeOpen(view: DataView, offset: number, reply: OpenReply): void {
  storeNumber(view, offset + OpenOut.offsets.fh, reply.fh)
  view.setUint32(offset + OpenOut.offsets.openFlags, reply.openFlags, true)
  view.setUint32(offset + OpenOut.offsets.backingId, 0, true)
}

const K = KstatfsOut.offsets

export function storeStatfs(view: DataView, offset: number, reply: KstatfsOut): void {
  storeNumber(view, offset + K.blocks, reply.blocks)
  storeNumber(view, offset + K.bfree, reply.bfree)
  storeNumber(view, offset + K.bavail, reply.bavail)
  storeNumber(view, offset + K.files, reply.files)
  storeNumber(view, offset + K.ffree, reply.ffree)
  view.setUint32(offset + K.bsize, reply.bsize, true)
  view.setUint32(offset + K.namelen, reply.namelen, true)
  view.setUint32(offset + K.frsize, reply.frsize, true)
  for (let o = K.padding; o < KstatfsOut.size; o += 4) view.setUint32(offset + o, 0, true)
}
