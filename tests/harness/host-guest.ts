// What this machine itself has to make a guest of, where no package of a kernel can be fetched: kernels with virtio-fs, and a busybox.
// A kernel lies in /boot or beside its modules in /lib/modules/VERSION, and some distributions let only root read it.

import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
} from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'

export interface HostKernel {
  readonly kernel: string
  readonly modules: string
}

/** A kernel with virtio-fs that this user may read, or why there is none. The running one is preferred, then the newest. */
export function hostKernel(root = '/', running = release()): HostKernel | string {
  const folder = join(root, 'lib', 'modules')
  const versions = existsSync(folder) ? readdirSync(folder) : []
  versions.sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
  if (versions.includes(running)) versions.unshift(running)
  const unreadable: string[] = []
  for (const version of versions) {
    const modules = join(folder, version)
    if (!hasVirtioFs(modules)) continue
    const kernels = [join(root, 'boot', `vmlinuz-${version}`), join(modules, 'vmlinuz')]
    const readable = kernels.find(isReadable)
    if (readable !== undefined) return { kernel: readable, modules }
    unreadable.push(...kernels.filter(kernel => existsSync(kernel)))
  }
  if (unreadable.length > 0) return `only root may read ${unreadable.join(' and ')}`
  return `no kernel with virtio-fs is in ${join(root, 'boot')} and ${folder}`
}

/** Built in, or as a module in any compression. */
function hasVirtioFs(modules: string): boolean {
  const builtIn = join(modules, 'modules.builtin')
  if (existsSync(builtIn) && /\/virtiofs\.ko$/m.test(readFileSync(builtIn, 'utf8'))) return true
  const folder = join(modules, 'kernel', 'fs', 'fuse')
  return existsSync(folder) && readdirSync(folder).some(name => name.startsWith('virtiofs.ko'))
}

/** The modules that belong to a kernel file, by the version that a bzImage names in its header; undefined if there are none. */
export function modulesOf(kernel: string, root = '/'): string | undefined {
  const version = bootVersion(kernel)
  if (version === undefined) return undefined
  const modules = join(root, 'lib', 'modules', version)
  return existsSync(modules) ? modules : undefined
}

/** Documentation/arch/x86/boot.rst: "HdrS" at 0x202; at 0x20e, less 0x200, the offset of a text that begins with the version. */
function bootVersion(kernel: string): string | undefined {
  const header = Buffer.alloc(0x8000)
  const file = openSync(kernel, 'r')
  try {
    readSync(file, header)
  } finally {
    closeSync(file)
  }
  if (header.toString('latin1', 0x202, 0x206) !== 'HdrS') return undefined
  const start = header.readUInt16LE(0x20e) + 0x200
  return /^[^ \0]+/.exec(header.toString('latin1', start, start + 256))?.[0]
}

/** The first busybox of the PATH that a guest without libraries can run; Alpine names it busybox.static. */
export function staticBusybox(path = process.env.PATH ?? ''): string | undefined {
  const folders = [...path.split(':'), '/usr/sbin', '/sbin']
  const programs = folders.flatMap(folder => [join(folder, 'busybox'), join(folder, 'busybox.static')])
  return programs.find(program => isReadable(program) && isStatic(program))
}

const PT_INTERP = 3

/** elf(5): a 64-bit program whose headers name no interpreter. */
function isStatic(program: string): boolean {
  const bytes = readFileSync(program)
  if (bytes.length < 64 || bytes.toString('latin1', 0, 5) !== '\x7fELF\x02') return false
  const start = Number(bytes.readBigUInt64LE(32))
  const size = bytes.readUInt16LE(54)
  const count = bytes.readUInt16LE(56)
  for (let i = 0; i < count; i++) {
    const at = start + i * size
    if (at + 4 > bytes.length || bytes.readUInt32LE(at) === PT_INTERP) return false
  }
  return true
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK)
    return true
  } catch {
    return false
  }
}
