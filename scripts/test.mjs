// npm test: prepares this machine, then checks everything: lint, types, and every test, real guests included. The last
// line is the count. Lint and types count as one each, so that nothing can be wrong while the line says `0 failed`.
// In CI (CI=true) a skipped test is a failure: it is something that was not shown.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { hasNewerLibc } from './newer-debian.mjs'
import { NODES } from './nodes.mjs'
import { prepare } from './prepare.mjs'
import { end, note, root } from './step.mjs'

const report = join(root, '.cache', 'vitest.json')
const inCi = process.env.CI === 'true' || process.env.CI === '1'
const count = { passed: 0, failed: 0, skipped: 0 }

try {
  prepare({ tests: true })
} catch (error) {
  end(error)
}
check('lint', 'biome', ['check', '.'])
check('types', 'tsc', ['-b'])
runTests()
if (existsSync(join(root, '.cache', 'arm64', 'arm64.json'))) {
  note('running the tests that depend on the processor, on arm64')
  runTests('--config=vitest.arm64.config.ts')
} else {
  note('skipped: the tests on arm64, which need an arm64 user space')
  count.skipped++
}
if (hasNewerLibc()) {
  note("running the tests that depend on the build of OpenDAL's binding, with the newest build")
  runTests('--config=vitest.newest-opendal.config.ts')
} else {
  note('skipped: the tests with the newest build of OpenDAL, which need glibc 2.38')
  count.skipped++
}
for (const major of NODES) {
  note(`running the tests that depend on the release of Node, on Node ${major}`)
  process.env.OVFS_NODE = major
  runTests('--config=vitest.nodes.config.ts')
}
if (inCi) count.failed += count.skipped
const skipped = count.skipped === 0 ? '' : `, ${count.skipped} skipped${inCi ? ' (a failure in CI)' : ''}`
console.log(`${count.passed} passed, ${count.failed} failed${skipped}`)
process.exit(count.failed === 0 ? 0 : 1)

function check(name, program, args) {
  const ok = tool(program, args) === 0
  note(`${name}: ${ok ? 'ok' : 'failed'}`)
  count[ok ? 'passed' : 'failed']++
}

function runTests(...options) {
  mkdirSync(join(root, '.cache'), { recursive: true })
  rmSync(report, { force: true })
  const status = tool('vitest', [
    'run',
    ...options,
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ])
  const before = count.failed
  try {
    const { testResults } = JSON.parse(readFileSync(report, 'utf8'))
    for (const file of testResults) {
      for (const { status } of file.assertionResults) {
        if (status === 'passed') count.passed++
        else if (status === 'failed') count.failed++
        else count.skipped++
      }
      // A file that does not load, or whose set-up fails, has failed although none of its tests has.
      const broken = file.status === 'failed' && file.assertionResults.every(test => test.status !== 'failed')
      if (broken) count.failed++
    }
  } catch (error) {
    note(`vitest left no report: ${error.message}`)
  }
  if (status !== 0 && count.failed === before) count.failed++
}

function tool(program, args) {
  const { status } = spawnSync(join(root, 'node_modules', '.bin', program), args, {
    cwd: root,
    stdio: 'inherit',
  })
  return status
}
