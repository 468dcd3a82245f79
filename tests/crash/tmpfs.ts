// A small disk for a test. Mounting takes root, as the tests have in a container or a CI machine with sudo.

import { spawnSync } from 'node:child_process'

/** Throws with the program's own words where it may not be done. */
export function mountTmpfs(path: string, options: string): void {
  run(['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', path])
}

export function unmount(path: string): void {
  run(['umount', '--lazy', path])
}

function run(command: readonly string[]): void {
  const words = process.getuid?.() === 0 ? command : ['sudo', '--non-interactive', ...command]
  const { status, stderr, error } = spawnSync(words[0]!, words.slice(1), { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${words.join(' ')}: ${error?.message ?? stderr}`)
}
