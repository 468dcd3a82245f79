// The guest's kernel and busybox, and the programs that run it. Kernel and busybox are only unpacked, into .cache/guest: an
// installed kernel would become this machine's own at the next boot, and busybox-static would displace busybox. The same again
// for an arm64 guest, in .cache/guest-arm64.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ensurePrograms, fromArchive } from './apt.mjs'
import { Missing, note, root, run } from './step.mjs'

/** What a guest is made of; `programs` is package → the program whose presence proves it. */
const x64 = {
  dir: join(root, '.cache', 'guest'),
  kernelMeta: 'linux-image-cloud-amd64',
  programs: { 'qemu-system-x86': 'qemu-system-x86_64' },
}

const arm64 = {
  dir: join(root, '.cache', 'guest-arm64'),
  kernelMeta: 'linux-image-cloud-arm64',
  architecture: 'arm64',
  programs: { 'qemu-system-arm': 'qemu-system-aarch64' },
}

/** What only the tests need. Debian's redis-server is the program of redis-tools by another name. */
const testPrograms = {
  'apache2-bin': 'apache2',
  binutils: 'as',
  'binutils-aarch64-linux-gnu': 'aarch64-linux-gnu-as',
  'libnginx-mod-http-dav-ext': '/usr/lib/nginx/modules/ngx_http_dav_ext_module.so',
  'mariadb-server-core': 'mariadbd',
  memcached: 'memcached',
  'nginx-light': 'nginx',
  postgresql: 'pg_ctlcluster',
  'qemu-system-common': 'qemu-storage-daemon',
  rclone: 'rclone',
  'redis-tools': 'redis-check-rdb',
  sqlite3: 'sqlite3',
}

const busybox = 'busybox-static'

/** Makes sure that QEMU can be started and that the guest's kernel and busybox are unpacked. */
export function ensureGuest() {
  if (process.arch !== 'x64')
    throw new Missing('the guest needs an x86-64 machine: try `npm start -- --no-vm`')
  ensure(x64)
}

/** The same for a guest of another kind than this machine. */
export function ensureArm64Guest() {
  ensure(arm64)
}

function ensure(guest) {
  ensurePrograms(guest.programs)
  if (!existsSync(join(guest.dir, 'guest.json'))) unpackGuest(guest)
}

/** Makes sure that the storage servers of the tests can be started. */
export function ensureTestPrograms() {
  ensurePrograms(testPrograms)
}

/** Downloads and unpacks kernel and busybox. guest.json is written last: it marks a complete tree. */
function unpackGuest({ dir, kernelMeta, architecture }) {
  note(`fetching ${kernelMeta} and busybox (unpacked into .cache, not installed)`)
  const fresh = `${dir}.${process.pid}`
  mkdirSync(fresh, { recursive: true })
  const kernel = download(fresh, kernelMeta, architecture)
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
  rmSync(dir, { recursive: true, force: true })
  renameSync(fresh, dir)
}

/** Downloads the packages into `dir` and returns the name of the kernel's. */
function download(dir, kernelMeta, architecture) {
  const fetched = fromArchive(apt => {
    const kernel = kernelPackage(apt, kernelMeta)
    if (kernel === undefined) return undefined
    const { status } = spawnSync('apt-get', [...apt, 'download', '-q', kernel, busybox], {
      cwd: dir,
      stdio: 'ignore',
    })
    return status === 0 ? kernel : undefined
  }, architecture)
  if (fetched !== undefined) return fetched
  throw new Missing(
    `${kernelMeta} cannot be had from this machine's apt sources: the guest kernel needs Debian 12 or newer`,
  )
}

/** The package of the current kernel is itself empty: it depends on the image package of that version. */
function kernelPackage(apt, kernelMeta) {
  const { stdout } = spawnSync('apt-cache', [...apt, 'depends', kernelMeta], { encoding: 'utf8' })
  return /Depends: (linux-image-\S+)/.exec(stdout ?? '')?.[1]
}
