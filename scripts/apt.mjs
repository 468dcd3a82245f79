// Debian's archive through this machine's own apt sources: programs that are installed, because they need their libraries
// where the linker looks for them, and packages that are only downloaded, which needs no root.

import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs'
import { delimiter, isAbsolute, join } from 'node:path'
import { Missing, note, root, run } from './step.mjs'

const aptDir = join(root, '.cache', 'apt')
/** Runs its arguments with Debian's own switch set that keeps packages from starting the services that they bring. */
const WITHOUT_SERVICES = `
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if ! [ -e $policy ]; then
  trap 'rm -f $policy' EXIT
  printf '#!/bin/sh\\nexit 101\\n' >$policy
  chmod 755 $policy
fi
"$@"
`
/** Package lists that are as new as this process. */
const updated = new Set()

/**
 * Installs what is missing, if this user may.
 * @param {Record<string, string>} programs package → the program whose presence proves it
 */
export function ensurePrograms(programs) {
  const missing = Object.keys(programs).filter(name => !onPath(programs[name]))
  if (missing.length === 0) return
  const install = `apt-get install -y --no-install-recommends ${missing.join(' ')}`
  const rise = process.getuid?.() === 0 ? [] : ['sudo', '-n']
  const may = onPath('apt-get') && (rise.length === 0 || spawnSync('sudo', ['-n', 'true']).status === 0)
  if (!may)
    throw new Missing(`${missing.join(', ')} missing; install with: sudo apt-get update && sudo ${install}`)

  note(`installing ${missing.join(', ')}`)
  const command = [...rise, 'sh', '-c', WITHOUT_SERVICES, 'sh', ...install.split(' ')]
  const attempt = () => spawnSync(command[0], command.slice(1), { stdio: 'ignore' }).status === 0
  if (attempt()) return
  const update = [...rise, 'apt-get', 'update', '-q']
  spawnSync(update[0], update.slice(1), { stdio: 'ignore' })
  run(command[0], command.slice(1))
}

/**
 * Runs `fetch` with apt options that name usable package lists, until it returns something else than undefined. The
 * machine's own lists come first; they may be absent or name versions that the archive has dropped, and then lists of our own.
 * @template T
 * @param {(apt: string[]) => T | undefined} fetch
 * @param {string} [architecture] of the packages, if it is not this machine's, whose own lists then hold none of them
 * @returns {T | undefined}
 */
export function fromArchive(fetch, architecture) {
  if (!onPath('apt-get') || !onPath('dpkg-deb')) {
    throw new Missing('the guest comes from the archive of Debian 12, and this machine has no apt-get')
  }
  const options = process.getuid?.() === 0 ? ['-o', 'APT::Sandbox::User=root'] : []
  if (architecture === undefined) {
    const found = fetch(options)
    if (found !== undefined) return found
  } else {
    options.push('-o', `APT::Architecture=${architecture}`, '-o', `APT::Architectures=${architecture}`)
  }

  const lists = join(aptDir, 'lists', architecture ?? '')
  mkdirSync(join(lists, 'partial'), { recursive: true })
  const own = [...options, '-o', `Dir::State::lists=${lists}`, ...cacheIn(join(aptDir, 'cache'))]
  if (!updated.has(lists)) run('apt-get', [...own, 'update', '-q'])
  updated.add(lists)
  return fetch(own)
}

/**
 * The apt options for a cache folder that this user can write.
 * @param {string} dir
 */
export function cacheIn(dir) {
  mkdirSync(join(dir, 'archives', 'partial'), { recursive: true })
  return ['-o', `Dir::Cache=${dir}`]
}

/** @param {string} program or the absolute path of any file */
function onPath(program) {
  if (isAbsolute(program)) return existsSync(program)
  const dirs = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return dirs.some(dir => {
    try {
      accessSync(join(dir, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
