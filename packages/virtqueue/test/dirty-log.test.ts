// What a device has written is in the log: checked bit by bit, and as images of memory before and after random work.

import { copyToSpans, DirtyLog } from '@ovfs/virtqueue'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { answer, makeRig, offerAll, PIECES_AT, RING_AT, rawRig, takeAll, turn } from './rig.ts'

const PAGE = 4096
/** Covers the rig's memory. */
const LOG_BYTES = (PIECES_AT + 0x20_0000) / PAGE / 8

function pagesOf(bitmap: Uint8Array): number[] {
  const pages: number[] = []
  for (const [i, byte] of bitmap.entries()) {
    for (let bit = 0; byte !== 0 && bit < 8; bit++) if ((byte >> bit) & 1) pages.push(i * 8 + bit)
  }
  return pages
}

describe('the bitmap', () => {
  test('has the bit of every page that a range touches, and no other', () => {
    fc.assert(
      fc.property(fc.nat(64 * PAGE), fc.nat(40 * PAGE), (address, length) => {
        const bitmap = new Uint8Array(64)
        new DirtyLog(bitmap).mark(address, length)
        const first = Math.floor(address / PAGE)
        const count = length === 0 ? 0 : Math.floor((address + length - 1) / PAGE) - first + 1
        expect(pagesOf(bitmap)).toEqual(Array.from({ length: count }, (_, i) => first + i))
      }),
    )
  })

  test('keeps marks that are there, and ends where it ends', () => {
    const bitmap = Uint8Array.of(0x81, 0, 0)
    const log = new DirtyLog(bitmap)
    log.mark(PAGE, 1)
    log.mark(22 * PAGE, 100 * PAGE)
    log.mark(2 ** 52, 2 ** 40)
    expect([...bitmap]).toEqual([0x83, 0, 0xc0])
  })

  test('tells once of new marks', () => {
    let told = 0
    const log = new DirtyLog(new Uint8Array(1), () => told++)
    log.announce()
    log.mark(0, 1)
    log.mark(PAGE, 1)
    log.announce()
    log.announce()
    expect(told).toBe(1)
  })
})

test('a buffer is marked even where the answer tells of fewer bytes than were written', () => {
  const { device, raw } = rawRig()
  const bitmap = new Uint8Array(LOG_BYTES)
  device.setLog(new DirtyLog(bitmap), undefined)
  raw.descriptor(0, PIECES_AT + PAGE - 8, 16, 2)
  raw.offer(0)
  const [chain] = takeAll(device)
  copyToSpans(chain!.writable, 0, new Uint8Array(16))
  chain!.complete(4)
  const first = PIECES_AT / PAGE
  expect(pagesOf(bitmap)).toEqual([first, first + 1])
})

test('what a detached device wrote to chains in flight is marked', () => {
  const { device, raw } = rawRig()
  const bitmap = new Uint8Array(LOG_BYTES)
  device.setLog(new DirtyLog(bitmap), undefined)
  offerAll(raw, 0)
  takeAll(device)
  device.detach()
  expect(pagesOf(bitmap)).toEqual([PIECES_AT / PAGE])
})

test('the used ring is marked at the address that was given for it: elements, index and event index or flags', async () => {
  for (const eventIdx of [true, false]) {
    const { device, raw } = rawRig({ size: 1024, eventIdx })
    const bitmap = new Uint8Array(8)
    // So that the fields lie on pages of their own: flags and index on page 0, element 511 on page 1, the event on page 2.
    device.setLog(new DirtyLog(bitmap), 0)
    offerAll(raw, 0)
    device.drain(chain => chain.complete(0))
    await turn()
    expect(pagesOf(bitmap), `event index ${eventIdx}`).toEqual(eventIdx ? [0, 2] : [0])
    device.setLog(undefined, undefined)
    bitmap.fill(0)
    offerAll(raw, 1)
    device.drain(answer)
    await turn()
    expect(pagesOf(bitmap), 'switched off').toEqual([])
  }
})

test('every page that differs after random work is marked', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.boolean(),
      fc.array(
        fc.record({
          at: fc.nat(0xf_0000),
          lengths: fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 4 }),
          written: fc.double({ min: 0, max: 1, noNaN: true }),
          later: fc.boolean(),
          switchLog: fc.boolean(),
        }),
        { minLength: 1, maxLength: 30 },
      ),
      async (eventIdx, steps) => {
        const rig = makeRig({ eventIdx, indirect: false, size: 64 })
        const { driver, device } = rig
        const regions = [rig.ringRegion, rig.piecesRegion, rig.laterRegion]
        const image = () =>
          regions.map(({ pieces }) => Buffer.concat(pieces.map(piece => Buffer.from(new Uint8Array(piece)))))
        let bitmap = new Uint8Array(LOG_BYTES)
        const logged = new Set<number>()
        const useLog = () => {
          for (const page of pagesOf(bitmap)) logged.add(page)
          bitmap = new Uint8Array(LOG_BYTES)
          device.setLog(new DirtyLog(bitmap), driver.ring.usedAddress - driver.ring.descAddress + RING_AT)
        }
        useLog()
        for (const [i, step] of steps.entries()) {
          let at = PIECES_AT + step.at
          const buffers = step.lengths.map(length => {
            const buffer = { address: at, length }
            at += length + 100
            return buffer
          })
          driver.add([], buffers, false)
          driver.publish()
          const before = image()
          const late: (() => void)[] = []
          device.drain(chain => {
            const bytes = Math.floor(chain.writable.byteLength * step.written)
            const act = () => {
              copyToSpans(chain.writable, 0, new Uint8Array(bytes).fill(i + 1))
              chain.complete(bytes)
            }
            if (step.later) late.push(act)
            else act()
          })
          if (step.switchLog) useLog()
          for (const act of late) act()
          await turn()
          for (const page of pagesOf(bitmap)) logged.add(page)
          for (const [r, after] of image().entries()) {
            for (let offset = 0; offset < after.length; offset += PAGE) {
              if (before[r]!.compare(after, offset, offset + PAGE, offset, offset + PAGE) === 0) continue
              const page = (regions[r]!.guestAddress + offset) / PAGE
              expect(logged.has(page), `page 0x${page.toString(16)}`).toBe(true)
            }
          }
          logged.clear()
          bitmap.fill(0)
          driver.collect(() => {})
        }
        expect(rig.errors).toEqual([])
      },
    ),
    { numRuns: 60 },
  )
})
