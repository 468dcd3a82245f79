// Fetches the guest's kernel and busybox from the archive of Debian or Ubuntu, and installs the programs that run the guest. Kernel
// and busybox are only unpacked, into .cache/guest: an installed kernel would boot this machine the next time, and installing
// busybox-static would remove busybox. Does the same for an arm64 guest, and for a guest with the kernel of Debian 13.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromArchive } from './apt.mjs'
import { optionsForSuite } from './newer-debian.mjs'
import { ensurePrograms } from './package-manager.mjs'
import { Missing, note, root, run } from './step.mjs'

/**
 * What a guest is made of. `kernelMetas` are packages that depend on the current kernel, in Debian and in Ubuntu; `programs` is
 * package → the program whose presence proves it.
 */
const x64 = {
  dir: join(root, '.cache', 'guest'),
  kernelMetas: ['linux-image-cloud-amd64', 'linux-image-virtual'],
  programs: { 'qemu-system-x86': 'qemu-system-x86_64' },
}

const arm64 = {
  dir: join(root, '.cache', 'guest-arm64'),
  kernelMetas: ['linux-image-cloud-arm64'],
  architecture: 'arm64',
  programs: { 'qemu-system-arm': 'qemu-system-aarch64' },
}

/** Its kernel has virtio-fs built in, where that of Debian 12 has modules. */
const trixie = { ...x64, dir: join(root, '.cache', 'guest-trixie'), suite: 'trixie' }

/** What only the tests need. Debian's redis-tools contains the program of redis-server under another name. */
const testPrograms = {
  'apache2-bin': 'apache2',
  binutils: 'as',
  'binutils-aarch64-linux-gnu': 'aarch64-linux-gnu-as',
  'libnginx-mod-http-dav-ext': '/usr/lib/nginx/modules/ngx_http_dav_ext_module.so',
  'mariadb-client-core': 'mariadb',
  'mariadb-server-core': 'mariadbd',
  memcached: 'memcached',
  'nginx-light': 'nginx',
  postgresql: 'pg_ctlcluster',
  'qemu-system-common': 'qemu-storage-daemon',
  rclone: 'rclone',
  'redis-tools': 'redis-check-rdb',
  sqlite3: 'sqlite3',
  'xz-utils': 'xz',
  zstd: 'zstd',
}

const busybox = 'busybox-static'

/** Makes sure that QEMU can be started and that the guest's kernel and busybox are unpacked. */
export function ensureGuest() {
  if (process.arch !== 'x64')
    throw new Missing('the guest needs an x86-64 machine: try `npm start -- --no-vm`')
  ensureQemu()
  ensureUnpacked(x64)
}

/** The same for a guest of another kind than this machine. */
export function ensureArm64Guest() {
  ensurePrograms(arm64.programs)
  ensureUnpacked(arm64)
}

/** The kernel of Debian 13 and a busybox. */
export function ensureTrixieGuest() {
  ensureUnpacked(trixie)
}

export function ensureQemu() {
  ensurePrograms(x64.programs)
}

/** The kernel and the busybox of this machine's own archive. */
export function ensureGuestKernel() {
  ensureUnpacked(x64)
}

/** A busybox that needs no libraries, installed beside this machine's programs: for a machine without Debian's packages. */
export function ensureInstalledBusybox() {
  ensurePrograms({ [busybox]: 'busybox' })
}

function ensureUnpacked(guest) {
  if (!existsSync(join(guest.dir, 'guest.json'))) unpackGuest(guest)
}

/** Makes sure that the storage servers of the tests can be started. */
export function ensureTestPrograms() {
  ensurePrograms(testPrograms)
}

/** Downloads and unpacks kernel and busybox. guest.json is written last: it marks a complete tree. */
function unpackGuest(guest) {
  const { dir, kernelMetas } = guest
  note(`fetching ${kernelMetas.join(' or ')} and busybox (unpacked into .cache, not installed)`)
  const fresh = `${dir}.${process.pid}`
  const work = join(fresh, 'work')
  mkdirSync(work, { recursive: true })
  try {
    const kernel = download(work, guest)
    for (const file of readdirSync(work).filter(name => name.endsWith('.deb')))
      run('dpkg-deb', ['-x', join(work, file), fresh])
    rmSync(work, { recursive: true })
    const version = versionOf(kernel)
    // Debian 13 moved lib and bin below usr.
    const find = path => [path, join('usr', path)].find(place => existsSync(join(fresh, place)))
    const parts = {
      package: kernel,
      kernel: find(`boot/vmlinuz-${version}`),
      modules: find(`lib/modules/${version}`),
      busybox: find('bin/busybox'),
    }
    for (const [part, path] of Object.entries(parts)) {
      if (path === undefined) throw new Error(`no ${part} in ${kernel} and ${busybox}`)
    }
    writeFileSync(join(fresh, 'guest.json'), `${JSON.stringify(parts, null, 2)}\n`)
    rmSync(dir, { recursive: true, force: true })
    renameSync(fresh, dir)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}

/** Downloads the packages into `work` and returns the name of the kernel's. */
function download(work, { kernelMetas, architecture, suite }) {
  const fetched = fromArchive(apt => {
    const options = suite === undefined ? apt : optionsForSuite(work, apt, suite)
    const kernel = options && kernelPackage(options, kernelMetas)
    if (kernel === undefined) return undefined
    // Ubuntu has the modules in a package of their own.
    const modules = `linux-modules-${versionOf(kernel)}`
    const { status: separate } = spawnSync('apt-cache', [...options, 'show', modules], { stdio: 'ignore' })
    const packages = [kernel, busybox, ...(separate === 0 ? [modules] : [])]
    const { status } = spawnSync('apt-get', [...options, 'download', '-q', ...packages], {
      cwd: work,
      stdio: 'ignore',
    })
    return status === 0 ? kernel : undefined
  }, architecture)
  if (fetched !== undefined) return fetched
  throw new Missing(`this machine's apt sources do not have ${kernelMetas.join(' or ')} and ${busybox}`)
}

/** The packages of the current kernel are themselves empty: they depend on the image package of that version. */
function kernelPackage(apt, kernelMetas) {
  for (const name of kernelMetas) {
    const { stdout } = spawnSync('apt-cache', [...apt, 'depends', name], { encoding: 'utf8' })
    const found = /Depends: (linux-image-\S+)/.exec(stdout ?? '')?.[1]
    if (found !== undefined) return found
  }
  return undefined
}

/** The version of the kernel that an image package holds, as uname says it. */
function versionOf(image) {
  return image.replace('linux-image-', '').replace('-unsigned', '')
}
