// Credentials that may read and not write show only when something is written: nothing is written at the start to find out. The
// first refusal is told, with what is missing, and not repeated for each change that fails after it.

import { refusalOf } from './service-answer.ts'
import type { StorageError } from './storage-error.ts'

type Right = 'write' | 'delete'

const CHANGING: ReadonlySet<string> = new Set(['write', 'close', 'copy', 'create_dir', 'rename', 'delete'])

const CONSEQUENCE: Readonly<Record<Right, string>> = {
  write:
    'what changes a file or directory fails with EACCES. Grant the right to write and delete objects, or serve the share read-only',
  delete: 'removing and renaming fail with EACCES. Grant the right to delete objects',
}

export class WriteRights {
  readonly #onRefused: (message: string) => void
  readonly #told = new Set<Right>()
  readonly #seen = new Set<Right>()

  /** @param onRefused told once of each right that is missing */
  constructor(onRefused: (message: string) => void) {
    this.#onRefused = onRefused
  }

  /** A change has succeeded. */
  succeeded(operation: string): void {
    this.#seen.add(rightFor(operation))
  }

  /** An operation, which need not be a change, has failed. */
  failed(error: StorageError): void {
    const { operation, key } = error
    if (!CHANGING.has(operation)) return
    const right = rightFor(operation)
    const refusal = refusalOf(error)
    // A 403 without a code may be about this name alone, if other changes have succeeded.
    if (refusal !== 'access' && (refusal !== 'unclear' || this.#seen.has(right))) return
    // Who was told that nothing can be written expects that nothing can be deleted.
    if (this.#told.has(right) || this.#told.has('write')) return
    this.#told.add(right)
    this.#onRefused(
      `the credentials may not ${right} ${JSON.stringify(key)}, and maybe nothing else: ${CONSEQUENCE[right]}`,
    )
  }
}

function rightFor(operation: string): Right {
  return operation === 'delete' ? 'delete' : 'write'
}
