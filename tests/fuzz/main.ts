// node tests/dist/fuzz/main.js [--level NAME] [--kept] [--minutes N] [--seed N] [--cases N]
// Attacks one level, or all in turn. `--seed N --cases 1` repeats the case that a failure names. With --kept the target has a store
// and a state folder, and is killed in one case of twelve.

import { parseArgs } from 'node:util'
import { course, summary } from './flatness.ts'
import { attack, LEVELS, type LevelName } from './levels.ts'

const { values } = parseArgs({
  options: {
    level: { type: 'string' },
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    cases: { type: 'string' },
    kept: { type: 'boolean', default: false },
  },
})

for (const level of LEVELS.filter(name => values.level === undefined || name === values.level)) {
  const seed = Number(values.seed)
  console.log(`level ${level}${values.kept ? ', kept' : ''}, seed ${seed}`)
  const { cases, messages, strikes, looks } = await attack(level as LevelName, {
    seed,
    isKept: values.kept,
    until:
      values.cases === undefined
        ? { milliseconds: Number(values.minutes) * 60_000 }
        : { cases: Number(values.cases) },
  })
  console.log(`${cases} cases, ${messages} messages, ${strikes} times killed`)
  if (looks.length < 11) continue
  for (const line of course(looks)) console.log(line)
  console.log(`after the warm-up: ${summary(looks)}`)
}
