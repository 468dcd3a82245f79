// Asking for names that nobody has: what the binding keeps of each rejected call must not add up.

import { afterEach, expect, test, vi } from 'vitest'
import { Absences } from '../src/storage/absences.ts'
import { Operator } from '../src/storage/binding.ts'
import { Storage } from '../src/storage/storage.ts'

afterEach(() => vi.restoreAllMocks())

test('a flood of questions for names that nobody has does not reject one call each', async () => {
  const stat = vi.spyOn(Operator.prototype, 'stat')
  const storage = new Storage(new Operator('memory'), {
    scheme: 'memory',
    timeoutMs: 5000,
    readOnly: false,
    onError: () => undefined,
  })
  await storage.write('here', Buffer.from('bytes'))
  for (let batch = 0; batch < 120; batch++) {
    const asked = Array.from({ length: 100 }, (_, i) => storage.stat(`absent-${batch}-${i}`))
    expect((await Promise.all(asked)).every(info => info === undefined)).toBe(true)
  }
  expect(stat.mock.calls.length).toBeLessThan(10_100)
  expect((await storage.stat('here'))?.size).toBe(5)
})

test('what is there is found with one call as long as most of what is asked for is there', () => {
  const absences = new Absences()
  for (let i = 0; i < 20_000; i++) {
    absences.rejected()
    for (let there = 0; there < 3; there++) absences.seen(false)
  }
  expect(absences.expected).toBe(false)
})

test('no mixture of questions makes more than a million calls reject', () => {
  const absences = new Absences()
  let rejected = 0
  for (let i = 0; i < 3_000_000; i++) {
    if (i % 2 === 0) absences.seen(false)
    else if (absences.expected) absences.seen(true)
    else {
      absences.rejected()
      rejected++
    }
  }
  expect(rejected).toBeLessThanOrEqual(1_000_000)
})
