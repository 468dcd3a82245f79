// Fetches the other major versions of Node that the tests run on into .cache/nodes/node_modules/nodeMAJOR/bin/node. The machine's own
// Node does not change.

import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { note, root, run } from './step.mjs'

const dir = join(root, '.cache', 'nodes')

/** Major version to release. Node 20, the oldest that is supported, is what CI itself has. */
const RELEASES = { 22: '22.23.5', 24: '24.22.3', 26: '26.12.1' }

/** @returns {string[]} the major versions */
export const NODES = Object.keys(RELEASES)

/** Fetches what is not there yet. nodes.json is written last: it marks a complete tree. */
export function ensureNodes() {
  const packages = Object.entries(RELEASES).map(
    ([major, release]) => `node${major}@npm:node-linux-${process.arch}@${release}`,
  )
  const wanted = `${JSON.stringify(packages)}\n`
  const stamp = join(dir, 'nodes.json')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  note(`fetching Node ${NODES.join(', ')} (unpacked into .cache, not installed)`)
  const fresh = `${dir}.${process.pid}`
  mkdirSync(fresh, { recursive: true })
  try {
    run('npm', [
      ...['install', '--prefix', fresh, '--no-save', '--no-audit', '--no-fund', '--ignore-scripts'],
      ...packages,
    ])
    for (const major of NODES)
      rmSync(join(fresh, 'node_modules', `node${major}`, 'include'), { recursive: true, force: true })
    writeFileSync(join(fresh, 'nodes.json'), wanted)
    rmSync(dir, { recursive: true, force: true })
    renameSync(fresh, dir)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}
