// Changes of names, killed after each single change that they make in the storage: the next daemon finds the names as they were
// before or as they were to be, and every file in one place.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { CrashRig, empty, files } from './crash-rig.ts'
import { type Guest, O_RDWR } from './guest.ts'
import { SCHEMES, type Service, service } from './services.ts'

interface Case {
  readonly name: string
  prepare(guest: Guest): Promise<void>
  change(guest: Guest): Promise<void>
  readonly before: Record<string, string>
  readonly after: Record<string, string>
}

const CASES: readonly Case[] = [
  {
    name: 'a file that is moved',
    prepare: guest => guest.put('a', 'A'),
    change: guest => guest.rename('a', 'b'),
    before: { a: 'A' },
    after: { b: 'A' },
  },
  {
    name: 'a file that is moved over another',
    prepare: async guest => {
      await guest.put('a', 'A')
      await guest.put('b', 'B')
    },
    change: guest => guest.rename('a', 'b'),
    before: { a: 'A', b: 'B' },
    after: { b: 'A' },
  },
  {
    name: 'a file that is moved over one that is open',
    prepare: async guest => {
      await guest.put('a', 'A')
      await guest.put('b', 'B')
      await guest.open('b', O_RDWR)
    },
    change: guest => guest.rename('a', 'b'),
    before: { a: 'A', b: 'B' },
    after: { b: 'A' },
  },
  {
    name: 'an open file that is removed',
    prepare: async guest => {
      await guest.put('a', 'A')
      await guest.open('a', O_RDWR)
    },
    change: guest => guest.unlink('a'),
    before: { a: 'A' },
    after: {},
  },
  {
    name: 'a directory that is moved',
    prepare: async guest => {
      await guest.mkdir('d')
      await guest.mkdir('d/e')
      for (const name of ['d/1', 'd/2', 'd/e/3']) await guest.put(name, name)
    },
    change: guest => guest.rename('d', 'm'),
    before: { 'd/1': 'd/1', 'd/2': 'd/2', 'd/e/3': 'd/e/3' },
    after: { 'm/1': 'd/1', 'm/2': 'd/2', 'm/e/3': 'd/e/3' },
  },
]

describe.each(SCHEMES)('on %s', scheme => {
  let storage: Service
  let rig: CrashRig

  beforeAll(async () => {
    storage = await service(scheme)
  })
  afterAll(() => storage.close())

  async function fresh(writeBack: boolean): Promise<void> {
    await empty(storage.outside)
    rig = new CrashRig(scheme, storage.operator, { writeBack })
    await rig.start()
  }

  async function clear(): Promise<void> {
    await rig.close()
    rig.remove()
  }

  /** Kills the change after so many steps, if it has so many, and gives what the next daemon shows. */
  async function killed(test: Case, steps: number, again?: number): Promise<Record<string, string> | 'done'> {
    await test.prepare(rig.guest)
    const frozen = rig.freezeAfter(steps).then(() => 'killed' as const)
    const changing = test.change(rig.guest).then(() => 'done' as const)
    changing.catch(() => undefined)
    if ((await Promise.race([frozen, changing])) === 'done') {
      rig.faults.before = () => undefined
      return 'done'
    }
    if (again !== undefined) {
      await rig.kill()
      let replayed = false
      const replaying = rig.start(again).then(() => {
        replayed = true
      })
      // It never ends, unless it has nothing to change.
      replaying.catch(() => undefined)
      await expect.poll(() => rig.isFrozen || replayed, { timeout: 10_000 }).toBe(true)
    }
    await rig.restart()
    return files(rig.guest)
  }

  describe.each([
    { mode: 'published', writeBack: false },
    { mode: 'closed with write-back', writeBack: true },
  ])('$mode', ({ writeBack }) => {
    beforeEach(() => fresh(writeBack))
    afterEach(clear)

    it.each(CASES)('$name is in exactly one place after a kill at any step', async test => {
      const seen = new Set<string>()
      for (let steps = 0; ; steps++) {
        const shown = await killed(test, steps)
        if (shown === 'done') break
        expect([test.before, test.after]).toContainEqual(shown)
        expect(rig.report?.conflicts).toEqual([])
        // Nothing that a replay leaves behind is hidden from listings only.
        expect(await temporary()).toEqual([])
        seen.add(JSON.stringify(shown))
        await clear()
        await fresh(writeBack)
      }
      await rig.restart()
      expect(await files(rig.guest)).toEqual(test.after)
    })

    // Copy and delete are the same everywhere; one case shows that S3 does them.
    const twice = scheme === 's3' ? CASES.slice(-1) : CASES
    it.each(twice)('$name is so too if the replay is killed as well', async test => {
      for (let steps = 0; steps < 3; steps++) {
        for (const again of [0, 1]) {
          const shown = await killed(test, steps, again)
          if (shown !== 'done') expect([test.before, test.after]).toContainEqual(shown)
          await clear()
          await fresh(writeBack)
        }
      }
    })
  })

  async function temporary(): Promise<string[]> {
    const entries = await storage.outside.list('', { recursive: true })
    return entries.map(entry => entry.path()).filter(path => path.includes('.ovfs-tmp-'))
  }
})
