// The archive of Debian or Ubuntu through this machine's own apt sources: packages that are only downloaded, which needs no root.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { onPath } from './package-manager.mjs'
import { Missing, root, run } from './step.mjs'

const aptDir = join(root, '.cache', 'apt')
/** Package lists that are as new as this process. */
const updated = new Set()

/**
 * Runs `fetch` with apt options that name usable package lists, until it returns something else than undefined. The
 * machine's own lists come first; they may be absent or name versions that the archive has dropped, and then lists of our own.
 * @template T
 * @param {(apt: string[]) => T | undefined} fetch
 * @param {string} [architecture] of the packages, if it is not this machine's, whose own lists then hold none of them
 * @returns {T | undefined}
 */
export function fromArchive(fetch, architecture) {
  if (!onPath('apt-get') || !onPath('dpkg-deb')) {
    throw new Missing('this machine has no apt-get and dpkg-deb to fetch Debian packages with')
  }
  const options = process.getuid?.() === 0 ? ['-o', 'APT::Sandbox::User=root'] : []
  if (architecture === undefined) {
    const found = fetch(options)
    if (found !== undefined) return found
  } else {
    options.push('-o', `APT::Architecture=${architecture}`, '-o', `APT::Architectures=${architecture}`)
  }

  const lists = join(aptDir, 'lists', architecture ?? '')
  mkdirSync(join(lists, 'partial'), { recursive: true })
  const own = [...options, '-o', `Dir::State::lists=${lists}`, ...cacheIn(join(aptDir, 'cache'))]
  if (!updated.has(lists)) run('apt-get', [...own, 'update', '-q'])
  updated.add(lists)
  return fetch(own)
}

/**
 * The apt options for a cache folder that this user can write.
 * @param {string} dir
 */
export function cacheIn(dir) {
  mkdirSync(join(dir, 'archives', 'partial'), { recursive: true })
  return ['-o', `Dir::Cache=${dir}`]
}
