// How a preparation step speaks and fails. Progress goes to stderr in short lines; a step's own output is shown only when
// the step fails. Runs before anything is installed: plain Node, no dependencies.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** The repository. */
export const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '')

/** Something that only the user can provide; the message is one line that says how. Ends the program with status 2. */
export class Missing extends Error {}

/** @param {string} text */
export function note(text) {
  process.stderr.write(`ovfs: ${text}\n`)
}

/**
 * Runs a command in the repository and throws with its output unless it succeeds.
 * @param {string} command
 * @param {string[]} args
 * @param {import('node:child_process').SpawnSyncOptions} [options]
 */
export function run(command, args, options = {}) {
  const done = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
  })
  if (done.error) throw done.error
  if (done.status === 0) return
  const output = `${done.stdout}${done.stderr}`.trim()
  throw new Error(
    `${[command, ...args].join(' ')} failed (${done.signal ?? `status ${done.status}`})\n${output}`,
  )
}

/**
 * Ends the program for an error: one line and status 2 for what is missing, all that is known and status 1 for the rest.
 * @param {unknown} error
 * @returns {never}
 */
export function end(error) {
  if (error instanceof Missing) {
    note(error.message)
    process.exit(2)
  }
  note(error instanceof Error ? error.message : String(error))
  process.exit(1)
}
