// Programs for arm64 on this machine. Assumes that scripts/prepare.mjs has unpacked the emulator and Node into .cache/arm64.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from './initramfs.ts'

/** Node for arm64, as an ordinary program. */
export const ARM64_NODE = join(repository, 'tests', 'arm64', 'node')

/** What it is made of: Node, native modules, and the libraries that they need. */
export const ARM64_FILES = join(repository, '.cache', 'arm64')

/** Names what is missing before ARM64_NODE runs. */
export function missingForArm64(): string | undefined {
  if (process.arch !== 'x64') return 'an x86-64 machine'
  return existsSync(join(ARM64_FILES, 'arm64.json'))
    ? undefined
    : 'an arm64 user space (node scripts/prepare.mjs --tests)'
}
