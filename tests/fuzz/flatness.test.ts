// The judge of the fuzz runs: it must tell growth from breathing.

import { expect, test } from 'vitest'
import { growth, type Look } from './flatness.ts'

const MIB = 1 << 20

function run(look: (n: number) => Partial<Look>): Look[] {
  return Array.from({ length: 32 }, (_, n) => ({
    messages: n * 40_000,
    descriptors: 30,
    heap: 8 * MIB,
    rss: 100 * MIB,
    ...look(n),
  }))
}

test('a target that warms up, and then breathes, is flat', () => {
  const looks = run(n => ({
    heap: (n < 8 ? 4 + n / 2 : 8 + (n % 3)) * MIB,
    rss: (n < 8 ? 60 + 5 * n : 100 + 30 * (n % 2)) * MIB,
    descriptors: 30 + (n % 2),
  }))
  expect(growth(looks)).toBeUndefined()
})

test('16 bytes of heap, or 64 bytes of anything else, lost with each message are found', () => {
  expect(growth(run(n => ({ heap: 8 * MIB + n * 40_000 * 16 })))).toMatch(/^heap grew from/)
  expect(growth(run(n => ({ rss: 100 * MIB + n * 40_000 * 64 })))).toMatch(/^rss grew from/)
})

test('one descriptor more at the end than after the warm-up is found', () => {
  expect(growth(run(n => ({ descriptors: n < 20 ? 30 : 31 })))).toBe('30 descriptors at first, 31 at last')
})

test('a run too short to be judged is not called flat', () => {
  expect(growth(run(() => ({})).slice(0, 3))).toMatch(/too few/)
})
