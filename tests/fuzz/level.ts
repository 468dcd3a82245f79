// What a level of fuzzing is, and the loop that drives one: the corpus first, then new cases until the time is up. A case is
// data, made from a seed of its own, so that each can be repeated alone and kept. The seed also says whether the target is struck
// down in the midst of the case, if it has a successor.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from '../harness/initramfs.ts'
import { growth, type Holdings, type Look } from './flatness.ts'
import { Random } from './random.ts'

export interface Level<Case> {
  readonly name: string
  generate(random: Random): Case
  /**
   * Plays the case; rejects if the target did what it must not.
   * @param moment to be waited for between steps: the target may have a successor afterwards
   */
  run(one: Case, moment: () => Promise<void>): Promise<void>
  /** Rejects unless a well-behaved front-end is served; if thoroughly, in everything that a guest asks first. */
  requireHealthy?(thoroughly: boolean): Promise<void>
  /** Ends the target without a word; resolves when its successor has taken over. Undefined if it would have none. */
  strike?: (() => Promise<void>) | undefined
  /** Messages of the last case. */
  readonly messages: number
  /** What the target holds when it has collected its garbage. */
  holdings(): Promise<Holdings>
  close(): Promise<void>
}

export interface FuzzOptions {
  readonly seed: number
  /** How long it goes on: for a time, or for a number of new cases, which a busy machine does not make fewer. */
  readonly until: { readonly milliseconds: number } | { readonly cases: number }
  /** Looks at what the target holds, evenly over the run; each costs it a garbage collection. */
  readonly looks?: number
}

export interface FuzzReport {
  readonly cases: number
  readonly messages: number
  /** How often the target was struck down. */
  readonly strikes: number
  /** What the target held in the course of the run. */
  readonly looks: readonly Look[]
}

/** A case that is not over by then hangs. */
const CASE_MS = 20_000
const LOOKS = 32
/** A thorough check costs as much as several cases. One that fails is the fault of one of so many. */
const CASES_PER_CHECK = 16
/** The target is struck down in one case of so many, at one of the first moments of it. */
const CASES_PER_STRIKE = 12
const MOMENTS = 10
/** Fewer new cases are a repetition of what failed, and no run to be judged. */
const FEWEST_JUDGED = 100

const corpusOf = (name: string) => join(repository, 'tests', 'fuzz', 'corpus', name)

/** Throws, with the seed of the case that failed, or what grew. The case itself is left in .cache/fuzz, ready for the corpus. */
export async function fuzz<Case>(level: Level<Case>, options: FuzzOptions): Promise<FuzzReport> {
  let cases = 0
  let messages = 0
  let strikes = 0
  const isLong = 'milliseconds' in options.until || options.until.cases >= FEWEST_JUDGED
  const momentOf = (odds: Random | undefined) => {
    if (!level.strike || !odds?.oneIn(CASES_PER_STRIKE)) return async () => undefined
    let moments = odds.below(MOMENTS)
    return async () => {
      if (moments-- !== 0) return
      strikes++
      await level.strike!()
    }
  }
  const play = async (one: Case, name: string, odds?: Random) => {
    const thoroughly = !isLong || odds === undefined || cases % CASES_PER_CHECK === 0
    try {
      await within(CASE_MS, level.run(one, momentOf(odds)))
      await within(CASE_MS, level.requireHealthy?.(thoroughly))
    } catch (cause) {
      const folder = join(repository, '.cache', 'fuzz', level.name)
      mkdirSync(folder, { recursive: true })
      const kept = join(folder, `${name.replaceAll(' ', '-')}.json`)
      writeFileSync(kept, `${JSON.stringify(one)}\n`)
      throw new Error(`level ${level.name}, ${name}: ${(cause as Error).message}; the case is in ${kept}`, {
        cause,
      })
    }
    cases++
    messages += level.messages
  }
  for (const file of readdirSync(corpusOf(level.name)).sort()) {
    await play(JSON.parse(readFileSync(join(corpusOf(level.name), file), 'utf8')) as Case, file)
  }
  const begun = Date.now()
  const looks: Look[] = []
  const { until, looks: most = LOOKS } = options
  const progress = (played: number) =>
    'cases' in until ? played / until.cases : (Date.now() - begun) / until.milliseconds
  let played = 0
  for (; progress(played) < 1; played++) {
    const seed = (options.seed + played) >>> 0
    await play(level.generate(new Random(seed)), `seed ${seed}`, new Random(~seed))
    if (progress(played) >= looks.length / most) looks.push({ messages, ...(await settled(level)) })
  }
  const grown = played < FEWEST_JUDGED ? undefined : growth(looks)
  if (grown !== undefined) throw new Error(`level ${level.name}, from seed ${options.seed}: ${grown}`)
  return { cases, messages, strikes, looks }
}

/** The target may still be letting go of the last connection: of several looks the one with the fewest descriptors. */
async function settled(level: { holdings(): Promise<Holdings> }): Promise<Holdings> {
  let least = await level.holdings()
  for (let look = 0; look < 2; look++) {
    await new Promise(resolve => setTimeout(resolve, 30))
    const now = await level.holdings()
    if (now.descriptors <= least.descriptors) least = now
  }
  return least
}

async function within(milliseconds: number, work: Promise<void> | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it hangs: ${milliseconds} ms are over`)), milliseconds)
  })
  try {
    await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
