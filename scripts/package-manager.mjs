// Installs programs through the package manager of the distribution, if this user may, because they need their libraries where the
// linker looks for them. Callers use Debian's package names; a table has the names of other distributions.

import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, isAbsolute, join } from 'node:path'
import { Missing, note } from './step.mjs'

/** Runs its arguments with Debian's policy-rc.d set, so that installed packages do not start their services. */
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

/**
 * In the order in which they are looked for: some systems have a second one beside their own. `prefix` runs the command; `refresh`
 * fetches new package lists, where the installing command does not.
 */
const MANAGERS = [
  {
    program: 'apt-get',
    prefix: ['sh', '-c', WITHOUT_SERVICES, 'sh'],
    install: ['apt-get', 'install', '-y', '--no-install-recommends'],
    refresh: ['apt-get', 'update', '-q'],
  },
  { program: 'dnf', install: ['dnf', 'install', '-y'] },
  { program: 'yum', install: ['yum', 'install', '-y'] },
  {
    program: 'zypper',
    install: ['zypper', '--non-interactive', 'install', '--no-recommends'],
    refresh: ['zypper', '--non-interactive', 'refresh'],
  },
  { program: 'pacman', install: ['pacman', '-S', '--noconfirm', '--needed'], refresh: ['pacman', '-Sy'] },
  { program: 'apk', install: ['apk', 'add'], refresh: ['apk', 'update'] },
]

/** Debian's name of a package to the names that other managers know it by. */
const OTHER_NAMES = {
  'qemu-system-x86': {
    dnf: 'qemu-system-x86-core',
    yum: 'qemu-kvm',
    zypper: 'qemu-x86',
    apk: 'qemu-system-x86_64',
  },
  'busybox-static': { dnf: 'busybox', yum: 'busybox', pacman: 'busybox' },
}

/**
 * Installs what is missing. Throws Missing, with the command that does it, if this user may not or the manager fails.
 * @param {Record<string, string>} programs Debian's package → the program whose presence proves it
 */
export function ensurePrograms(programs) {
  const missing = Object.keys(programs).filter(name => !onPath(programs[name]))
  if (missing.length === 0) return
  const manager = MANAGERS.find(({ program }) => onPath(program))
  if (manager === undefined) throw new Missing(`this machine lacks ${missing.join(', ')}`)
  const names = missing.map(name => OTHER_NAMES[name]?.[manager.program] ?? name)
  const { prefix = [], refresh } = manager
  const install = [...manager.install, ...names]
  const advice = [refresh, install].filter(Boolean).map(command => `sudo ${command.join(' ')}`)
  const isRoot = process.getuid?.() === 0
  if (!isRoot && spawnSync('sudo', ['-n', 'true']).status !== 0)
    throw new Missing(`this machine lacks ${names.join(', ')}; install with: ${advice.join(' && ')}`)

  note(`installing ${names.join(', ')}`)
  const attempt = (...command) => {
    const [program, ...args] = isRoot ? command : ['sudo', '-n', ...command]
    return spawnSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  }
  const first = attempt(...prefix, ...install)
  if (first.status === 0) return
  if (refresh !== undefined) attempt(...refresh)
  const second = refresh === undefined ? first : attempt(...prefix, ...install)
  if (second.status === 0) return
  const said = `${second.stdout ?? ''}${second.stderr ?? second.error}`.trim().split('\n')
  throw new Missing(`${install.join(' ')} failed: ${said.slice(-3).join('\n')}`)
}

/** @param {string} program its name, or the absolute path of any file */
export function onPath(program) {
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
