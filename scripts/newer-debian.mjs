// Fetches what the tests need and Debian 12 lacks from later releases: a QEMU that can migrate a vhost-user-fs device, the virtiofsd
// written in Rust, and a C library on which the newest build of OpenDAL's binding loads. The packages are only unpacked, into
// .cache; the machine's own programs do not change.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cacheIn, fromArchive } from './apt.mjs'
import { Missing, note, root, run } from './step.mjs'

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
/** 8.2 moves the state of a vhost-user-fs back-end too, but no release of Debian has it. */
const FIRST_QEMU = 9
const LIBRARIES = join('usr', 'lib', 'x86_64-linux-gnu')

/** The QEMU of the backports, which runs with the libraries of the installed one, unless that is new enough itself. */
export function ensureMigrationQemu() {
  const isNewEnough = path => {
    const { stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' })
    return Number(/version (\d+)\./.exec(stdout ?? '')?.[1] ?? 0) >= FIRST_QEMU
  }
  if (isNewEnough('qemu-system-x86_64')) return
  ensureUnpacked({
    name: 'qemu',
    what: `QEMU ${FIRST_QEMU} or newer`,
    suiteOf: codename => `${codename}-backports`,
    packages: ['qemu-system-x86', 'qemu-system-common', 'qemu-system-data', 'seabios'],
    works: dir => isNewEnough(join(dir, 'usr', 'bin', 'qemu-system-x86_64')),
  })
}

/** The first release that has it is newer than the C library here, so that comes with it. */
export function ensureRustVirtiofsd() {
  if (existsSync('/usr/libexec/virtiofsd')) return
  ensureUnpacked({
    name: 'virtiofsd',
    what: 'the virtiofsd written in Rust',
    suiteOf: () => 'trixie',
    packages: ['virtiofsd', 'libc6', 'libcap-ng0', 'libgcc-s1', 'libseccomp2'],
    works(dir) {
      const libraries = join(dir, LIBRARIES)
      const program = join(dir, 'usr', 'libexec', 'virtiofsd')
      const args = ['--library-path', libraries, program, '--version']
      return spawnSync(join(libraries, 'ld-linux-x86-64.so.2'), args).status === 0
    },
  })
}

/** The newest build of OpenDAL's binding needs this one. Where the machine's own is newer, Node runs as it is. */
const FIRST_GLIBC_MINOR = 38
const LIBC = 'libc'

function isLibcNewer() {
  const { glibcVersionRuntime = '' } = process.report.getReport().header
  return Number(glibcVersionRuntime.split('.')[1]) >= FIRST_GLIBC_MINOR
}

/** True if the newest build of OpenDAL's binding can be tested, with this machine's C library or with the unpacked one. */
export function hasNewerLibc() {
  return isLibcNewer() || existsSync(join(root, '.cache', LIBC))
}

/** A C library on which the newest build of OpenDAL's binding loads. */
export function ensureNewerLibc() {
  if (isLibcNewer()) return
  ensureUnpacked({
    name: LIBC,
    what: 'a newer C library',
    suiteOf: () => 'trixie',
    packages: ['libc6', 'libgcc-s1', 'libstdc++6'],
    works(dir) {
      const libraries = join(dir, LIBRARIES)
      const args = ['--library-path', libraries, process.execPath, '--version']
      return spawnSync(join(libraries, 'ld-linux-x86-64.so.2'), args).status === 0
    },
  })
}

/** Makes .cache/NAME what the packages hold, unless it is there and works. */
function ensureUnpacked({ name, what, suiteOf, packages, works }) {
  const dir = join(root, '.cache', name)
  if (works(dir)) return
  note(`fetching ${what} (unpacked into .cache, not installed)`)
  const fresh = `${dir}.${process.pid}`
  mkdirSync(fresh, { recursive: true })
  try {
    const archives = fromArchive(apt => download(join(fresh, 'apt'), apt, suiteOf, packages))
    if (archives === undefined) throw new Missing(`${what} cannot be had from this machine's apt sources`)
    for (const archive of archives) run('dpkg-deb', ['-x', archive, fresh])
    if (!works(fresh)) throw new Missing(`${what} does not run here`)
    rmSync(join(fresh, 'apt'), { recursive: true })
    rmSync(dir, { recursive: true, force: true })
    renameSync(fresh, dir)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}

/** Downloads packages of another suite of the archive that this machine uses. */
function download(work, apt, suiteOf, packages) {
  const suite = suiteOf(debianRelease(apt)?.codename)
  const args = optionsForSuite(work, apt, suite)
  if (args === undefined) return undefined
  const names = packages.map(name => `${name}/${suite}`)
  const done = spawnSync('apt-get', [...args, 'download', '-q', ...names], { cwd: work, stdio: 'ignore' })
  if (done.status !== 0) return undefined
  return readdirSync(work)
    .filter(name => name.endsWith('.deb'))
    .map(name => join(work, name))
}

/**
 * The apt options for another suite of the archive that this machine uses, with package lists below `work`. Undefined if this machine
 * does not use Debian's archive, or that has no such suite.
 */
export function optionsForSuite(work, apt, suite) {
  const release = debianRelease(apt)
  if (release === undefined || !existsSync(KEYRING)) return undefined
  const sources = join(work, 'sources.list')
  mkdirSync(join(work, 'lists', 'partial'), { recursive: true })
  writeFileSync(sources, `deb [signed-by=${KEYRING}] ${release.uri} ${suite} main\n`)
  const options = [
    `Dir::Etc::sourcelist=${sources}`,
    'Dir::Etc::sourceparts=-',
    `Dir::State::lists=${join(work, 'lists')}`,
  ]
  const args = [...apt, ...options.flatMap(option => ['-o', option]), ...cacheIn(join(work, 'cache'))]
  return spawnSync('apt-get', [...args, 'update', '-q'], { stdio: 'ignore' }).status === 0 ? args : undefined
}

/** Where this machine's own apt gets Debian from, and which release. */
function debianRelease(apt) {
  const format = '$(REPO_URI) $(CODENAME) $(ORIGIN) $(COMPONENT)'
  const args = [...apt, 'indextargets', '--format', format, 'Created-By: Packages']
  const { stdout } = spawnSync('apt-get', args, { encoding: 'utf8' })
  const [, uri, codename] = /^(\S+) (\w+) Debian main$/m.exec(stdout ?? '') ?? []
  return uri === undefined ? undefined : { uri, codename }
}
