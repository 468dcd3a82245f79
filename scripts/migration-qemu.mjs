// A QEMU that can migrate a vhost-user-fs device, for the tests. Debian 12's own cannot; its backports have one that runs with
// the libraries of the installed one. It is only unpacked, into .cache/qemu: the machine's own QEMU stays what it is.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cacheIn, fromArchive } from './apt.mjs'
import { Missing, note, root, run } from './step.mjs'

const dir = join(root, '.cache', 'qemu')
const program = join('usr', 'bin', 'qemu-system-x86_64')
/** 8.2 moves the state of a vhost-user-fs back-end too, but no release of Debian has it. */
const FIRST = 9
const packages = ['qemu-system-x86', 'qemu-system-common', 'qemu-system-data', 'seabios']
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

/** Unpacks such a QEMU, unless the machine's own is one or an earlier run has done it. */
export function ensureMigrationQemu() {
  if (isNewEnough('qemu-system-x86_64') || isNewEnough(join(dir, program))) return
  note('fetching a QEMU that can migrate the share (unpacked into .cache, not installed)')
  const fresh = `${dir}.${process.pid}`
  mkdirSync(fresh, { recursive: true })
  try {
    for (const archive of download(fresh)) run('dpkg-deb', ['-x', archive, fresh])
    if (!isNewEnough(join(fresh, program))) throw new Missing('the QEMU of the backports does not run here')
    rmSync(join(fresh, 'apt'), { recursive: true })
    rmSync(dir, { recursive: true, force: true })
    renameSync(fresh, dir)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}

function isNewEnough(path) {
  const { stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' })
  return Number(/version (\d+)\./.exec(stdout ?? '')?.[1] ?? 0) >= FIRST
}

/** Downloads the packages with package lists of our own, which name the backports too; returns the archives. */
function download(fresh) {
  const fetched = fromArchive(apt => {
    const release = debianRelease(apt)
    if (release === undefined || !existsSync(KEYRING)) return undefined
    const backports = `${release.codename}-backports`
    const sources = join(fresh, 'apt', 'sources.list')
    mkdirSync(join(fresh, 'apt', 'lists', 'partial'), { recursive: true })
    writeFileSync(sources, `deb [signed-by=${KEYRING}] ${release.uri} ${backports} main\n`)
    const options = [
      `Dir::Etc::sourcelist=${sources}`,
      'Dir::Etc::sourceparts=-',
      `Dir::State::lists=${join(fresh, 'apt', 'lists')}`,
    ]
    const args = [
      ...apt,
      ...options.flatMap(option => ['-o', option]),
      ...cacheIn(join(fresh, 'apt', 'cache')),
    ]
    const apply = (...command) =>
      spawnSync('apt-get', [...args, ...command], { cwd: join(fresh, 'apt'), stdio: 'ignore' }).status === 0
    const named = packages.map(name => `${name}/${backports}`)
    return apply('update', '-q') && apply('download', '-q', ...named) ? join(fresh, 'apt') : undefined
  })
  if (fetched === undefined) {
    throw new Missing(`QEMU ${FIRST} or newer cannot be had from this machine's apt sources`)
  }
  return readdirSync(fetched)
    .filter(name => name.endsWith('.deb'))
    .map(name => join(fetched, name))
}

/** Where this machine's own apt gets QEMU from, and for which release of Debian. */
function debianRelease(apt) {
  const format = '$(REPO_URI) $(CODENAME) $(ORIGIN) $(COMPONENT)'
  const args = [...apt, 'indextargets', '--format', format, 'Created-By: Packages']
  const { stdout } = spawnSync('apt-get', args, { encoding: 'utf8' })
  const [, uri, codename] = /^(\S+) (\w+) Debian main$/m.exec(stdout ?? '') ?? []
  return uri === undefined ? undefined : { uri, codename }
}
