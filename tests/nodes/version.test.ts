// Shows that a run for another Node really uses that Node: vitest itself is started by the machine's own.

import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'

const own = process.versions.node.split('.')[0]
const wanted = process.env.OVFS_NODE ?? own

test(`the tests and the programs that they start run on Node ${wanted}`, () => {
  expect(own).toBe(wanted)
  const started = execFileSync(process.execPath, ['-p', 'process.versions.node'], { encoding: 'utf8' })
  expect(started.trim()).toBe(process.versions.node)
})
