// Each level for a while, with seeds of its own each run; see main.ts for a long one.

import { describe, expect, test } from 'vitest'
import { missingForOvfs } from '../harness/daemon.ts'
import { attack, LEVELS } from './levels.ts'

const lacks = missingForOvfs()
const CASES = 240

describe.skipIf(lacks !== undefined)(`hostile input${lacks === undefined ? '' : ` (needs ${lacks})`}`, () => {
  test.each(LEVELS)(
    'level %s: nothing crashes, hangs, leaks or writes outside, and a good front-end is served after each case',
    { timeout: 400_000 },
    async level => {
      const seed = Date.now() % 2 ** 31
      const { cases } = await attack(level, { seed, until: { cases: CASES } })
      expect(cases).toBeGreaterThan(CASES)
    },
  )
})
