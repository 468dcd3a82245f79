// Prepares a fresh machine that has only Node with npm: node_modules; for a guest also QEMU, a kernel and busybox; for the tests also
// storage servers, the disk of a Debian guest, an arm64 user space, and newer releases of Node. Run it as
// `node scripts/prepare.mjs [--guest] [--tests]`; other scripts import it.

import { argv } from 'node:process'
import { pathToFileURL } from 'node:url'
import { ensureArm64 } from './arm64.mjs'
import { ensureArm64Guest, ensureGuest, ensureTestPrograms, ensureTrixieGuest } from './debian.mjs'
import { ensureGuestImage } from './guest-image.mjs'
import { ensureMigrationQemu, ensureNewerLibc, ensureRustVirtiofsd } from './newer-debian.mjs'
import { ensureNodes } from './nodes.mjs'
import { ensureServers } from './servers.mjs'
import { end, Missing, note } from './step.mjs'
import { ensureInstalled, ensureNode } from './workspace.mjs'

/** @param {{ guest?: boolean, tests?: boolean }} what `tests` includes the guest */
export function prepare({ guest = false, tests = false }) {
  ensureNode()
  if (guest || tests) ensureGuest()
  if (tests) {
    ensureTestPrograms()
    ensureOrNote(ensureServers)
    ensureGuestImage()
    ensureOrNote(ensureArm64Guest)
    ensureOrNote(ensureTrixieGuest)
    ensureOrNote(ensureMigrationQemu)
    ensureOrNote(ensureRustVirtiofsd)
    ensureOrNote(ensureNewerLibc)
  }
  ensureInstalled()
  if (tests) {
    ensureOrNote(ensureArm64)
    ensureNodes()
  }
}

/** For what single tests need: these name it when they are skipped. */
function ensureOrNote(step) {
  try {
    step()
  } catch (error) {
    if (!(error instanceof Missing)) throw error
    note(error.message)
  }
}

if (import.meta.url === pathToFileURL(argv[1] ?? '').href) {
  try {
    prepare({ guest: argv.includes('--guest'), tests: argv.includes('--tests') })
  } catch (error) {
    end(error)
  }
}
