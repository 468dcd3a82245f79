// The driver side alone, and against a device that lies.

import { DriverQueue, type GuestBuffer } from '@ovfs/virtqueue'
import { describe, expect, it } from 'vitest'
import {
  answer,
  codeOf,
  makeMemory,
  makeRig,
  PIECES_AT,
  RING_AT,
  RING_REGION_SIZE,
  rawRig,
  takeAll,
} from './rig.ts'

const buffer = (index: number, length = 16): GuestBuffer => ({ address: PIECES_AT + index * 64, length })
const nothing = () => {}

function collectAll(driver: DriverQueue): [number, number][] {
  const used: [number, number][] = []
  driver.collect((head, written) => used.push([head, written]))
  return used
}

describe('laying out a ring', () => {
  it.each([1, 2, 128, 1024, 32768])('of %i keeps the parts apart, aligned and within its bytes', size => {
    const { memory } = makeMemory()
    const bytes = DriverQueue.bytesNeeded(size, 2)
    if (bytes > RING_REGION_SIZE) {
      expect(size).toBe(32768)
      return
    }
    const { ring } = new DriverQueue(memory, {
      size,
      address: RING_AT,
      eventIdx: true,
      tableEntries: 2,
      onError: nothing,
    })
    const { descAddress, availAddress, usedAddress } = ring
    expect([descAddress % 16, availAddress % 2, usedAddress % 4]).toEqual([0, 0, 0])
    expect(availAddress).toBeGreaterThanOrEqual(descAddress + 16 * size)
    expect(usedAddress).toBeGreaterThanOrEqual(availAddress + 6 + 2 * size)
    expect(descAddress + bytes).toBeGreaterThanOrEqual(usedAddress + 6 + 8 * size + 2 * 16 * size)
  })

  it('throws when it does not fit, is not mapped, or is not aligned', () => {
    const { memory } = makeMemory()
    const make = (size: number, address: number) =>
      codeOf(() => new DriverQueue(memory, { size, address, eventIdx: false, onError: nothing }))
    expect(make(8, 0)).toBe('RING_NOT_MAPPED')
    expect(make(8, RING_AT + RING_REGION_SIZE - 16)).toBe('RING_NOT_MAPPED')
    expect(make(8, RING_AT + 8)).toBe('RING_ALIGNMENT')
    expect(make(7, RING_AT)).toBe('RING_SIZE')
  })
})

describe('adding buffers', () => {
  it('uses as many descriptors as buffers, or one with an indirect table', () => {
    const { driver } = makeRig()
    driver.add([buffer(0)], [buffer(1), buffer(2)])
    expect(driver.freeDescriptors).toBe(5)
    driver.add([buffer(3)], [buffer(4), buffer(5)], true)
    expect(driver.freeDescriptors).toBe(4)
    expect(driver.inFlight).toBe(2)
  })

  it('returns -1 and changes nothing when descriptors are short', () => {
    const { driver, device } = makeRig({ size: 4 })
    driver.add([buffer(0), buffer(1), buffer(2)], [])
    expect(driver.add([buffer(3)], [buffer(4)])).toBe(-1)
    expect([driver.freeDescriptors, driver.inFlight]).toEqual([1, 1])
    expect(driver.add([buffer(3)], [])).toBeGreaterThanOrEqual(0)
    driver.publish()
    expect(takeAll(device).map(chain => chain.readable.count)).toEqual([3, 1])
  })

  it('throws BAD_CHAIN for what no ring of this shape can hold', () => {
    const { driver } = makeRig({ size: 4, tableEntries: 2 })
    const many = Array.from({ length: 5 }, (_, i) => buffer(i))
    expect(codeOf(() => driver.add([], []))).toBe('BAD_CHAIN')
    expect(codeOf(() => driver.add(many, []))).toBe('BAD_CHAIN')
    expect(codeOf(() => driver.add(many.slice(0, 3), [], true))).toBe('BAD_CHAIN')
    const plain = makeRig({ tableEntries: 0 }).driver
    expect(codeOf(() => plain.add([buffer(0)], [], true))).toBe('BAD_CHAIN')
  })

  it('is not seen by the device before publish', () => {
    const { driver, device } = makeRig()
    driver.add([buffer(0)], [])
    expect(takeAll(device)).toEqual([])
    driver.publish()
    expect(takeAll(device)).toHaveLength(1)
  })
})

describe('collecting', () => {
  it('gives head and length in the order of completion, and frees the descriptors', async () => {
    const { driver, device } = makeRig()
    const first = driver.add([buffer(0)], [buffer(1)])
    const second = driver.add([], [buffer(2, 5)], true)
    driver.publish()
    const chains = takeAll(device)
    expect(collectAll(driver)).toEqual([])
    for (const chain of chains.reverse()) answer(chain)
    await Promise.resolve()
    expect(collectAll(driver)).toEqual([
      [second, 5],
      [first, 16],
    ])
    expect([driver.freeDescriptors, driver.inFlight]).toEqual([8, 0])
  })

  it('lets a head be submitted again as it is', () => {
    const { driver, device } = makeRig()
    const head = driver.add([buffer(0)], [buffer(1)])
    for (let i = 0; i < 20; i++) {
      driver.publish()
      device.drain(answer)
      expect(driver.collect(used => driver.resubmit(used))).toBe(1)
      expect([driver.freeDescriptors, driver.inFlight]).toEqual([6, 1])
    }
    expect(codeOf(() => driver.resubmit(head))).toBe('NOT_IN_FLIGHT')
  })

  it('lets new buffers be added from the callback', () => {
    const { driver, device } = makeRig({ size: 2, tableEntries: 0 })
    driver.add([buffer(0)], [])
    driver.add([buffer(1)], [])
    driver.publish()
    device.drain(answer)
    driver.collect(() => expect(driver.add([buffer(2), buffer(3)], [])).toBe(-1))
    expect(driver.add([buffer(2), buffer(3)], [])).toBeGreaterThanOrEqual(0)
  })
})

describe('kicks', () => {
  it('follow used.flags without event-idx', () => {
    const { driver, device } = makeRig()
    expect(driver.kickNeeded()).toBe(false)
    driver.add([buffer(0)], [])
    driver.publish()
    expect(driver.kickNeeded()).toBe(true)
    expect(driver.kickNeeded()).toBe(false)
    device.drain(chain => {
      driver.add([buffer(1)], [])
      driver.publish()
      expect(driver.kickNeeded()).toBe(false)
      if (driver.inFlight > 3) device.stop()
      chain.complete(0)
    })
  })

  it('with event-idx are due only when the index passes what the device asked for', () => {
    const { driver, device } = makeRig({ eventIdx: true })
    const submit = () => {
      driver.add([buffer(0)], [])
      driver.publish()
      return driver.kickNeeded()
    }
    expect([submit(), submit()]).toEqual([true, false])
    device.drain(answer)
    expect([submit(), submit()]).toEqual([true, false])
  })
})

describe('interrupts', () => {
  it.each([true, false])('come when enabled and not when disabled (event-idx %s)', eventIdx => {
    const { driver, device, counts } = makeRig({ eventIdx })
    const round = () => {
      driver.add([buffer(0)], [])
      driver.publish()
      device.drain(answer)
      driver.collect(nothing)
      const { notifications } = counts
      counts.notifications = 0
      return notifications
    }
    round()
    expect([round(), round()]).toEqual([1, 1])
    driver.disableInterrupts()
    expect([round(), round()]).toEqual([0, 0])
    expect(driver.enableInterrupts()).toBe(false)
    expect([round(), round()]).toEqual([1, 1])
  })

  it.each([true, false])(
    'that come too late to be sent are told by enableInterrupts (event-idx %s)',
    eventIdx => {
      const { driver, device } = makeRig({ eventIdx })
      driver.disableInterrupts()
      driver.add([buffer(0)], [])
      driver.publish()
      device.drain(answer)
      expect(driver.enableInterrupts()).toBe(true)
      driver.collect(nothing)
      expect(driver.enableInterrupts()).toBe(false)
    },
  )
})

describe('a hostile device', () => {
  it.each<[string, (rig: ReturnType<typeof rawRig>) => void]>([
    [
      'USED_JUMP',
      ({ raw }) => {
        raw.usedIndex = 2
      },
    ],
    [
      'BAD_USED_ID',
      ({ raw }) => {
        raw.setUsedElement(0, 8, 0)
        raw.usedIndex = 1
      },
    ],
    [
      'BAD_USED_ID',
      ({ raw }) => {
        raw.setUsedElement(0, 5, 0)
        raw.usedIndex = 1
      },
    ],
    [
      'USED_LENGTH',
      ({ raw }) => {
        raw.setUsedElement(0, 0, 17)
        raw.usedIndex = 1
      },
    ],
  ])('is told by %s, and nothing is collected any more', (code, attack) => {
    const rig = rawRig()
    expect(rig.driver.add([buffer(0)], [buffer(1)])).toBe(0)
    rig.driver.publish()
    attack(rig)
    expect(collectAll(rig.driver)).toEqual([])
    expect(collectAll(rig.driver)).toEqual([])
    expect(rig.driverErrors.map(error => error.code)).toEqual([code])
    expect(rig.driver.broken).toBe(rig.driverErrors[0])
  })

  it('cannot return a head twice', () => {
    const { driver, raw, driverErrors } = rawRig()
    driver.add([buffer(0)], [])
    driver.add([buffer(1)], [])
    driver.publish()
    raw.setUsedElement(0, 1, 0)
    raw.setUsedElement(1, 1, 0)
    raw.usedIndex = 2
    expect(collectAll(driver)).toEqual([[1, 0]])
    expect(driverErrors.map(error => error.code)).toEqual(['BAD_USED_ID'])
  })

  it('cannot confuse the free list by rewriting descriptors', () => {
    const { driver, device, raw } = rawRig({ size: 4 })
    const chain = [buffer(0), buffer(1), buffer(2)]
    for (let i = 0; i < 10; i++) {
      expect(driver.add(chain, [])).toBeGreaterThanOrEqual(0)
      driver.publish()
      device.drain(answer)
      for (let d = 0; d < 4; d++) raw.descriptor(d, 0, 0, 1, 0)
      driver.collect(nothing)
      expect(driver.freeDescriptors).toBe(4)
    }
    expect(device.broken).toBeUndefined()
  })
})
