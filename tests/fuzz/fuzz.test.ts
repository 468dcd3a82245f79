// Each level for a while, with seeds of its own each run; see main.ts for a long one.

import { describe, expect, test } from 'vitest'
import { missingForOvfs } from '../harness/daemon.ts'
import { attack, LEVELS } from './levels.ts'

const lacks = missingForOvfs()
/** For a target that is alone, and for one that is killed now and then, which takes longer than the cases. */
const SHARES = { once: { cases: 120, looks: 12 }, kept: { cases: 100, looks: 8 } } as const

describe.skipIf(lacks !== undefined)(`hostile input${lacks === undefined ? '' : ` (needs ${lacks})`}`, () => {
  test.each(LEVELS.flatMap(level => [[level, 'once'] as const, [level, 'kept'] as const]))(
    'level %s, %s: nothing crashes, hangs, leaks or writes outside, and a good front-end is served after each case',
    { timeout: 400_000 },
    async (level, how) => {
      const seed = Date.now() % 2 ** 31
      const isKept = how === 'kept'
      const { looks, cases: fewest } = SHARES[how]
      const { cases } = await attack(level, { seed, isKept, until: { cases: fewest }, looks })
      expect(cases).toBeGreaterThan(fewest)
    },
  )
})
