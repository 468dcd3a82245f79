// A QEMU that can migrate a vhost-user-fs device. Debian 12's own cannot; scripts/prepare.mjs then unpacks one that can.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { repository } from './initramfs.ts'

const UNPACKED = join(repository, '.cache', 'qemu', 'usr', 'bin', 'qemu-system-x86_64')
/** 8.2 moves the state of a vhost-user-fs back-end too, but no release of Debian has it. */
const FIRST = 9

/** The program, or undefined if there is none on this machine. */
export function migrationQemu(): string | undefined {
  return [UNPACKED, 'qemu-system-x86_64'].find(program => majorVersion(program) >= FIRST)
}

function majorVersion(program: string): number {
  if (program.startsWith('/') && !existsSync(program)) return 0
  const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' })
  return Number(/version (\d+)\./.exec(stdout ?? '')?.[1] ?? 0)
}
