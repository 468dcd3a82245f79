// One test for each rule that a chain must obey, through a ring written by hand.

import { describe, expect, it } from 'vitest'
import {
  bytesOf,
  LATER_AT,
  LATER_SIZE,
  PIECE_SIZE,
  PIECES_AT,
  RING_AT,
  type RigOptions,
  rawRig,
  takeAll,
} from './rig.ts'

const NEXT = 1
const WRITE = 2
const INDIRECT = 4
/** Offset of an indirect table in the ring's region, away from the ring. */
const TABLE = 0x8_0000
const TABLE_AT = RING_AT + TABLE

type Descriptor = readonly [address: number | bigint, length: number, flags: number, next?: number]

/** Offers chain 0 of a ring whose descriptor table and indirect table start with these entries. */
function offer(direct: readonly Descriptor[], table: readonly Descriptor[] = [], options: RigOptions = {}) {
  const rig = rawRig(options)
  direct.forEach(([address, length, flags, next], i) => {
    rig.raw.descriptor(i, address, length, flags, next)
  })
  table.forEach(([address, length, flags, next], i) => {
    rig.raw.descriptorAt(TABLE + i * 16, address, length, flags, next)
  })
  rig.raw.offer(0)
  const chains = takeAll(rig.device)
  return { ...rig, chains, chain: chains[0] }
}

function shape(result: ReturnType<typeof offer>) {
  const { chain } = result
  if (chain === undefined) return result.device.broken?.code
  const { readable, writable } = chain
  return {
    readable: readable.byteLength,
    writable: writable.byteLength,
    spans: readable.count + writable.count,
  }
}

const A = PIECES_AT

describe('a legal chain', () => {
  it('is a readable stream and a writable stream, wherever its descriptors are cut', () => {
    const result = offer([
      [A, 10, NEXT, 1],
      [A + 100, 20, NEXT, 2],
      [A + 200, 30, WRITE | NEXT, 3],
      [A + 300, 40, WRITE],
    ])
    expect(shape(result)).toEqual({ readable: 30, writable: 70, spans: 4 })
  })

  it('may have only one of the two', () => {
    expect(shape(offer([[A, 10, 0]]))).toEqual({ readable: 10, writable: 0, spans: 1 })
    expect(shape(offer([[A, 10, WRITE]]))).toEqual({ readable: 0, writable: 10, spans: 1 })
  })

  it('may use every descriptor of the ring, in any order', () => {
    const order = [0, 7, 1, 6, 2, 5, 3, 4]
    const rig = rawRig()
    order.forEach((index, i) => {
      const last = i === order.length - 1
      rig.raw.descriptor(index, A + i * 32, 16, last ? 0 : NEXT, last ? 0 : order[i + 1])
    })
    rig.raw.offer(0)
    const [chain] = takeAll(rig.device)
    expect(chain!.readable.offsets.slice(0, 8)).toEqual(order.map((_, i) => i * 32))
  })

  it('has one span for buffers that follow each other in memory, but none across the two directions', () => {
    const pages: Descriptor[] = [
      [A, 16, NEXT, 1],
      [A + 16, 16, NEXT, 2],
      [A + 32, 8, WRITE | NEXT, 3],
      [A + 40, 8, WRITE | NEXT, 4],
      [A + 64, 8, WRITE],
    ]
    expect(shape(offer(pages))).toEqual({ readable: 32, writable: 24, spans: 3 })
  })

  it('ignores `next` of its last descriptor', () => {
    expect(shape(offer([[A, 10, 0, 999]]))).toEqual({ readable: 10, writable: 0, spans: 1 })
  })

  it('skips empty descriptors, even at an address where nothing is', () => {
    const result = offer([
      [A, 4, NEXT, 1],
      [0, 0, WRITE | NEXT, 2],
      [A, 4, NEXT, 3],
      [0xdead_beefn << 32n, 0, WRITE],
    ])
    expect(shape(result)).toEqual({ readable: 8, writable: 0, spans: 2 })
  })

  it('may cross pieces and adjacent regions', () => {
    const result = offer([
      [A + PIECE_SIZE - 1, 2, NEXT, 1],
      [LATER_AT - 1, 2, WRITE],
    ])
    expect(shape(result)).toEqual({ readable: 2, writable: 2, spans: 4 })
  })

  it('shows the bytes of the guest in order', () => {
    const rig = rawRig()
    const first = new Uint8Array(rig.piecesRegion.pieces[0]!)
    const second = new Uint8Array(rig.piecesRegion.pieces[1]!)
    first.set([1, 2], PIECE_SIZE - 2)
    second.set([3, 4, 5])
    rig.raw.descriptor(0, A + PIECE_SIZE - 2, 3, NEXT, 1)
    rig.raw.descriptor(1, A + PIECE_SIZE + 1, 2, 0)
    rig.raw.offer(0)
    const [chain] = takeAll(rig.device)
    expect([...bytesOf(chain!.readable)]).toEqual([1, 2, 3, 4, 5])
  })
})

describe('an indirect table', () => {
  it('is walked from its first entry, with unused entries left out', () => {
    const table: Descriptor[] = [
      [A, 1, NEXT, 2],
      [0, 0xffff_ffff, INDIRECT | WRITE],
      [A, 2, WRITE],
    ]
    expect(shape(offer([[TABLE_AT, 48, INDIRECT]], table))).toEqual({ readable: 1, writable: 2, spans: 2 })
  })

  it('may follow ordinary descriptors', () => {
    const direct: Descriptor[] = [
      [A, 5, NEXT, 1],
      [TABLE_AT, 16, INDIRECT],
    ]
    expect(shape(offer(direct, [[A, 7, WRITE]]))).toEqual({ readable: 5, writable: 7, spans: 2 })
  })

  it('is readable whatever the WRITE flag of its descriptor says', () => {
    expect(shape(offer([[TABLE_AT, 16, INDIRECT | WRITE]], [[A, 7, 0]]))).toEqual({
      readable: 7,
      writable: 0,
      spans: 1,
    })
  })

  it('may have more entries than the ring, up to the limit', () => {
    const table = (count: number): Descriptor[] =>
      Array.from({ length: count }, (_, i) => [A + 2 * i, 1, i < count - 1 ? NEXT : 0, i + 1] as const)
    const options = { size: 4, maxChainLength: 20 }
    expect(shape(offer([[TABLE_AT, 320, INDIRECT]], table(20), options))).toEqual({
      readable: 20,
      writable: 0,
      spans: 20,
    })
    expect(shape(offer([[TABLE_AT, 336, INDIRECT]], table(21), options))).toBe('TOO_LONG')
  })

  it('may cross pieces and regions, in the middle of an entry', () => {
    for (const border of [A + PIECE_SIZE, LATER_AT]) {
      for (const before of [8, 16, 24]) {
        const rig = rawRig()
        const entries = new DataView(new ArrayBuffer(32))
        entries.setBigUint64(0, BigInt(A), true)
        entries.setUint32(8, 11, true)
        entries.setUint16(12, NEXT, true)
        entries.setUint16(14, 1, true)
        entries.setBigUint64(16, BigInt(A), true)
        entries.setUint32(24, 22, true)
        entries.setUint16(28, WRITE, true)
        for (let i = 0; i < 32; i++) {
          const address = border - before + i
          const later = address >= LATER_AT
          const piece = later
            ? rig.laterRegion.pieces[0]!
            : rig.piecesRegion.pieces[Math.floor((address - A) / PIECE_SIZE)]!
          new Uint8Array(piece)[later ? address - LATER_AT : (address - A) % PIECE_SIZE] = entries.getUint8(i)
        }
        rig.raw.descriptor(0, border - before, 32, INDIRECT)
        rig.raw.offer(0)
        const [chain] = takeAll(rig.device)
        expect([chain?.readable.byteLength, chain?.writable.byteLength]).toEqual([11, 22])
      }
    }
  })

  it('may be at an odd address', () => {
    const rig = rawRig()
    rig.raw.descriptorAt(TABLE + 3, A, 9, WRITE)
    rig.raw.descriptor(0, TABLE_AT + 3, 16, INDIRECT)
    rig.raw.offer(0)
    expect(takeAll(rig.device)[0]!.writable.byteLength).toBe(9)
  })
})

describe('a broken chain is told by its code', () => {
  it.each<[string, string, readonly Descriptor[], readonly Descriptor[], RigOptions]>([
    ['BAD_NEXT', 'next is the size of the ring', [[A, 1, NEXT, 8]], [], {}],
    ['BAD_NEXT', 'next is the size of the table', [[TABLE_AT, 16, INDIRECT]], [[A, 1, NEXT, 1]], {}],
    ['LOOP', 'a descriptor follows itself', [[A, 1, NEXT, 0]], [], {}],
    [
      'LOOP',
      'two descriptors follow each other',
      [
        [A, 1, NEXT, 1],
        [A, 1, NEXT, 0],
      ],
      [],
      {},
    ],
    ['LOOP', 'in a ring of one descriptor', [[A, 1, NEXT, 0]], [], { size: 1, tableEntries: 1 }],
    ['LOOP', 'of empty descriptors', [[A, 0, NEXT, 0]], [], {}],
    [
      'LOOP',
      'in a table',
      [[TABLE_AT, 32, INDIRECT]],
      [
        [A, 1, NEXT, 1],
        [A, 1, NEXT, 0],
      ],
      {},
    ],
    [
      'READABLE_AFTER_WRITABLE',
      'in the ring',
      [
        [A, 1, WRITE | NEXT, 1],
        [A, 1, 0],
      ],
      [],
      {},
    ],
    [
      'READABLE_AFTER_WRITABLE',
      'between ring and table',
      [
        [A, 1, WRITE | NEXT, 1],
        [TABLE_AT, 16, INDIRECT],
      ],
      [[A, 1, 0]],
      {},
    ],
    ['OUT_OF_MEMORY_RANGE', 'the first byte is not mapped', [[RING_AT - 1, 2, 0]], [], {}],
    ['OUT_OF_MEMORY_RANGE', 'the last byte is not mapped', [[LATER_AT, LATER_SIZE + 1, WRITE]], [], {}],
    ['OUT_OF_MEMORY_RANGE', 'address and length wrap at 2^64', [[0xffff_ffff_ffff_fff0n, 0x20, 0]], [], {}],
    ['OUT_OF_MEMORY_RANGE', 'a multiple of 2^64 would be mapped', [[(1n << 63n) + BigInt(A), 1, 0]], [], {}],
    ['OUT_OF_MEMORY_RANGE', 'the table is not mapped', [[0, 16, INDIRECT]], [], {}],
    ['OUT_OF_MEMORY_RANGE', 'the table leaves memory', [[LATER_AT + LATER_SIZE - 16, 32, INDIRECT]], [], {}],
    ['INDIRECT_NOT_NEGOTIATED', '', [[TABLE_AT, 16, INDIRECT]], [[A, 1, 0]], { indirect: false }],
    ['INDIRECT_WITH_NEXT', '', [[TABLE_AT, 16, INDIRECT | NEXT, 1]], [[A, 1, 0]], {}],
    ['INDIRECT_LENGTH', 'empty', [[TABLE_AT, 0, INDIRECT]], [], {}],
    ['INDIRECT_LENGTH', 'not whole entries', [[TABLE_AT, 24, INDIRECT]], [[A, 1, 0]], {}],
    ['NESTED_INDIRECT', '', [[TABLE_AT, 16, INDIRECT]], [[TABLE_AT, 16, INDIRECT]], {}],
    ['TOO_LONG', 'a table of 2^28 - 1 entries', [[TABLE_AT, 0xffff_fff0, INDIRECT]], [], {}],
  ])('%s: %s', (code, _, direct, table, options) => {
    const { device, errors, chains, counts, raw } = offer(direct, table, options)
    expect(errors.map(error => error.code)).toEqual([code])
    expect(device.broken).toBe(errors[0])
    expect(chains).toEqual([])
    expect(counts.notifications).toBe(0)
    expect(raw.usedIndex).toBe(0)
  })

  it.each([
    [0, undefined],
    [1, 'TOO_LONG'],
  ])('TOO_LONG: 2^32 + %i bytes together give %s', (extra, code) => {
    const rig = rawRig({ maxChainLength: 0x1_0000 })
    for (const [p, piece] of rig.piecesRegion.pieces.entries()) {
      const view = new DataView(piece)
      for (let at = 0; at < PIECE_SIZE; at += 16) {
        const entry = (p * PIECE_SIZE + at) / 16
        view.setBigUint64(at, BigInt(LATER_AT), true)
        view.setUint32(at + 8, LATER_SIZE, true)
        view.setUint16(at + 12, WRITE | (entry < 0xffff ? NEXT : 0), true)
        view.setUint16(at + 14, entry + 1, true)
      }
    }
    rig.raw.descriptor(0, LATER_AT, extra, NEXT, 1)
    rig.raw.descriptor(1, PIECES_AT, 0x1_0000 * 16, INDIRECT)
    rig.raw.offer(0)
    const [chain] = takeAll(rig.device)
    expect(rig.device.broken?.code).toBe(code)
    expect(chain?.writable.byteLength).toBe(code === undefined ? 2 ** 32 : undefined)
    chain?.complete(2 ** 32)
    if (code === undefined) expect(rig.raw.usedElement(0)).toEqual({ id: 0, length: 0xffff_ffff })
  })
})

describe('a driver that rewrites descriptors while they are read', () => {
  it('cannot make a value be checked once and used twice, because each is loaded once', () => {
    const rig = rawRig()
    rig.raw.descriptor(0, A, 8, NEXT, 1)
    rig.raw.descriptor(1, TABLE_AT, 32, INDIRECT)
    rig.raw.descriptorAt(TABLE, A + 100, 8, NEXT, 1)
    rig.raw.descriptorAt(TABLE + 16, A + 200, 8, WRITE)
    rig.raw.offer(0)
    const piece = rig.memory.pieceAt(rig.ringRegion.userAddress, 16)!
    const loads = new Map<string | symbol, number>()
    const hostile = new Proxy(piece.words, {
      get(words, key) {
        const seen = loads.get(key) ?? 0
        loads.set(key, seen + 1)
        return seen === 0 ? Reflect.get(words, key, words) : 0xffff_ffff
      },
    })
    Object.assign(piece, { words: hostile })
    rig.device.remap()
    const [chain] = takeAll(rig.device)
    expect(shape({ ...rig, chains: [], chain })).toEqual({ readable: 16, writable: 8, spans: 3 })
    expect([...loads.values()]).toEqual(new Array(16).fill(1))
  })
})
