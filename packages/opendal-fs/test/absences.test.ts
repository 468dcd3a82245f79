// Lookups of absent names: the memory that the binding 0.49.2 keeps of each rejected call must not add up.

import { afterEach, expect, test, vi } from 'vitest'
import { Absences } from '../src/storage/absences.ts'
import { bindingBuild, Operator } from '../src/storage/binding.ts'
import { Storage } from '../src/storage/storage.ts'

afterEach(() => vi.restoreAllMocks())

const leaks = bindingBuild.version === '0.49.2'

test('a flood of lookups of absent names costs little memory, or nothing more than a request each', async () => {
  const stat = vi.spyOn(Operator.prototype, 'stat')
  const exists = vi.spyOn(Operator.prototype, 'exists')
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
  if (leaks) expect(stat.mock.calls.length).toBeLessThan(10_100)
  else expect(exists).not.toHaveBeenCalled()
  expect((await storage.stat('here'))?.size).toBe(5)
})

test('what is there is found with one call as long as most of what is asked for is there', () => {
  const absences = new Absences(true)
  for (let i = 0; i < 20_000; i++) {
    absences.rejected()
    for (let there = 0; there < 3; there++) absences.seen(false)
  }
  expect(absences.expected).toBe(false)
})

test('no mixture of questions makes more than a million calls reject', () => {
  const absences = new Absences(true)
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
