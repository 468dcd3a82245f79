import { type Chain, copyToSpans, DeviceQueue, VirtqueueError } from '@ovfs/virtqueue'
import { describe, expect, it } from 'vitest'
import { LATER_AT, PIECES_AT, type RawRing, RING_AT, rawRig, region, takeAll } from './rig.ts'

const WRITE = 2

/** Makes buffers of 16 writable bytes, one for each head. */
function offerAll(raw: RawRing, ...heads: number[]): void {
  for (const head of heads) {
    raw.descriptor(head, PIECES_AT + head * 64, 16, WRITE)
    raw.offer(head)
  }
}

/** Lets the queued microtasks run. */
async function turn(): Promise<void> {
  await Promise.resolve()
}

const answer = (chain: Chain) => chain.complete(chain.writable.byteLength)

function codeOf(action: () => unknown): string | undefined {
  try {
    action()
    return undefined
  } catch (error) {
    if (error instanceof VirtqueueError) return error.code
    throw error
  }
}

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

describe('notifications to the driver', () => {
  it('without event-idx respect NO_INTERRUPT, looked at after publishing', () => {
    const { device, raw, counts } = rawRig()
    raw.availFlags = 1
    offerAll(raw, 0)
    device.drain(answer)
    expect(counts.notifications).toBe(0)
    raw.availFlags = 0
    offerAll(raw, 1)
    device.drain(answer)
    expect(counts.notifications).toBe(1)
  })

  it('with event-idx ignore NO_INTERRUPT and come when the index passes used_event', () => {
    const { device, raw, counts } = rawRig({ eventIdx: true })
    raw.availFlags = 1
    const passes = (event: number, count: number) => {
      raw.usedEvent = event
      const before = counts.notifications
      offerAll(raw, ...Array(count).keys())
      device.drain(answer)
      return counts.notifications - before
    }
    expect(passes(500, 1)).toBe(1) // the first time, whatever the driver asked
    expect(passes(500, 1)).toBe(0)
    expect(passes(2, 1)).toBe(1)
    expect(passes(2, 1)).toBe(0)
    expect(passes(6, 2)).toBe(0)
    expect(passes(6, 4)).toBe(1)
  })

  it('are not sent when nothing was completed', () => {
    const { device, counts } = rawRig()
    device.drain(answer)
    device.drain(answer)
    expect(counts.notifications).toBe(0)
  })

  it('come once after a restart even if nothing is new: a predecessor may have died before notifying', () => {
    const { device, counts } = rawRig({ base: 5 })
    device.drain(answer)
    device.drain(answer)
    expect(counts.notifications).toBe(1)
  })
})

describe('kicks from the driver', () => {
  it('without event-idx are turned off while draining and on again when the ring is empty', () => {
    const { device, raw } = rawRig()
    offerAll(raw, 0)
    const during: number[] = []
    device.drain(chain => {
      during.push(raw.usedFlags)
      answer(chain)
    })
    expect([during, raw.usedFlags]).toEqual([[1], 0])
  })

  it('with event-idx are asked for at the next index, and used.flags stays 0', () => {
    const { device, raw } = rawRig({ eventIdx: true })
    offerAll(raw, 0, 1)
    const during: number[] = []
    device.drain(chain => {
      during.push(raw.usedFlags, raw.availEvent)
      answer(chain)
    })
    expect([during, raw.availEvent]).toEqual([[0, 0, 0, 0], 2])
  })

  it.each([true, false])('a chain that slips in before kicks are on is taken (event-idx %s)', eventIdx => {
    const { device, raw } = rawRig({ eventIdx })
    offerAll(raw, 0)
    const { store } = Atomics
    let slipped = false
    const patched = (array: Uint16Array, index: number, value: number) => {
      if (!slipped && device.inFlight === 1) {
        slipped = true
        offerAll(raw, 1)
      }
      return store(array, index, value)
    }
    Object.assign(Atomics, { store: patched })
    try {
      expect(takeAll(device).map(chain => chain.head)).toEqual([0, 1])
    } finally {
      Object.assign(Atomics, { store })
    }
    expect(slipped).toBe(true)
  })

  it('may come for an empty ring', () => {
    const { device, raw } = rawRig()
    expect([device.drain(answer), device.drain(answer), raw.usedIndex]).toEqual([false, false, 0])
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
