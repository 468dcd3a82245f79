// The guest's user space: busybox, the kernel modules that a virtio-fs mount needs, and /init. The base is the same for
// every boot and cached by its content; what a boot adds (its script, its shares) is a second archive behind it.
// Assumes that scripts/prepare.mjs has unpacked kernel and busybox into a folder of .cache.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as zlib from 'node:zlib'
import { type CpioEntry, cpioArchive } from './cpio.ts'
import { INIT } from './init.ts'
import { type Machine, x64 } from './machine.ts'

/** The repository, wherever this module runs from: the source, or its compiled form below tests/dist. */
export const repository = findRepository()
const cache = join(repository, '.cache')

/** Modules to load by name; what they depend on is found in the modules themselves. A name that is not there is built in. */
const MODULES = ['virtio_pci', 'virtiofs']

export interface GuestFiles {
  kernel: string
  /** The folder of its modules, in any layout; undefined if everything that a guest needs is built in. */
  modules?: string | undefined
  /** One that needs no libraries. */
  busybox: string
}

/** Where the guest's parts are, or undefined when they have not been unpacked. */
export function guestFiles(machine: Machine = x64): GuestFiles | undefined {
  const dir = join(cache, machine.folder)
  if (!existsSync(join(dir, 'guest.json'))) return undefined
  const parts = JSON.parse(readFileSync(join(dir, 'guest.json'), 'utf8')) as Required<GuestFiles>
  return {
    kernel: join(dir, parts.kernel),
    modules: parts.modules && join(dir, parts.modules),
    busybox: join(dir, parts.busybox),
  }
}

/** The base archive, built once for each combination of kernel, busybox, /init and modules. */
export function baseInitramfs(files: GuestFiles, moreModules: readonly string[] = []): Buffer {
  const wanted = [...MODULES, ...moreModules]
  const identity = createHash('sha256').update(readFileSync(files.busybox)).update(files.kernel)
  identity
    .update(`${statSync(files.kernel).mtimeMs} ${files.modules}`)
    .update(INIT)
    .update(wanted.join())
  const path = join(cache, 'initramfs', `${identity.digest('hex').slice(0, 16)}.cpio`)
  if (existsSync(path)) return readFileSync(path)
  const runnable = guestFiles()?.busybox ?? files.busybox
  const archive = cpioArchive([...program(files.busybox, runnable), ...modules(files, wanted, runnable)])
  mkdirSync(join(cache, 'initramfs'), { recursive: true })
  const unfinished = `${path}.${process.pid}`
  writeFileSync(unfinished, archive)
  renameSync(unfinished, path)
  return archive
}

/** `runnable` is a busybox that runs here. That of another processor has the same applets: it comes from the same source package. */
function program(busybox: string, runnable: string): CpioEntry[] {
  const { stdout } = spawnSync(runnable, ['--list'], { encoding: 'utf8' })
  const applets = stdout.split('\n').filter(name => name !== '' && name !== 'busybox')
  return [
    { path: 'init', kind: 'file', mode: 0o755, data: Buffer.from(INIT) },
    { path: 'bin/busybox', kind: 'file', mode: 0o755, data: readFileSync(busybox) },
    ...applets.map(name => ({ path: `bin/${name}`, kind: 'symlink', target: 'busybox' }) as const),
    ...['dev', 'proc', 'sys', 'tmp', 'mnt', 'etc', 'guest'].map(
      path => ({ path, kind: 'directory' }) as const,
    ),
    { path: 'etc/passwd', kind: 'file', data: Buffer.from('root:x:0:0:root:/root:/bin/sh\n') },
    { path: 'etc/group', kind: 'file', data: Buffer.from('root:x:0:\n') },
  ]
}

/** The modules under the names that /init loads in alphabetical order: a number, then the module's own name. */
function modules(files: GuestFiles, wanted: readonly string[], runnable: string): CpioEntry[] {
  if (files.modules === undefined) return []
  const found = new Map<string, string>()
  for (const path of readdirSync(files.modules, { recursive: true, encoding: 'utf8' })) {
    const name = /^(.+)\.ko(\.xz|\.zst|\.gz)?$/.exec(basename(path))?.[1]
    if (name !== undefined) found.set(name.replaceAll('-', '_'), join(files.modules, path))
  }
  const loaded = new Map<string, Buffer>()
  const load = (name: string): void => {
    const path = found.get(name)
    if (path === undefined || loaded.has(name)) return
    const code = uncompressed(path, runnable)
    for (const needed of dependencies(code)) load(needed)
    loaded.set(name, code)
  }
  for (const name of wanted) load(name)
  return [...loaded].map(([name, data], index) => {
    return { path: `modules/${String(index).padStart(2, '0')}-${name}.ko`, kind: 'file', data }
  })
}

/** The `depends=` line that modpost writes into each module's .modinfo section, as NUL-terminated text. */
function dependencies(code: Buffer): string[] {
  const key = '\0depends='
  const start = code.indexOf(key)
  if (start < 0) return []
  const text = code.toString('latin1', start + key.length, code.indexOf(0, start + key.length))
  return text
    .split(',')
    .filter(name => name !== '')
    .map(name => name.replaceAll('-', '_'))
}

/** Distributions compress their modules with xz (Debian 13, Fedora), zstd (Ubuntu, Arch) or gzip. */
function uncompressed(path: string, runnable: string): Buffer {
  const packed = readFileSync(path)
  switch (extname(path)) {
    case '.gz':
      return zlib.gunzipSync(packed)
    case '.xz':
      return unpack([runnable, 'xz', '-dc'], path)
    case '.zst':
      // Node 20 has no zstd.
      return 'zstdDecompressSync' in zlib
        ? (zlib.zstdDecompressSync as typeof zlib.gunzipSync)(packed)
        : unpack(['zstd', '-dc'], path)
    default:
      return packed
  }
}

function unpack([program, ...args]: [string, ...string[]], path: string): Buffer {
  const done = spawnSync(program, [...args, path], { maxBuffer: 1 << 28 })
  if (done.status !== 0) {
    throw new Error(`cannot unpack ${path} with ${program}: ${done.error?.message ?? done.stderr}`)
  }
  return done.stdout
}

function findRepository(): string {
  let dir = fileURLToPath(new URL('.', import.meta.url))
  while (!existsSync(join(dir, 'pnpm-workspace.yaml'))) {
    const parent = join(dir, '..')
    if (parent === dir) throw new Error(`${import.meta.url} is not inside the repository`)
    dir = parent
  }
  return dir
}
