// What `npm install @ovfs/cli` leaves, made from this workspace: the packages as they are published, with all that they depend on, in
// one node_modules; and the program that runs them. For guests.

import { cp, mkdir, readFile, realpath } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { repository } from './initramfs.ts'

interface Manifest {
  readonly files?: readonly string[]
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

/** Fills `dir` with `bin/node` and `node_modules`. */
export async function installOvfs(dir: string): Promise<void> {
  await mkdir(join(dir, 'bin'), { recursive: true })
  await cp(process.execPath, join(dir, 'bin', 'node'), { dereference: true })
  await install(join(repository, 'packages', 'cli'), '@ovfs/cli', join(dir, 'node_modules'), new Set())
}

async function install(source: string, name: string, modules: string, installed: Set<string>): Promise<void> {
  if (installed.has(name)) return
  installed.add(name)
  const manifest = JSON.parse(await readFile(join(source, 'package.json'), 'utf8')) as Manifest
  const own = join(source, 'node_modules')
  await cp(source, join(modules, name), {
    recursive: true,
    filter: path => path !== own && (!name.startsWith('@ovfs/') || published(manifest, source, path)),
  })
  const wanted = { ...manifest.dependencies, ...manifest.optionalDependencies }
  for (const dependency of Object.keys(wanted)) {
    const found = await find(source, dependency)
    if (found !== undefined) await install(found, dependency, modules, installed)
    // Of those that are optional, most are for other machines.
    else if (manifest.dependencies?.[dependency] !== undefined)
      throw new Error(`${dependency} is not installed`)
  }
}

/** package.json and what it says under `files`. */
function published({ files = [] }: Manifest, source: string, path: string): boolean {
  if (path === source) return true
  const [top] = path.slice(source.length + 1).split('/')
  return top === 'package.json' || files.includes(top!)
}

/** Where a package is for another, as Node looks for it. */
async function find(from: string, name: string): Promise<string | undefined> {
  const places = createRequire(join(await realpath(from), 'package.json')).resolve.paths(name) ?? []
  for (const place of places) {
    const manifest = await realpath(join(place, name, 'package.json')).catch(() => undefined)
    if (manifest !== undefined) return dirname(manifest)
  }
  return undefined
}
