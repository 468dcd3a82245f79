// What comes from Debian's archive. QEMU is installed, because it needs its libraries where the linker looks for them.
// The guest's kernel and busybox are only unpacked into .cache/guest: an installed kernel would become this machine's
// own at the next boot, busybox-static would displace busybox, and unpacking needs no root.

import { spawnSync } from 'node:child_process'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, join } from 'node:path'
import { Missing, note, root, run } from './step.mjs'

const guestDir = join(root, '.cache', 'guest')
const aptDir = join(root, '.cache', 'apt')

/** Package → the program whose presence proves it. */
const programs = {
  'qemu-system-x86': 'qemu-system-x86_64',
}

const kernelMeta = 'linux-image-cloud-amd64'
const busybox = 'busybox-static'

/** Makes sure that QEMU can be started and that the guest's kernel and busybox are unpacked. */
export function ensureGuest() {
  if (process.arch !== 'x64')
    throw new Missing('the guest needs an x86-64 machine: try `npm start -- --no-vm`')
  ensurePrograms()
  if (!existsSync(join(guestDir, 'guest.json'))) unpackGuest()
}

function ensurePrograms() {
  const missing = Object.keys(programs).filter(name => !onPath(programs[name]))
  if (missing.length === 0) return
  const install = `apt-get install -y --no-install-recommends ${missing.join(' ')}`
  const rise = process.getuid?.() === 0 ? [] : ['sudo', '-n']
  const may = onPath('apt-get') && (rise.length === 0 || spawnSync('sudo', ['-n', 'true']).status === 0)
  if (!may)
    throw new Missing(`${missing.join(', ')} missing; install with: sudo apt-get update && sudo ${install}`)

  note(`installing ${missing.join(', ')}`)
  const command = [...rise, 'env', 'DEBIAN_FRONTEND=noninteractive', ...install.split(' ')]
  const attempt = () => spawnSync(command[0], command.slice(1), { stdio: 'ignore' }).status === 0
  if (attempt()) return
  const update = [...rise, 'apt-get', 'update', '-q']
  spawnSync(update[0], update.slice(1), { stdio: 'ignore' })
  run(command[0], command.slice(1))
}

/** Downloads and unpacks kernel and busybox. guest.json is written last: it marks a complete tree. */
function unpackGuest() {
  if (!onPath('apt-get') || !onPath('dpkg-deb')) {
    throw new Missing('the guest kernel comes from the archive of Debian 12, and this machine has no apt-get')
  }
  note('fetching the guest kernel and busybox (unpacked into .cache, not installed)')
  const fresh = `${guestDir}.${process.pid}`
  mkdirSync(fresh, { recursive: true })
  const kernel = download(fresh)
  for (const file of readdirSync(fresh).filter(name => name.endsWith('.deb'))) {
    run('dpkg-deb', ['-x', join(fresh, file), fresh])
    rmSync(join(fresh, file))
  }
  const version = kernel.replace('linux-image-', '').replace('-unsigned', '')
  // Debian 13 moved lib and bin below usr.
  const find = path => [path, join('usr', path)].find(place => existsSync(join(fresh, place)))
  const guest = {
    package: kernel,
    kernel: find(`boot/vmlinuz-${version}`),
    modules: find(`lib/modules/${version}/kernel`),
    busybox: find('bin/busybox'),
  }
  for (const [part, path] of Object.entries(guest)) {
    if (path === undefined) throw new Error(`no ${part} in ${kernel} and busybox-static`)
  }
  writeFileSync(join(fresh, 'guest.json'), `${JSON.stringify(guest, null, 2)}\n`)
  rmSync(guestDir, { recursive: true, force: true })
  renameSync(fresh, guestDir)
}

/**
 * Downloads the packages into `dir` and returns the name of the kernel's. The machine's own package lists come first;
 * they may be absent or name versions that the archive has dropped, and then lists of our own, which need no root.
 */
function download(dir) {
  const sandbox = process.getuid?.() === 0 ? ['-o', 'APT::Sandbox::User=root'] : []
  const fetch = apt => {
    const kernel = kernelPackage(apt)
    if (kernel === undefined) return undefined
    const { status } = spawnSync('apt-get', [...apt, 'download', '-q', kernel, busybox], {
      cwd: dir,
      stdio: 'ignore',
    })
    return status === 0 ? kernel : undefined
  }
  const known = fetch(sandbox)
  if (known !== undefined) return known

  mkdirSync(join(aptDir, 'lists', 'partial'), { recursive: true })
  mkdirSync(join(aptDir, 'cache', 'archives', 'partial'), { recursive: true })
  const places = [`Dir::State::lists=${join(aptDir, 'lists')}`, `Dir::Cache=${join(aptDir, 'cache')}`]
  const own = [...sandbox, ...places.flatMap(place => ['-o', place])]
  run('apt-get', [...own, 'update', '-q'])
  const kernel = kernelPackage(own)
  if (kernel === undefined) {
    throw new Missing(
      `${kernelMeta} is not in this machine's apt sources: the guest kernel needs Debian 12 or newer`,
    )
  }
  run('apt-get', [...own, 'download', '-q', kernel, busybox], { cwd: dir })
  return kernel
}

/** linux-image-cloud-amd64 itself is empty: it depends on the image package of the current version. */
function kernelPackage(apt) {
  const { stdout } = spawnSync('apt-cache', [...apt, 'depends', kernelMeta], { encoding: 'utf8' })
  return /Depends: (linux-image-\S+)/.exec(stdout ?? '')?.[1]
}

/** @param {string} program */
function onPath(program) {
  return (process.env.PATH ?? '').split(delimiter).some(dir => {
    try {
      accessSync(join(dir, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
