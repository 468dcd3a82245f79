// Taking and completing chains, and what breaks a ring.

import { type Chain, copyToSpans, DeviceQueue } from '@ovfs/virtqueue'
import { describe, expect, it } from 'vitest'
import { answer, codeOf, LATER_AT, offerAll, RING_AT, rawRig, region, takeAll, turn, WRITE } from './rig.ts'

describe('making a queue', () => {
  it.each([
    ['RING_SIZE', { size: 0 }],
    ['RING_SIZE', { size: 3 }],
    ['RING_SIZE', { size: 65536 }],
    ['RING_SIZE', { size: Number.NaN }],
    ['RING_ALIGNMENT', { descAddress: 8 }],
    ['RING_ALIGNMENT', { availAddress: 1 }],
    ['RING_ALIGNMENT', { usedAddress: 2 }],
    ['RING_ALIGNMENT', { usedAddress: -4 }],
    ['RING_ALIGNMENT', { usedAddress: 2 ** 53 }],
    ['RING_NOT_MAPPED', { descAddress: 0x1000 }],
    ['RING_NOT_MAPPED', { availAddress: 0x1000 }],
    ['RING_NOT_MAPPED', { usedAddress: 0x1000 }],
  ])('throws %s for %o', (code, wrong) => {
    const { memory, deviceOptions } = rawRig()
    expect(codeOf(() => new DeviceQueue(memory, { ...deviceOptions, ...wrong }))).toBe(code)
  })

  it('throws RING_NOT_MAPPED for a part that crosses pieces or starts at an odd place in its piece', () => {
    const { memory, deviceOptions, piecesRegion } = rawRig()
    const crossing = piecesRegion.userAddress + 0x1000 - 64
    expect(codeOf(() => new DeviceQueue(memory, { ...deviceOptions, descAddress: crossing }))).toBe(
      'RING_NOT_MAPPED',
    )
    memory.addRegion(region(0x5000_0001, 0x5000_0001, 0x1000))
    expect(codeOf(() => new DeviceQueue(memory, { ...deviceOptions, usedAddress: 0x5000_0100 }))).toBe(
      'RING_NOT_MAPPED',
    )
  })
})

describe('completing', () => {
  it('writes id and length, shows them, and notifies once for a drained batch', () => {
    const { device, raw, counts } = rawRig()
    offerAll(raw, 3, 1, 2)
    device.drain(chain => chain.complete(chain.head))
    expect(raw.usedIndex).toBe(3)
    expect([0, 1, 2].map(slot => raw.usedElement(slot))).toEqual([
      { id: 3, length: 3 },
      { id: 1, length: 1 },
      { id: 2, length: 2 },
    ])
    expect(counts.notifications).toBe(1)
  })

  it('reports no more bytes than could be written, and none for nonsense', () => {
    const { device, raw } = rawRig()
    offerAll(raw, 0, 1, 2, 3, 4)
    const lengths = [17, 2 ** 40, -1, Number.NaN, Number.POSITIVE_INFINITY]
    device.drain(chain => chain.complete(lengths[chain.head]!))
    expect([0, 1, 2, 3, 4].map(slot => raw.usedElement(slot).length)).toEqual([16, 16, 0, 0, 16])
  })

  it('outside a drain is shown in one batch at the end of the turn, in the order of completion', async () => {
    const { device, raw, counts } = rawRig()
    offerAll(raw, 0, 1, 2)
    const chains = takeAll(device)
    expect(device.inFlight).toBe(3)
    for (const chain of chains.reverse()) chain.complete(1)
    expect([device.inFlight, raw.usedIndex, counts.notifications]).toEqual([0, 0, 0])
    await turn()
    expect([raw.usedIndex, counts.notifications]).toEqual([3, 1])
    expect([0, 1, 2].map(slot => raw.usedElement(slot).id)).toEqual([2, 1, 0])
  })

  it('twice is an error of the caller', () => {
    const { device, raw } = rawRig()
    offerAll(raw, 0)
    const [chain] = takeAll(device)
    chain!.complete(0)
    expect(codeOf(() => chain!.complete(0))).toBe('NOT_IN_FLIGHT')
    expect(device.inFlight).toBe(0)
  })

  it('empties the spans, so that a late writer writes nothing', () => {
    const { device, raw } = rawRig()
    offerAll(raw, 0)
    const [chain] = takeAll(device)
    chain!.complete(0)
    expect(copyToSpans(chain!.writable, 0, new Uint8Array(16))).toBe(0)
  })

  it('a long drain shows what it completed before it ends', () => {
    const { device, raw } = rawRig({ size: 16 })
    offerAll(raw, ...Array(16).keys())
    const seen: number[] = []
    device.drain(chain => {
      seen.push(raw.usedIndex)
      answer(chain)
    })
    expect(seen).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 8, 8, 8, 8, 8, 8])
  })

  it('a drain that moves many bytes notifies before it ends', () => {
    const { device, raw, counts } = rawRig()
    for (const head of [0, 1, 2, 3]) {
      raw.descriptor(head, LATER_AT, 0x1_0000, WRITE)
      raw.offer(head)
    }
    const seen: number[] = []
    device.drain(chain => {
      seen.push(counts.notifications)
      answer(chain)
    })
    expect(seen).toEqual([0, 0, 1, 1])
    expect(counts.notifications).toBe(2)
  })
})

describe('the budget', () => {
  it('limits the chains of a call and says that more are waiting, with kicks still off', () => {
    const { device, raw } = rawRig()
    offerAll(raw, 0, 1, 2, 3, 4)
    const heads: number[] = []
    const take = (chain: Chain) => {
      heads.push(chain.head)
      answer(chain)
    }
    expect(device.drain(take, 2)).toBe(true)
    expect([raw.usedFlags, raw.usedIndex]).toEqual([1, 2])
    expect(device.drain(take, 2)).toBe(true)
    expect(device.drain(take, 2)).toBe(false)
    expect([heads, raw.usedFlags]).toEqual([[0, 1, 2, 3, 4], 0])
  })

  it('that is used up exactly leaves nothing waiting', () => {
    const { device, raw } = rawRig()
    offerAll(raw, 0, 1)
    expect(device.drain(answer, 2)).toBe(false)
    expect(raw.usedFlags).toBe(0)
  })

  it.each([
    [undefined, 1024],
    [Number.POSITIVE_INFINITY, 16384],
  ])('of %s ends a drain even if the driver refills as fast as the device answers', (budget, limit) => {
    const { device, raw } = rawRig({ size: 2 })
    offerAll(raw, 0)
    let taken = 0
    const more = device.drain(chain => {
      taken++
      const { head } = chain
      answer(chain)
      raw.offer(head)
    }, budget)
    expect([more, taken]).toEqual([true, limit])
  })
})

describe('a broken ring', () => {
  it('AVAIL_JUMP: more is available than the ring holds', () => {
    const { device, raw, errors } = rawRig()
    raw.availIndex = 9
    expect(takeAll(device)).toEqual([])
    expect(errors.map(error => error.code)).toEqual(['AVAIL_JUMP'])
    expect(device.base).toBe(0)
  })

  it('AVAIL_JUMP: the index goes backwards', () => {
    const { device, raw, errors } = rawRig()
    offerAll(raw, 0, 1)
    device.drain(answer)
    raw.availIndex = 1
    device.drain(answer)
    expect(errors.map(error => error.code)).toEqual(['AVAIL_JUMP'])
  })

  it('BAD_HEAD: a head that is no descriptor', () => {
    const { device, raw, errors } = rawRig()
    raw.offer(8)
    expect(takeAll(device)).toEqual([])
    expect(errors.map(error => error.code)).toEqual(['BAD_HEAD'])
  })

  it('HEAD_IN_FLIGHT: the same head again before it was used', () => {
    const { device, raw, errors } = rawRig()
    offerAll(raw, 0, 1, 0)
    expect(takeAll(device)).toHaveLength(2)
    expect(errors.map(error => error.code)).toEqual(['HEAD_IN_FLIGHT'])
  })

  it('still shows what was completed before it broke, and is quiet for ever after', async () => {
    const { device, raw, errors, counts } = rawRig()
    offerAll(raw, 0, 1)
    raw.offer(99)
    const late: Chain[] = []
    device.drain(chain => (chain.head === 0 ? answer(chain) : late.push(chain)))
    expect([raw.usedIndex, counts.notifications, errors.length]).toEqual([1, 1, 1])
    late[0]!.complete(1)
    offerAll(raw, 2)
    expect(device.drain(answer)).toBe(false)
    await turn()
    expect([raw.usedIndex, counts.notifications, errors.length]).toEqual([1, 1, 1])
    expect([device.inFlight, device.stop()]).toEqual([0, 2])
  })
})

describe('a handler', () => {
  it('that throws is heard by the caller of drain, and the queue goes on', () => {
    const { device, raw } = rawRig()
    offerAll(raw, 0, 1)
    const failing = (chain: Chain) => {
      answer(chain)
      throw new Error('handler')
    }
    expect(() => device.drain(failing)).toThrow('handler')
    expect(raw.usedIndex).toBe(1)
    device.drain(answer)
    expect(raw.usedIndex).toBe(2)
  })

  it('that throws before it completes its chain gives it back with nothing written, and stopping does not wait', async () => {
    const { device, raw } = rawRig()
    offerAll(raw, 0, 1)
    const failing = () => {
      throw new Error('handler')
    }
    expect(() => device.drain(failing)).toThrow('handler')
    expect([device.inFlight, raw.usedIndex, raw.usedElement(0)]).toEqual([0, 1, { id: 0, length: 0 }])
    expect(device.stop()).toBe(1)
  })

  it('that drains again takes nothing', () => {
    const { device, raw } = rawRig()
    offerAll(raw, 0, 1)
    const heads: number[] = []
    device.drain(chain => {
      heads.push(chain.head)
      expect(device.drain(() => heads.push(-1))).toBe(false)
      answer(chain)
    })
    expect(heads).toEqual([0, 1])
  })
})

describe('indices', () => {
  it.each([1, 2, 8, 32768])('wrap at 65536 in a ring of %i', size => {
    const { device, raw } = rawRig({ size, base: 65535, tableEntries: 0 })
    raw.startAt(65535)
    offerAll(raw, 0)
    device.drain(answer)
    offerAll(raw, 0)
    device.drain(answer)
    expect([raw.usedIndex, device.base]).toEqual([1, 1])
    expect(raw.usedElement((size - 1) & 0xffff).id).toBe(0)
  })

  it('allow a ring of 32768 to be full', () => {
    const { device, raw } = rawRig({ size: 32768, tableEntries: 0 })
    for (let head = 0; head < 32768; head++) {
      raw.descriptor(head, RING_AT, 1, 0)
      raw.offer(head)
    }
    let more = true
    while (more) more = device.drain(chain => chain.complete(0))
    expect([raw.usedIndex, device.inFlight, device.broken]).toEqual([32768, 0, undefined])
  })
})
