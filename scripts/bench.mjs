// npm run bench: prepares this machine, builds, and hands over to the compiled benchmark.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { prepare } from './prepare.mjs'
import { end, root } from './step.mjs'

try {
  prepare({ guest: true })
} catch (error) {
  end(error)
}
const program = join(root, 'tests', 'dist', 'bench', 'main.js')
const { status } = spawnSync(process.execPath, [program, ...process.argv.slice(2)], { stdio: 'inherit' })
process.exit(status ?? 1)
