// A device's successor over the same memory: every chain is answered exactly once, wherever the first one ended.

import { type Chain, DeviceQueue, inflightRingBytes } from '@ovfs/virtqueue'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { InflightRing } from '../src/inflight-ring.ts'
import { codeOf, makeRig, offerAll, PIECES_AT, rawRig, takeAll, turn } from './rig.ts'

const SIZE = 8
const block = () => new Uint8Array(inflightRingBytes(SIZE))

test('a block has a header of 16 bytes and 16 for each descriptor, up to a multiple of 64', () => {
  expect([1, 4, 128, 1024].map(inflightRingBytes)).toEqual([64, 128, 2112, 16448])
})

describe('the record', () => {
  test('begins when it is first used, and names what was taken, in order of taking', () => {
    const bytes = block()
    const first = new InflightRing(bytes, SIZE)
    expect(first.recover(7)).toBeUndefined()
    for (const head of [5, 2, 7]) first.take(head)
    const view = new DataView(bytes.buffer)
    expect([view.getUint16(8, true), view.getUint16(10, true), view.getUint16(14, true)]).toEqual([
      1,
      SIZE,
      7,
    ])
    expect([view.getUint8(16 + 16 * 2), view.getBigUint64(24 + 16 * 2, true)]).toEqual([1, 2n])
    const second = new InflightRing(bytes, SIZE)
    expect(second.recover(7)).toEqual([5, 2, 7])
    second.take(1)
    expect(new InflightRing(bytes, SIZE).recover(7)).toEqual([5, 2, 7, 1])
  })

  test('of a process that ended before it published a batch still has the batch', () => {
    const bytes = block()
    const ring = new InflightRing(bytes, SIZE)
    ring.recover(0)
    for (const head of [1, 2, 3]) ring.take(head)
    ring.link(2)
    ring.link(1)
    expect(new InflightRing(bytes, SIZE).recover(0)).toEqual([1, 2, 3])
  })

  test('of a process that ended after it published a batch, and before it said so, has the others', () => {
    const bytes = block()
    const ring = new InflightRing(bytes, SIZE)
    ring.recover(0xffff)
    for (const head of [1, 2, 3]) ring.take(head)
    ring.link(2)
    ring.settle(0)
    ring.link(3)
    ring.link(1)
    expect(new InflightRing(bytes, SIZE).recover(2)).toEqual([])
  })

  test('that makes no sense is refused', () => {
    const fields: [string, (view: DataView) => void][] = [
      ['another version', view => view.setUint16(8, 2, true)],
      ['another size', view => view.setUint16(10, 16, true)],
      ['more used than there are descriptors', view => view.setUint16(14, 0xff00, true)],
      ['a link out of the ring', view => view.setUint16(12, SIZE, true)],
    ]
    for (const [what, spoil] of fields) {
      const bytes = block()
      const ring = new InflightRing(bytes, SIZE)
      ring.recover(0)
      ring.take(1)
      spoil(new DataView(bytes.buffer))
      expect(
        codeOf(() => new InflightRing(bytes, SIZE).recover(1)),
        what,
      ).toBe('INFLIGHT_INVALID')
    }
    expect(codeOf(() => new InflightRing(new Uint8Array(64), SIZE))).toBe('INFLIGHT_INVALID')
  })

  test('of any bytes at all is refused or names each head at most once', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 192, maxLength: 192 }), fc.nat(0xffff), (random, used) => {
        const bytes = Uint8Array.from(random)
        new DataView(bytes.buffer).setUint32(8, 1 | (SIZE << 16), true)
        new DataView(bytes.buffer).setUint16(14, (used - (random[0]! % 10)) & 0xffff, true)
        try {
          const heads = new InflightRing(bytes, SIZE).recover(used)!
          expect(new Set(heads).size).toBe(heads.length)
          expect(heads.every(head => head < SIZE)).toBe(true)
        } catch (error) {
          expect(error).toMatchObject({ code: 'INFLIGHT_INVALID' })
        }
      }),
    )
  })
})

describe('a queue with a record', () => {
  test('handles first, and in order, what its predecessor took, and goes on after it whatever the base says', () => {
    const { memory, raw, deviceOptions } = rawRig({ size: SIZE })
    const inflight = block()
    const first = new DeviceQueue(memory, { ...deviceOptions, inflight })
    offerAll(raw, 4, 1, 6)
    const chains = takeAll(first)
    chains[1]!.complete(0)
    first.drain(() => {})
    const second = new DeviceQueue(memory, { ...deviceOptions, inflight, base: 99 })
    expect(second.base).toBe(3)
    offerAll(raw, 2)
    expect(takeAll(second).map(({ head }) => head)).toEqual([4, 6, 2])
  })

  test('that stopped in order leaves the beginning to who starts the ring next', () => {
    const { memory, raw, deviceOptions } = rawRig({ size: SIZE })
    const inflight = block()
    const first = new DeviceQueue(memory, { ...deviceOptions, inflight })
    offerAll(raw, 0, 1)
    first.drain(chain => chain.complete(0))
    expect(first.stop()).toBe(2)
    const left = inflight.slice()
    expect(new DeviceQueue(memory, { ...deviceOptions, inflight, base: 2 }).base).toBe(2)
    // A guest that has rebooted lays the ring anew.
    raw.usedIndex = 0
    expect(new DeviceQueue(memory, { ...deviceOptions, inflight: left, base: 0 }).base).toBe(0)
  })

  test('stopped before it took them again, leaves the chains on record', () => {
    const { memory, raw, deviceOptions } = rawRig({ size: SIZE })
    const inflight = block()
    offerAll(raw, 3)
    takeAll(new DeviceQueue(memory, { ...deviceOptions, inflight }))
    const second = new DeviceQueue(memory, { ...deviceOptions, inflight })
    expect(second.stop()).toBe(1)
    expect(takeAll(new DeviceQueue(memory, { ...deviceOptions, inflight })).map(({ head }) => head)).toEqual([
      3,
    ])
  })

  test('survives that somebody writes to its record while it runs', async () => {
    const { memory, raw, deviceOptions, errors } = rawRig({ size: SIZE })
    const inflight = block()
    const queue = new DeviceQueue(memory, { ...deviceOptions, inflight })
    offerAll(raw, 0, 1)
    const chains = takeAll(queue)
    inflight.fill(0xff)
    for (const chain of chains) chain.complete(0)
    await turn()
    expect(raw.usedIndex).toBe(2)
    expect(errors).toEqual([])
  })
})

test('however often the device is replaced, each request is answered exactly once', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.boolean(),
      fc.array(
        fc.oneof(fc.constant('add'), fc.constant('drain'), fc.constant('finish'), fc.constant('kill')),
        {
          minLength: 20,
          maxLength: 200,
        },
      ),
      fc.infiniteStream(fc.nat(99)),
      async (eventIdx, steps, chance) => {
        const rig = makeRig({ size: SIZE, eventIdx, indirect: false })
        const { driver, memory, deviceOptions } = rig
        const inflight = block()
        const random = () => chance.next().value as number
        const asked = new Map<number, number>()
        let answered = 0
        let requests = 0
        let taken: Chain[] = []
        let device = new DeviceQueue(memory, { ...deviceOptions, inflight })
        const collect = () =>
          driver.collect(head => {
            expect(asked.delete(head), `head ${head} was asked for`).toBe(true)
            answered++
          })
        const finish = () => {
          const [chain] = taken.splice(random() % Math.max(taken.length, 1), 1)
          chain?.complete(1)
        }
        for (const step of steps) {
          if (step === 'add') {
            const head = driver.add([], [{ address: PIECES_AT + random() * 64, length: 8 }], false)
            if (head >= 0) asked.set(head, requests++)
            driver.publish()
          } else if (step === 'drain') {
            device.drain(
              chain => (random() % 3 === 0 ? chain.complete(1) : taken.push(chain)),
              1 + (random() % 4),
            )
          } else if (step === 'finish') {
            finish()
            if (random() % 2) await turn()
          } else {
            // What it holds is never completed, and a completion that was not published is lost with it.
            device.detach()
            taken = []
            device = new DeviceQueue(memory, { ...deviceOptions, inflight })
          }
          collect()
        }
        for (let i = 0; asked.size > 0 && i < 100; i++) {
          device.drain(chain => taken.push(chain))
          while (taken.length > 0) finish()
          await turn()
          collect()
        }
        expect(answered).toBe(requests)
        expect([...rig.errors, ...rig.driverErrors]).toEqual([])
      },
    ),
    { numRuns: 300 },
  )
})
