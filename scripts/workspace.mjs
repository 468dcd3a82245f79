// Prepares the workspace: pnpm, node_modules, OpenDAL's binary for arm64, compiled packages. A step is skipped if it was done before
// with the same inputs. Nothing is installed outside the repository.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Missing, note, root, run } from './step.mjs'

const stamp = join(root, 'node_modules', '.ovfs-installed')
const tools = join(root, '.cache', 'tools')

/** package.json's `engines` say the same; npm only warns. */
export function ensureNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  throw new Missing(
    `Node ${process.versions.node} is too old: ovfs needs Node 20.19 or newer (https://nodejs.org)`,
  )
}

/** Installs exactly what the lockfile names, unless node_modules already holds it. */
export function ensureInstalled() {
  const hash = createHash('sha256').update(process.version)
  for (const file of ['pnpm-lock.yaml', 'pnpm-workspace.yaml', 'package.json'])
    hash.update(readFileSync(join(root, file)))
  const wanted = hash.digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  const [command, ...args] = pnpm()
  note('installing dependencies')
  run(command, [...args, 'install', '--frozen-lockfile'], { env: { ...process.env, CI: 'true' } })
  if (process.arch === 'arm64') addBinding(process.arch)
  writeFileSync(stamp, wanted)
}

/**
 * Adds OpenDAL's binaries for arm64. The lockfile has no entry for them, so pnpm cannot install them (see CONTRIBUTING.md). They are
 * installed in .cache, in the versions that the manifests name, and linked from node_modules.
 * @param {string} arch
 */
export function addBinding(arch) {
  const user = join(root, 'packages', 'opendal-fs')
  const { glibcVersionRuntime } = process.report.getReport().header
  const newest = `@opendal/lib-linux-${arch}-${glibcVersionRuntime === undefined ? 'musl' : 'gnu'}`
  const { version } = JSON.parse(readFileSync(join(user, 'node_modules', 'opendal', 'package.json'), 'utf8'))
  const old = `opendal-for-old-glibc-${arch}`
  const { optionalDependencies } = JSON.parse(readFileSync(join(user, 'package.json'), 'utf8'))
  const packages = {
    [newest]: { range: version, modules: join(root, 'node_modules', '.pnpm', 'node_modules') },
    ...(glibcVersionRuntime && {
      [old]: { range: optionalDependencies[old], modules: join(user, 'node_modules') },
    }),
  }
  for (const [name, { range, modules }] of Object.entries(packages)) {
    const link = join(modules, name)
    if (existsSync(link)) continue
    const prefix = join(root, '.cache', 'binding', old === name ? 'old' : 'newest')
    const options = ['--no-save', '--no-audit', '--no-fund', '--ignore-scripts']
    mkdirSync(prefix, { recursive: true })
    try {
      run('npm', ['install', '--prefix', prefix, ...options, `${name}@${range}`])
    } catch (error) {
      note(
        `OpenDAL's binary ${name}@${range} cannot be installed: ${error.message.split('\n')[1] ?? error.message}`,
      )
      continue
    }
    mkdirSync(dirname(link), { recursive: true })
    rmSync(link, { force: true })
    symlinkSync(join(prefix, 'node_modules', name), link)
  }
}

/** Compiles every package, the harness and the demo; the compiler itself knows what is stale. */
export function build() {
  run(join(root, 'node_modules', '.bin', 'tsc'), ['-b', 'tests'])
}

/** The command that runs the right pnpm: the one on the PATH if its version fits, else one of our own in .cache. */
function pnpm() {
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const wanted = /^pnpm@([\d.]+)/.exec(packageManager ?? '')?.[1] ?? '12'
  const fits = command => {
    const { stdout } = spawnSync(command, ['--version'], { cwd: root, encoding: 'utf8' })
    return stdout?.trim() === wanted || stdout?.startsWith(`${wanted}.`)
  }
  if (fits('pnpm')) return ['pnpm']
  const own = join(tools, 'node_modules', '.bin', 'pnpm')
  if (!fits(own)) {
    note(`fetching pnpm ${wanted}`)
    run('npm', ['install', '--prefix', tools, '--no-save', '--no-audit', '--no-fund', `pnpm@${wanted}`])
  }
  return [own]
}
