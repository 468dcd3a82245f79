// What is measured: each workload is a set of prepared requests in guest memory, shaped as Linux shapes them (headers,
// arguments and pages in descriptors of their own), that a polling driver puts on the ring again and again.

import {
  encodeRequest,
  InHeader,
  OPERATION_BY_OPCODE,
  Opcode,
  ReadIn,
  ROOT_NODE,
  WriteIn,
} from '@ovfs/fuse-proto'
import type { GuestRange } from '@ovfs/virtio-fs/driver'
import type { GuestBuffer } from '@ovfs/virtqueue'

export interface Workload {
  readonly name: string
  /** Bytes moved by one operation, or 0 if it is not about bytes. */
  readonly bytes: number
  /** Writes request number `slot` into memory and tells its buffers. */
  prepare(slot: number, at: GuestRange): { readable: GuestBuffer[]; writable: GuestBuffer[] }
  /** Changes a prepared request before it goes out again, if each is to be different. */
  readonly vary?: (request: DataView) => void
}

export interface BenchFile {
  readonly node: number
  readonly fh: number
  readonly size: number
}

const PAGE = 4096
const MEBIBYTE = 1 << 20
/** Where the arguments of a prepared request begin. */
const ARGUMENTS = InHeader.size

/** `length` bytes at `address` as Linux gives them: a descriptor for each page. */
function asPages(address: number, length: number): GuestBuffer[] {
  return Array.from({ length: Math.ceil(length / PAGE) }, (_, i) => ({
    address: address + i * PAGE,
    length: Math.min(PAGE, length - i * PAGE),
  }))
}

function replySize(opcode: number): number {
  return OPERATION_BY_OPCODE[opcode]?.replySize ?? 0
}

/** Lays a request without data: header, arguments or names, reply header, reply. */
function simple(opcode: number, parts: { node: number; args?: Uint8Array; names?: string[] }) {
  return (slot: number, at: GuestRange) => {
    const request = encodeRequest(opcode, { uid: 0, gid: 0, pid: 1, unique: BigInt(2 * slot + 2), ...parts })
    let used = 0
    const readable = request.map(part => {
      at.bytes.set(part, used)
      used += part.byteLength
      return { address: at.address + used - part.byteLength, length: part.byteLength }
    })
    const reply = at.address + 1024
    const writable = [
      { address: reply, length: 16 },
      { address: reply + 16, length: replySize(opcode) },
    ]
    return { readable, writable }
  }
}

/** Lays a READ or WRITE with its pages, offsets running through the file with `stride` between slots. */
function transfer(opcode: number, file: BenchFile, size: number) {
  return (slot: number, at: GuestRange) => {
    const offset = (slot * size) % file.size
    const common = { fh: file.fh, offset, size, lockOwner: 0n, flags: 0 }
    const args =
      opcode === Opcode.READ
        ? ReadIn.toBytes({ ...common, readFlags: 0 })
        : WriteIn.toBytes({ ...common, writeFlags: 0 })
    const data = at.address + PAGE
    const base = simple(opcode, { node: file.node, args })(slot, at)
    // The header's length counts the data too.
    if (opcode === Opcode.WRITE)
      new DataView(at.bytes.buffer, at.bytes.byteOffset).setUint32(0, 80 + size, true)
    return opcode === Opcode.READ
      ? { readable: base.readable, writable: [base.writable[0] as GuestBuffer, ...asPages(data, size)] }
      : { readable: [...base.readable, ...asPages(data, size)], writable: base.writable }
  }
}

function setOffset(request: DataView, offset: number): void {
  request.setUint32(ARGUMENTS + ReadIn.offsets.offset, offset % 2 ** 32, true)
  request.setUint32(ARGUMENTS + ReadIn.offsets.offset + 4, Math.floor(offset / 2 ** 32), true)
}

/** Bytes of guest memory that one request of any workload takes. */
export const SLOT_BYTES = MEBIBYTE + 2 * PAGE

export function workloads(file: BenchFile, scratch: BenchFile, name: string): Workload[] {
  // The same sequence in each run: a linear congruential generator.
  let seed = 12345
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fff_ffff
    return seed % below
  }
  const sequential = (target: BenchFile) => {
    let next = 0
    return (request: DataView) => {
      setOffset(request, next)
      next = (next + MEBIBYTE) % target.size
    }
  }
  return [
    {
      name: 'GETATTR',
      bytes: 0,
      prepare: simple(Opcode.GETATTR, { node: file.node, args: new Uint8Array(16) }),
    },
    { name: 'LOOKUP', bytes: 0, prepare: simple(Opcode.LOOKUP, { node: ROOT_NODE, names: [name] }) },
    {
      name: 'READ 4 KiB random',
      bytes: PAGE,
      prepare: transfer(Opcode.READ, file, PAGE),
      vary: request => setOffset(request, random(file.size / PAGE) * PAGE),
    },
    {
      name: 'READ 1 MiB sequential',
      bytes: MEBIBYTE,
      prepare: transfer(Opcode.READ, file, MEBIBYTE),
      vary: sequential(file),
    },
    {
      name: 'WRITE 1 MiB sequential',
      bytes: MEBIBYTE,
      prepare: transfer(Opcode.WRITE, scratch, MEBIBYTE),
      vary: sequential(scratch),
    },
  ]
}
