// When the device tells the driver, and when it asks to be told.

import { describe, expect, it } from 'vitest'
import { answer, offerAll, rawRig, takeAll } from './rig.ts'

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
