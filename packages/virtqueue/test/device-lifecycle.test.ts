// How a queue ends, and what it does while memory comes and goes.

import { copyToSpans, DeviceQueue } from '@ovfs/virtqueue'
import { describe, expect, it } from 'vitest'
import { answer, LATER_AT, offerAll, rawRig, takeAll, turn, WRITE } from './rig.ts'

describe('stopping', () => {
  it('an idle queue gives the next index at once', () => {
    const { device, raw } = rawRig()
    offerAll(raw, 0, 1)
    device.drain(answer)
    expect(device.stop()).toBe(2)
    offerAll(raw, 2)
    expect([device.drain(answer), raw.usedIndex]).toEqual([false, 2])
  })

  it('waits for the chains in flight, publishes them, and takes no more', async () => {
    const { device, raw, counts } = rawRig()
    offerAll(raw, 0, 1)
    const [first, second] = takeAll(device)
    const stopped = device.stop()
    expect(stopped).toBeInstanceOf(Promise)
    offerAll(raw, 2)
    expect(takeAll(device)).toEqual([])
    second!.complete(1)
    first!.complete(1)
    expect([raw.usedIndex, counts.notifications]).toEqual([2, 1])
    expect(await stopped).toBe(2)
    expect(await device.stop()).toBe(2)
  })

  it('publishes what waits for the end of the turn', () => {
    const { device, raw, counts } = rawRig()
    offerAll(raw, 0)
    takeAll(device)[0]!.complete(1)
    expect(device.stop()).toBe(1)
    expect([raw.usedIndex, counts.notifications]).toEqual([1, 1])
  })

  it('from within a handler ends the drain there', async () => {
    const { device, raw } = rawRig()
    offerAll(raw, 0, 1)
    let stopped: number | Promise<number> = -1
    device.drain(chain => {
      stopped = device.stop()
      answer(chain)
    })
    expect([await stopped, raw.usedIndex]).toEqual([1, 1])
  })

  it('leaves the ring to a successor that goes on at that index', async () => {
    const { memory, device, deviceOptions, raw } = rawRig()
    offerAll(raw, 0, 1)
    device.drain(answer, 1)
    const base = await device.stop()
    const successor = new DeviceQueue(memory, { ...deviceOptions, base })
    const heads: number[] = []
    successor.drain(chain => {
      heads.push(chain.head)
      answer(chain)
    })
    expect([heads, raw.usedIndex, raw.usedElement(1).id]).toEqual([[1], 2, 1])
    device.drain(answer)
    await turn()
    expect(raw.usedIndex).toBe(2)
  })
})

describe('detaching', () => {
  it('empties what is in flight and never touches memory again', async () => {
    const { device, raw, counts, ringRegion } = rawRig()
    offerAll(raw, 0, 1, 2)
    const [first, second] = takeAll(device)
    first!.complete(1)
    const stopped = device.stop()
    device.detach()
    const image = Buffer.from(ringRegion.pieces[0]!.slice(0))
    expect([second!.readable.byteLength, second!.writable.byteLength, second!.writable.count]).toEqual([
      0, 0, 0,
    ])
    expect(copyToSpans(second!.writable, 0, new Uint8Array(16))).toBe(0)
    second!.complete(16)
    second!.complete(16)
    expect(device.remap()).toBe(false)
    expect(device.drain(answer)).toBe(false)
    await turn()
    expect([await stopped, device.inFlight, counts.notifications]).toEqual([3, 0, 0])
    expect(image.equals(new Uint8Array(ringRegion.pieces[0]!))).toBe(true)
  })

  it('from within a handler ends the drain there', () => {
    const { device, raw } = rawRig()
    offerAll(raw, 0, 1)
    let taken = 0
    device.drain(chain => {
      taken++
      device.detach()
      answer(chain)
    })
    expect([taken, raw.usedIndex]).toEqual([1, 0])
  })
})

describe('memory that comes and goes under a running ring', () => {
  it('makes the queue quiet while the ring is not there, and loses nothing', async () => {
    const { memory, device, raw, ringRegion, counts } = rawRig()
    offerAll(raw, 0, 1, 2)
    const [first, second, third] = takeAll(device)
    first!.complete(1)
    memory.removeRegion(ringRegion)
    second!.complete(2)
    await turn()
    offerAll(raw, 3)
    expect([device.drain(answer), device.remap(), raw.usedIndex, counts.notifications]).toEqual([
      false,
      false,
      0,
      0,
    ])
    memory.addRegion(ringRegion)
    third!.complete(3)
    await turn()
    expect([raw.usedIndex, counts.notifications]).toEqual([3, 1])
    expect([0, 1, 2].map(slot => raw.usedElement(slot))).toEqual([
      { id: 0, length: 1 },
      { id: 1, length: 2 },
      { id: 2, length: 3 },
    ])
    device.drain(answer)
    expect(raw.usedIndex).toBe(4)
  })

  it('is noticed in the middle of a drain', () => {
    const { memory, device, raw, ringRegion } = rawRig({ size: 16 })
    offerAll(raw, ...Array(16).keys())
    let taken = 0
    device.drain(chain => {
      if (++taken === 12) memory.removeRegion(ringRegion)
      answer(chain)
    })
    expect([taken, raw.usedIndex]).toEqual([12, 8])
    memory.addRegion(ringRegion)
    device.drain(answer)
    expect(raw.usedIndex).toBe(16)
  })

  it('finds a ring that was mapped again elsewhere', () => {
    const { memory, device, raw, ringRegion } = rawRig()
    offerAll(raw, 0)
    const moved = { ...ringRegion, pieces: [ringRegion.pieces[0]!.slice(0)] }
    memory.removeRegion(ringRegion)
    memory.addRegion(moved)
    device.drain(answer)
    expect(raw.usedIndex).toBe(0)
    const at = raw.usedAddress - ringRegion.userAddress
    expect(new DataView(moved.pieces[0]!).getUint16(at + 2, true)).toBe(1)
  })

  it('tells when no chain reaches into a removed region any more', async () => {
    const { memory, device, raw, laterRegion, piecesRegion } = rawRig()
    raw.descriptor(0, LATER_AT, 16, WRITE)
    raw.offer(0)
    offerAll(raw, 1)
    raw.descriptor(2, LATER_AT - 8, 16, 0)
    raw.offer(2)
    const [first, second, third] = takeAll(device)
    memory.removeRegion(laterRegion)
    const released = device.release(laterRegion)
    const done: string[] = []
    released!.then(() => done.push('released'))
    first!.complete(0)
    second!.complete(0)
    await turn()
    expect(done).toEqual([])
    expect(copyToSpans(third!.readable, 8, new Uint8Array([7]))).toBe(1)
    third!.complete(0)
    await turn()
    expect(done).toEqual(['released'])
    expect(device.release(laterRegion)).toBeUndefined()
    expect(device.release(piecesRegion)).toBeUndefined()
  })

  it('need not be waited for once the queue is detached', async () => {
    const { memory, device, raw, piecesRegion } = rawRig()
    offerAll(raw, 0)
    takeAll(device)
    memory.removeRegion(piecesRegion)
    const released = device.release(piecesRegion)
    device.detach()
    await released
    expect(device.release(piecesRegion)).toBeUndefined()
  })
})
