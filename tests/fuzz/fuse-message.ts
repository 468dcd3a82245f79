// FUSE requests made from the operations table: right in their form, wrong in everything else, such as names, ids, handles,
// sizes and counts.

import { encodeRequest, OPERATIONS, type Operation } from '@ovfs/fuse-proto'
import type { Random } from './random.ts'

const NAMES = [
  'file',
  'a',
  'b',
  'dir',
  '.',
  '..',
  '',
  'a/b',
  '../beside',
  '\udcff',
  ' ',
  'x'.repeat(255),
  'y'.repeat(300),
]
/** Arguments of INIT as a guest sends them: 7.38, with everything on offer. */
const INIT_ARGS = Buffer.from(
  `0700000026000000000002 00fbffff7b0b000000${'00'.repeat(44)}`.replaceAll(' ', ''),
  'hex',
)
export const INIT = OPERATIONS.find(({ name }) => name === 'INIT') as Operation
/** Waits that a guest cannot take back are no subject here. */
const OTHERS = OPERATIONS.filter(({ name }) => name !== 'INIT' && name !== 'DESTROY')

/** A node id or a handle: mostly one of those that are given out first. */
export function identifier(random: Random): bigint {
  return random.oneIn(4) ? random.edge(64) : BigInt(random.below(12))
}

export function fuseMessage(random: Random, row: Operation = operationOf(random)): Buffer {
  const args = row === INIT && !random.oneIn(8) ? INIT_ARGS : argumentsOf(random, row)
  const tail = row.requestTail === undefined ? Buffer.alloc(0) : random.bytes(random.below(64))
  if (row.name === 'WRITE' && !random.oneIn(6)) args.writeUInt32LE(tail.length, 16)
  if (row.name === 'SETXATTR' && !random.oneIn(6)) args.writeUInt32LE(tail.length, 0)
  const parts = encodeRequest(row.opcode, {
    unique: BigInt(random.next()) * 2n,
    node: 0,
    args,
    names: Array.from({ length: row.names ?? 0 }, () => random.pick(NAMES)),
    tail,
    ...(random.oneIn(20) && { extensions: random.bytes(8 * random.below(6)) }),
  })
  const message = Buffer.concat(parts)
  message.writeBigUInt64LE(random.oneIn(3) ? 1n : identifier(random), 16)
  if (random.oneIn(30)) message.writeUInt32LE(Number(random.edge(32)), 0)
  return message
}

function operationOf(random: Random): Operation {
  return random.oneIn(12) ? INIT : random.pick(OTHERS)
}

/** Each field: an id or handle, a small number, or one at an edge. */
function argumentsOf(random: Random, row: Operation): Buffer {
  const args = Buffer.alloc(row.requestSize)
  for (let at = 0; at + 4 <= args.length; at += 4) {
    if (at % 8 === 0 && at + 8 <= args.length && random.oneIn(2)) {
      args.writeBigUInt64LE(random.oneIn(3) ? random.edge(64) : BigInt(random.below(12)), at)
      at += 4
    } else {
      args.writeUInt32LE(random.oneIn(3) ? Number(random.edge(32)) : random.below(16), at)
    }
  }
  return args
}
