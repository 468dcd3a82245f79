// What went wrong while serving, as log events: what the guest asked, what the service said, what to do. A guest can cause as
// many failures as it likes, so there is a limit to how many a second are written.

import { AbandonedUpload, ConflictError, StorageError } from '@ovfs/opendal-fs'
import type { VhostUserError, VhostUserErrorCode } from '@ovfs/virtio-fs'
import type { LogFields } from './log.ts'
import { adviceFor, readFailure } from './storage-failure.ts'
import type { Storage } from './uri.ts'

export interface Trouble {
  readonly message: string
  readonly fields: LogFields
}

/** What the file system reports: mostly a storage operation that failed, where the guest was told `error.code`. */
export function fileSystemTrouble(error: Error, storage: Storage): Trouble {
  if (error instanceof ConflictError) {
    return {
      message: 'a file was changed by somebody else: theirs is in the storage, what the guest wrote was kept',
      fields: { path: error.path, errno: error.code, kept: error.kept, missing: error.missing || undefined },
    }
  }
  if (error instanceof AbandonedUpload) {
    return {
      message: 'an upload in parts was given up: the parts that were sent stay at the service',
      fields: {
        path: error.key,
        bytes: error.bytes,
        // A failure of the service has a line of its own.
        because: typeof error.cause === 'string' ? error.cause : 'the upload failed',
        hint: 'give the bucket a lifecycle rule that removes incomplete multipart uploads',
      },
    }
  }
  if (!(error instanceof StorageError))
    return otherTrouble('the file system failed outside of a request', error)
  const failure = error.kind === 'Deadline' ? undefined : readFailure(error.cause ?? error)
  return {
    message: 'storage operation failed',
    fields: {
      operation: error.operation,
      path: error.key,
      errno: error.code,
      error:
        failure === undefined ? 'no answer within the time limit' : `${failure.kind}, ${failure.message}`,
      hint:
        failure === undefined
          ? 'check the network and the service, or raise --timeout'
          : adviceFor(failure, storage.service, storage.options),
    },
  }
}

/** What the device reports: mostly a front-end or driver that broke a rule. */
export function frontendTrouble(error: VhostUserError): Trouble {
  const trouble = otherTrouble('the front-end or its driver broke a rule', error)
  const special = SPECIAL[error.code]
  if (!special) return trouble
  return { message: special[0], fields: { ...trouble.fields, hint: special[1] } }
}

const SPECIAL: Partial<Record<VhostUserErrorCode, readonly [message: string, hint: string]>> = {
  FD_STORE: [
    'the front-end will be lost when this daemon ends',
    'set FileDescriptorStoreMax=512 in the unit, or give --no-fd-store',
  ],
  TAKEOVER: [
    'the front-end of the last daemon was disconnected',
    'set FileDescriptorStoreMax=512 in the unit, and restart the virtual machine',
  ],
}

/** An error of another kind: a guest or front-end that breaks the rules, or a defect. */
export function otherTrouble(message: string, error: unknown, fields: LogFields = {}): Trouble {
  const failure = error instanceof Error ? error : new Error(String(error))
  const code = (failure as { code?: unknown }).code
  return {
    message,
    fields: {
      ...fields,
      code: typeof code === 'string' ? code : undefined,
      error: failure.message,
      cause: causeOf(failure),
    },
  }
}

function causeOf(error: Error): string | undefined {
  if (error.cause === undefined) return undefined
  return error.cause instanceof Error ? error.cause.message : String(error.cause)
}

const MOST_A_SECOND = 20

/** Passes on at most twenty events a second; says, with the first of a later second, how many it has swallowed. */
export class TroubleLimit {
  readonly #pass: (trouble: Trouble) => void
  readonly #now: () => number
  #second = -1
  #passed = 0
  #swallowed = 0

  constructor(pass: (trouble: Trouble) => void, now: () => number) {
    this.#pass = pass
    this.#now = now
  }

  report(trouble: Trouble): void {
    const second = Math.floor(this.#now() / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#passed = 0
      if (this.#swallowed > 0) {
        this.#pass({ message: 'further failures were not shown', fields: { count: this.#swallowed } })
        this.#swallowed = 0
      }
    }
    if (this.#passed < MOST_A_SECOND) {
      this.#passed++
      this.#pass(trouble)
    } else {
      this.#swallowed++
    }
  }
}
