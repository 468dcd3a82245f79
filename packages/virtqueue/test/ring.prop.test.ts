// Driver and device over the same memory: legal chains of any shape keep their bytes, and rings of any content do no harm.

import { type Chain, copyFromSpans, copyToSpans, type GuestBuffer, Spans } from '@ovfs/virtqueue'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bytesOf, LATER_SIZE, makeRig, PIECES_AT, PIECES_SIZE, RING_AT } from './rig.ts'

const DATA_SIZE = PIECES_SIZE + LATER_SIZE

const sizes = fc.integer({ min: 0, max: 10 }).map(exponent => 2 ** exponent)

/** Lengths of readable and writable buffers, zeros included, and gaps that put them anywhere relative to pieces. */
const buffers = fc.array(fc.tuple(fc.integer({ min: 0, max: 9000 }), fc.integer({ min: 0, max: 3000 })), {
  maxLength: 6,
})
const chainShape = fc.record({ readable: buffers, writable: buffers, indirect: fc.boolean() })

/** Hands out disjoint buffers from PIECES_AT upwards, across pieces and into the adjacent region. */
class Arena {
  #at = PIECES_AT

  take(shape: readonly (readonly [length: number, gap: number])[]): GuestBuffer[] {
    return shape.map(([length, gap]) => {
      this.#at += gap
      const address = this.#at
      this.#at += length
      return { address, length }
    })
  }

  get isFull(): boolean {
    return this.#at > PIECES_AT + DATA_SIZE
  }
}

describe('legal chains', () => {
  it('carry their bytes both ways, whatever their shape, order of completion, ring size and base', () => {
    fc.assert(
      fc.property(
        sizes,
        fc.integer({ min: 0, max: 65535 }),
        fc.boolean(),
        fc.array(chainShape, { minLength: 1, maxLength: 6 }),
        fc.infiniteStream(fc.nat()),
        (size, base, eventIdx, shapes, random) => {
          const rig = makeRig({ size, base, eventIdx, tableEntries: 12 })
          const { driver, device, memory } = rig
          const arena = new Arena()
          const sent = new Map<number, { request: Uint8Array; reply: Uint8Array; writable: GuestBuffer[] }>()
          for (const [n, shape] of shapes.entries()) {
            const readable = arena.take(shape.readable)
            const writable = arena.take(shape.writable)
            const count = readable.length + writable.length
            const limit = shape.indirect ? 12 : size
            if (arena.isFull || count === 0 || count > limit) continue
            const spans = new Spans()
            for (const { address, length } of readable) memory.translate(address, length, spans)
            const request = Uint8Array.from({ length: spans.byteLength }, (_, i) => (i * 7 + n) & 0xff)
            copyToSpans(spans, 0, request)
            const head = driver.add(readable, writable, shape.indirect)
            if (head !== -1) sent.set(head, { request, reply: new Uint8Array(0), writable })
          }
          driver.publish()

          const chains: Chain[] = []
          device.drain(chain => chains.push(chain))
          expect(device.broken).toBeUndefined()
          expect(chains.map(chain => chain.head)).toEqual([...sent.keys()])
          while (chains.length > 0) {
            const [chain] = chains.splice(random.next().value % chains.length, 1)
            const record = sent.get(chain!.head)!
            expect(Buffer.compare(bytesOf(chain!.readable), record.request)).toBe(0)
            const length = random.next().value % (chain!.writable.byteLength + 1)
            record.reply = Uint8Array.from({ length }, (_, i) => (i * 5 + chain!.head) & 0xff)
            expect(copyToSpans(chain!.writable, 0, record.reply)).toBe(length)
            chain!.complete(length)
          }
          device.stop()
          driver.collect((head, written) => {
            const { reply, writable } = sent.get(head)!
            expect(written).toBe(reply.length)
            const spans = new Spans()
            for (const { address, length } of writable) memory.translate(address, length, spans)
            const received = new Uint8Array(written)
            copyFromSpans(spans, 0, received)
            expect(Buffer.compare(received, reply)).toBe(0)
            sent.delete(head)
          })
          expect([sent.size, driver.freeDescriptors, device.inFlight]).toEqual([0, size, 0])
        },
      ),
      { numRuns: 150 },
    )
  })
})

/** Descriptors that are plausible in each field but wrong in any combination. */
const hostileDescriptor = fc.record({
  address: fc.oneof(
    fc.integer({ min: RING_AT, max: RING_AT + 0x800 }).map(BigInt),
    fc.integer({ min: PIECES_AT - 32, max: PIECES_AT + DATA_SIZE + 32 }).map(BigInt),
    fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
  ),
  length: fc.oneof(
    fc.integer({ min: 0, max: 8 }).map(n => n * 16),
    fc.integer({ min: 0, max: 0xffff_ffff }),
    fc.integer({ min: 0, max: 9000 }),
  ),
  flags: fc.oneof(
    fc.integer({ min: 0, max: 7 }),
    fc.constantFrom(0, 1, 2, 3),
    fc.integer({ min: 0, max: 0xffff }),
  ),
  next: fc.oneof(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 0xffff })),
})

function isInside(spans: Spans): boolean {
  for (let i = 0; i < spans.count; i++) {
    const offset = spans.offsets[i]!
    const length = spans.lengths[i]!
    if (offset < 0 || length <= 0 || offset + length > spans.bytes[i]!.length) return false
  }
  return true
}

describe('a hostile driver', () => {
  it('gets no exception, no bytes outside its memory and no writes outside the used ring', () => {
    fc.assert(
      fc.property(
        fc.array(hostileDescriptor, { minLength: 8, maxLength: 40 }),
        fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 10 })), {
          minLength: 1,
          maxLength: 12,
        }),
        fc.boolean(),
        fc.boolean(),
        (descriptors, moves, eventIdx, completeLate) => {
          const { device, ringRegion, errors, driver } = makeRig({ eventIdx, maxChainLength: 16 })
          const view = new DataView(ringRegion.pieces[0]!)
          const availAt = driver.ring.availAddress - ringRegion.userAddress
          const usedAt = driver.ring.usedAddress - ringRegion.userAddress
          descriptors.forEach(({ address, length, flags, next }, i) => {
            view.setBigUint64(i * 16, address, true)
            view.setUint32(i * 16 + 8, length, true)
            view.setUint16(i * 16 + 12, flags, true)
            view.setUint16(i * 16 + 14, next, true)
          })
          const held: Chain[] = []
          let index = 0
          for (const [head, step] of moves) {
            view.setUint16(availAt + 4 + 2 * (index % 8), head, true)
            index = (index + step) & 0xffff
            view.setUint16(availAt + 2, index, true)
            const outside = () => {
              const image = Buffer.from(ringRegion.pieces[0]!.slice(0, 0x1000))
              return image.fill(0, usedAt, usedAt + 6 + 8 * 8)
            }
            const before = outside()
            device.drain(chain => {
              expect(isInside(chain.readable) && isInside(chain.writable)).toBe(true)
              if (completeLate) held.push(chain)
              else chain.complete(2 ** 33)
            })
            expect(before.equals(outside())).toBe(true)
          }
          for (const chain of held) chain.complete(1)
          expect(device.inFlight).toBe(0)
          expect(errors.length).toBeLessThanOrEqual(1)
          device.stop()
        },
      ),
      { numRuns: 300 },
    )
  })

  it('gets the same from random bytes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 512, maxLength: 512 }),
        fc.integer({ min: 1, max: 8 }),
        fc.boolean(),
        (bytes, available, eventIdx) => {
          const { device, ringRegion, errors, driver } = makeRig({ eventIdx })
          const ring = ringRegion.pieces[0]!
          new Uint8Array(ring).set(bytes)
          const availAt = driver.ring.availAddress - ringRegion.userAddress
          new DataView(ring).setUint16(availAt + 2, available, true)
          device.drain(chain => {
            expect(isInside(chain.readable) && isInside(chain.writable)).toBe(true)
            chain.complete(1)
          })
          expect(errors.length).toBeLessThanOrEqual(1)
        },
      ),
    )
  })
})
