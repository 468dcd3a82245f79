// Makes a fresh machine ready: node_modules and, for a guest, QEMU, kernel and busybox. Assumes only Node with npm.
// `node scripts/prepare.mjs [--guest]` does just that; the other scripts import it.

import { argv } from 'node:process'
import { pathToFileURL } from 'node:url'
import { ensureGuest } from './debian.mjs'
import { end } from './step.mjs'
import { ensureInstalled, ensureNode } from './workspace.mjs'

/** @param {{ guest: boolean }} what */
export function prepare({ guest }) {
  ensureNode()
  if (guest) ensureGuest()
  ensureInstalled()
}

if (import.meta.url === pathToFileURL(argv[1] ?? '').href) {
  try {
    prepare({ guest: argv.includes('--guest') })
  } catch (error) {
    end(error)
  }
}
