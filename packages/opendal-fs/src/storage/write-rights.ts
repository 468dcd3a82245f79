// Warns once if the credentials lack the right to write or to delete. The start does not test these rights, so the first change
// that the service refuses shows it. Later refusals are not repeated.

import { refusalOf } from './service-answer.ts'
import type { StorageError } from './storage-error.ts'

type Right = 'write' | 'delete'

const CHANGING: ReadonlySet<string> = new Set(['write', 'close', 'copy', 'create_dir', 'rename', 'delete'])

const CONSEQUENCE: Readonly<Record<Right, string>> = {
  write:
    'changes to files and directories fail with EACCES. Grant the right to write and delete objects, or serve the share read-only',
  delete: 'removing and renaming files fail with EACCES. Grant the right to delete objects',
}

export class WriteRights {
  readonly #onRefused: (message: string) => void
  readonly #told = new Set<Right>()
  readonly #seen = new Set<Right>()

  /** @param onRefused called once for each missing right */
  constructor(onRefused: (message: string) => void) {
    this.#onRefused = onRefused
  }

  /** A change has succeeded. */
  succeeded(operation: string): void {
    this.#seen.add(rightFor(operation))
  }

  /** Any operation has failed; failures of operations that change nothing are ignored. */
  failed(error: StorageError): void {
    const { operation, key } = error
    if (!CHANGING.has(operation)) return
    const right = rightFor(operation)
    const refusal = refusalOf(error)
    // A 403 without a code may be about this name alone, if other changes have succeeded.
    if (refusal !== 'access' && (refusal !== 'unclear' || this.#seen.has(right))) return
    // The warning about writing covers deleting.
    if (this.#told.has(right) || this.#told.has('write')) return
    this.#told.add(right)
    this.#onRefused(
      `the credentials may not ${right} ${JSON.stringify(key)}, and perhaps no other object: ${CONSEQUENCE[right]}`,
    )
  }
}

function rightFor(operation: string): Right {
  return operation === 'delete' ? 'delete' : 'write'
}
