// Regions, pieces and holes: what translates, and into which spans.

import { GuestMemory, Spans } from '@ovfs/virtqueue'
import { describe, expect, it } from 'vitest'
import {
  codeOf,
  LATER_AT,
  LATER_SIZE,
  makeMemory,
  PIECE_SIZE,
  PIECES_AT,
  PIECES_SIZE,
  RING_AT,
  RING_REGION_SIZE,
  region,
} from './rig.ts'

describe('translating guest addresses', () => {
  it('gives one span within a piece, at its offset in that piece', () => {
    const { memory, piecesRegion } = makeMemory()
    const spans = new Spans()
    expect(memory.translate(PIECES_AT + PIECE_SIZE + 10, 20, spans)).toBe(true)
    expect([spans.count, spans.byteLength, spans.offsets[0], spans.lengths[0]]).toEqual([1, 20, 10, 20])
    expect(spans.bytes[0]!.buffer).toBe(piecesRegion.pieces[1])
    expect(spans.views[0]!.buffer).toBe(piecesRegion.pieces[1])
  })

  it('splits a range at pieces and at the border of adjacent regions', () => {
    const { memory } = makeMemory()
    const spans = new Spans()
    const start = LATER_AT - PIECE_SIZE - 5
    expect(memory.translate(start, PIECE_SIZE + 5 + 7, spans)).toBe(true)
    expect(spans.lengths.slice(0, spans.count)).toEqual([5, PIECE_SIZE, 7])
    expect(spans.offsets.slice(0, spans.count)).toEqual([PIECE_SIZE - 5, 0, 0])
  })

  it('takes the last byte of a region and refuses the one after it', () => {
    const { memory } = makeMemory()
    const spans = new Spans()
    expect(memory.translate(LATER_AT + LATER_SIZE - 1, 1, spans)).toBe(true)
    expect(memory.translate(LATER_AT + LATER_SIZE - 1, 2, spans)).toBe(false)
    expect(memory.translate(LATER_AT + LATER_SIZE, 1, spans)).toBe(false)
    expect([spans.count, spans.byteLength]).toEqual([1, 1])
  })

  it('refuses a range that starts in a hole or leaves into one, whatever was found before', () => {
    const { memory } = makeMemory()
    const spans = new Spans()
    expect(memory.translate(RING_AT, 1, spans)).toBe(true)
    for (const address of [0, RING_AT - 1, RING_AT + RING_REGION_SIZE, PIECES_AT - 1, 2 ** 52, 2 ** 64]) {
      expect(memory.translate(address, 4, spans)).toBe(false)
    }
    expect(spans.count).toBe(1)
  })

  it('appends nothing for no bytes, mapped or not', () => {
    const { memory } = makeMemory()
    const spans = new Spans()
    expect(memory.translate(RING_AT, 0, spans)).toBe(true)
    expect(memory.translate(RING_AT, 1, spans)).toBe(true)
    expect(memory.translate(RING_AT + 8, 0, spans)).toBe(true)
    expect(memory.translate(0, 0, spans)).toBe(true)
    expect(spans.count).toBe(1)
  })

  it('appends to what is there, and leaves it alone on failure', () => {
    const { memory } = makeMemory()
    const spans = new Spans()
    memory.translate(RING_AT, 3, spans)
    expect(memory.translate(LATER_AT, LATER_SIZE + 1, spans)).toBe(false)
    expect([spans.count, spans.byteLength]).toEqual([1, 3])
  })

  it('reaches regions near the largest exact address', () => {
    const memory = new GuestMemory()
    const top = Number.MAX_SAFE_INTEGER - 0x1000
    memory.addRegion(region(top, top, 0x1000))
    const spans = new Spans()
    expect(memory.translate(top + 0xfff, 1, spans)).toBe(true)
    expect(memory.translate(top + 0xfff, 2, spans)).toBe(false)
    expect(memory.translate(2 ** 53, 1, spans)).toBe(false)
  })
})

describe('translating user addresses', () => {
  it('splits at pieces and refuses what is not contiguous in that space', () => {
    const { memory, piecesRegion } = makeMemory()
    const spans = new Spans()
    const { userAddress } = piecesRegion
    expect(memory.translateUser(userAddress + PIECE_SIZE - 1, 2, spans)).toBe(true)
    expect(spans.lengths.slice(0, 2)).toEqual([1, 1])
    expect(memory.translateUser(userAddress + PIECES_SIZE - 1, 2, spans)).toBe(false)
    expect(spans.count).toBe(2)
  })

  it('names the piece that holds a whole range', () => {
    const { memory, piecesRegion } = makeMemory()
    const { userAddress } = piecesRegion
    expect(memory.pieceAt(userAddress + PIECE_SIZE, PIECE_SIZE)!.view.buffer).toBe(piecesRegion.pieces[1])
    expect(memory.pieceAt(userAddress + PIECE_SIZE, PIECE_SIZE + 1)).toBeUndefined()
    expect(memory.userAddressOf(PIECES_AT + PIECE_SIZE + 3)).toBe(userAddress + PIECE_SIZE + 3)
    expect(memory.userAddressOf(0)).toBeUndefined()
  })
})

describe('regions', () => {
  it('are refused when they overlap another one in either address space', () => {
    const { memory } = makeMemory()
    const free = 0x7000_0000
    expect(codeOf(() => memory.addRegion(region(RING_AT - 0x1000, free, 0x2000)))).toBe('REGION_OVERLAP')
    expect(codeOf(() => memory.addRegion(region(RING_AT + 0x1000, free, 0x1000)))).toBe('REGION_OVERLAP')
    const { userAddress } = memory.regions[0]!
    expect(codeOf(() => memory.addRegion(region(free, userAddress + 0x1000, 0x1000)))).toBe('REGION_OVERLAP')
    expect(codeOf(() => memory.addRegion(region(free, free, 0x1000)))).toBeUndefined()
  })

  it('are refused when their numbers are not addresses, or the pieces do not add up', () => {
    const memory = new GuestMemory()
    const good = region(0x1000, 0x1000, 0x1000)
    for (const wrong of [
      { guestAddress: -1 },
      { guestAddress: 0.5 },
      { userAddress: Number.NaN },
      { guestAddress: Number.MAX_SAFE_INTEGER - 10 },
      { userAddress: 2 ** 53 },
      { size: 0 },
      { size: 0x2000 },
      { pieces: [] },
      { pieces: [new ArrayBuffer(0), ...good.pieces] },
    ]) {
      expect(codeOf(() => memory.addRegion({ ...good, ...wrong }))).toBe('REGION_INVALID')
    }
    expect(memory.regions).toEqual([])
  })

  it('do not translate any more once removed, even where the last address was found', () => {
    const { memory, laterRegion } = makeMemory()
    const spans = new Spans()
    const { generation } = memory
    expect(memory.translate(LATER_AT, 1, spans)).toBe(true)
    memory.removeRegion(laterRegion)
    expect(memory.translate(LATER_AT, 1, spans)).toBe(false)
    expect(memory.translate(LATER_AT - 1, 2, spans)).toBe(false)
    expect(memory.generation).not.toBe(generation)
    expect(codeOf(() => memory.removeRegion(laterRegion))).toBe('REGION_UNKNOWN')
    memory.addRegion(laterRegion)
    expect(memory.translate(LATER_AT - 1, 2, spans)).toBe(true)
  })
})
