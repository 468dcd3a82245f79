// The disk of the guests that run real programs: a small Debian in an ext4 file, .cache/debian/image.ext4. The packages are
// resolved by apt as on an empty machine and only unpacked: no maintainer script runs, so neither root nor a chroot is needed,
// and what those scripts would have set up is not there (alternatives, users, compiled Python).

import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { cacheIn, fromArchive } from './apt.mjs'
import { ensurePrograms } from './package-manager.mjs'
import { Missing, note, root, run } from './step.mjs'

const dir = join(root, '.cache', 'debian')

const packages = [
  ...['base-files', 'bash', 'coreutils', 'dash', 'diffutils', 'findutils', 'grep', 'gzip', 'libc-bin'],
  ...['mawk', 'mount', 'sed', 'tar', 'util-linux'],
  ...['attr', 'dpkg', 'fio', 'git', 'python3', 'rsync', 'sqlite3', 'vim-tiny'],
  // A service manager, and what Node needs besides the C library.
  ...['systemd', 'libstdc++6'],
]

/** Nothing in a guest reads these, and they are a third of the image. */
const unneeded = ['doc', 'info', 'lintian', 'locale', 'man', 'bash-completion']

/** Builds the image unless there is one of these packages. image.json is written last: it marks a complete image. */
export function ensureGuestImage() {
  const wanted = `${JSON.stringify({ packages, unneeded })}\n`
  const stamp = join(dir, 'image.json')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  ensurePrograms({ e2fsprogs: 'mke2fs' })
  note('building the disk of the Debian guest (.cache/debian, once)')
  const fresh = `${dir}.${process.pid}`
  const tree = join(fresh, 'root')
  mkdirSync(tree, { recursive: true })
  for (const archive of download(fresh)) run('dpkg-deb', ['-x', archive, tree])
  for (const name of unneeded) rmSync(join(tree, 'usr', 'share', name), { recursive: true, force: true })
  symlinkSync('mawk', join(tree, 'usr', 'bin', 'awk'))
  writeFileSync(join(tree, 'etc', 'passwd'), 'root:x:0:0:root:/root:/bin/sh\n')
  writeFileSync(join(tree, 'etc', 'group'), 'root:x:0:\n')
  makeImage(tree, join(fresh, 'image.ext4'))
  rmSync(tree, { recursive: true })
  rmSync(join(fresh, 'cache'), { recursive: true })
  writeFileSync(join(fresh, 'image.json'), wanted)
  rmSync(dir, { recursive: true, force: true })
  renameSync(fresh, dir)
}

/** Downloads the packages with all that they depend on; returns the archives. */
function download(fresh) {
  const cache = join(fresh, 'cache')
  const nothingInstalled = join(cache, 'status')
  mkdirSync(cache)
  writeFileSync(nothingInstalled, '')
  const options = [
    `Dir::State::status=${nothingInstalled}`,
    'Debug::NoLocking=1',
    'APT::Install-Recommends=false',
  ]
  const fetched = fromArchive(apt => {
    const args = [...apt, ...options.flatMap(option => ['-o', option]), ...cacheIn(cache)]
    const { status } = spawnSync(
      'apt-get',
      [...args, 'install', '-y', '-q', '--download-only', ...packages],
      {
        stdio: 'ignore',
      },
    )
    return status === 0 ? join(cache, 'archives') : undefined
  })
  if (fetched === undefined) {
    throw new Missing(
      `not all of ${packages.join(', ')} can be had from this machine's apt sources: Debian 12 or newer has them`,
    )
  }
  return readdirSync(fetched)
    .filter(name => name.endsWith('.deb'))
    .map(name => join(fetched, name))
}

/** Without journal and checksums: it is never written, and the guest then needs fewer modules. */
function makeImage(tree, image) {
  const features = '^has_journal,^metadata_csum'
  run('mke2fs', ['-q', '-t', 'ext4', '-O', features, '-E', 'root_owner=0:0', '-d', tree, image, '400M'], {
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  })
}
