// What a storage operation fails with, and which errno a Linux program sees for it. OpenDAL's JavaScript errors carry their
// kind in the text only: `Kind (status) at operation, context: { .. } => message, source: ..`. The text may hold URLs and
// headers: it goes to the host's log, never to a guest.

import { Errno, type ErrnoName, errnoName, FsError } from '@ovfs/fuse-proto'
import { answerOf, refusalOf } from './service-answer.ts'

/** OpenDAL's error kinds, and ours: a deadline that passed, and a text that is no OpenDAL error. */
export type StorageErrorKind =
  | 'Unexpected'
  | 'Unsupported'
  | 'ConfigInvalid'
  | 'NotFound'
  | 'PermissionDenied'
  | 'IsADirectory'
  | 'NotADirectory'
  | 'AlreadyExists'
  | 'RateLimited'
  | 'IsSameFile'
  | 'ConditionNotMatch'
  | 'RangeNotSatisfied'
  | 'Deadline'
  | 'Unknown'

const ERRNO_OF_KIND: Readonly<Record<StorageErrorKind, ErrnoName>> = {
  Unexpected: 'EIO',
  Unsupported: 'EOPNOTSUPP',
  // A bucket that does not exist any more: nothing that the program in the guest could name or mend.
  ConfigInvalid: 'EIO',
  NotFound: 'ENOENT',
  PermissionDenied: 'EACCES',
  IsADirectory: 'EISDIR',
  NotADirectory: 'ENOTDIR',
  AlreadyExists: 'EEXIST',
  // Still limited after the retries: EAGAIN would make programs spin that take it for a non-blocking file.
  RateLimited: 'EIO',
  IsSameFile: 'EINVAL',
  // The object is not the version that the operation was meant for.
  ConditionNotMatch: 'ESTALE',
  // Reads are clamped to the known size, so the object has shrunk.
  RangeNotSatisfied: 'ESTALE',
  // ETIMEDOUT is not an answer that programs expect from a file.
  Deadline: 'EIO',
  Unknown: 'EIO',
}

const SHAPE = /^(\w+) \((permanent|temporary|persistent)\) at /
const OS_ERROR = /\(os error (\d+)\)\s*$/
const KEY_TOO_LONG: ReadonlySet<string | undefined> = new Set(['KeyTooLongError', 'KeyTooLong'])
/** The last arrow of the text. An earlier arrow may be part of the key. */
const LOST_RANGE = / => reader got too (?:little|much) data(?:(?! => ).)*$/s
const UNSENT = / => send http request(?:(?! => ).)*$/s
/**
 * S3's CopyObject may answer 200 with an error in the body. Newer builds of the binding notice it; 0.49.2 reports success, and the look at
 * the target shows that it has not been copied. With both, the bytes go through the host then.
 */
function isErrorInSuccess(error: unknown): boolean {
  const { status = 0 } = answerOf(error)
  return status >= 200 && status < 300
}

/** Newer builds of the binding report a copy that failed temporarily as `persistent` on some services, although they did not retry it. */
function isLabelledPersistent(error: unknown, text: string): boolean {
  const { status = 0 } = answerOf(error)
  return /^\w+ \(persistent\) at copy, /.test(text) && (status === 429 || status >= 500 || UNSENT.test(text))
}

/** The binding panics if the requested range is beyond the end of a value that has become shorter. */
const PANIC = 'Panic in async function'

export class StorageError extends FsError {
  readonly kind: StorageErrorKind
  /** The same operation may succeed a moment later. */
  readonly transient: boolean
  readonly operation: string
  /** The key, as OpenDAL was given it. */
  readonly key: string

  constructor(
    kind: StorageErrorKind,
    errno: ErrnoName,
    transient: boolean,
    operation: string,
    key: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(errno, `${operation} ${JSON.stringify(key)}: ${message}`, options)
    this.name = 'StorageError'
    this.kind = kind
    this.transient = transient
    this.operation = operation
    this.key = key
  }
}

/** @param error what an OpenDAL call rejected with */
export function toStorageError(error: unknown, scheme: string, operation: string, key: string): StorageError {
  if (error instanceof StorageError) return error
  const text = error instanceof Error ? error.message : String(error)
  const shape = SHAPE.exec(text)
  let kind: StorageErrorKind = 'Unknown'
  let transient = false
  if (shape !== null) {
    const [, word, status] = shape
    if (word === 'Conflict') kind = 'ConditionNotMatch'
    else if (word !== undefined && Object.hasOwn(ERRNO_OF_KIND, word)) kind = word as StorageErrorKind
    transient = status === 'temporary' || (operation === 'copy' && isLabelledPersistent(error, text))
  }
  if (operation === 'copy' && isErrorInSuccess(error)) {
    kind = 'Unexpected'
    transient = false
  }
  const isRangeLost = answerOf(error).status === 416 || LOST_RANGE.test(text)
  if (kind === 'Unexpected' && operation === 'read' && isRangeLost) kind = 'RangeNotSatisfied'
  // S3 refuses an expired token with status 400, for which OpenDAL has no kind.
  if (refusalOf(error) === 'credentials') kind = 'PermissionDenied'
  if (kind === 'Unknown' && operation === 'read' && text === PANIC) kind = 'RangeNotSatisfied'
  let errno = ERRNO_OF_KIND[kind]
  if (KEY_TOO_LONG.has(answerOf(error).code)) errno = 'ENAMETOOLONG'
  if (scheme === 'fs') {
    errno = osErrno(text) ?? errno
    // The local kernel's word is final; OpenDAL calls even ENOTEMPTY temporary.
    transient = false
    if (errno === 'ENOENT') kind = 'NotFound'
  }
  return new StorageError(kind, errno, transient, operation, key, text, { cause: error })
}

/** OpenDAL would change the key, so nothing was sent to the service. */
export class UnaddressableKey extends FsError {
  readonly key: string

  constructor(operation: string, key: string) {
    super('EIO', `${operation} ${JSON.stringify(key)}: OpenDAL would take this key for another one`)
    this.name = 'UnaddressableKey'
    this.key = key
  }
}

/** The service cannot do the operation, or not with this object. Retrying does not help. */
export function isUnsupported({ kind, code, transient }: StorageError): boolean {
  return kind === 'Unsupported' || (kind === 'Unexpected' && code === 'EIO' && !transient)
}

/** The service lacks the operation altogether. */
export function hasNoOperation(error: StorageError): boolean {
  const { status, code } = answerOf(error.cause)
  const isMissing = status === 405 || status === 501 || code === 'NotImplemented'
  return error.kind === 'Unsupported' || (isUnsupported(error) && isMissing)
}

/** The service has answered, if only to refuse; false if a request may not have reached it. */
export function isAnswer(error: unknown): boolean {
  const text = error instanceof Error ? error.message : String(error)
  const kind = SHAPE.exec(text)?.[1]
  return (kind !== undefined && kind !== 'Unexpected') || answerOf(error).status !== undefined
}

/** @param answers the service answers other requests */
export function deadlineError(
  operation: string,
  key: string,
  milliseconds: number,
  answers = false,
): StorageError {
  const message = answers
    ? `not done within ${milliseconds} ms, although the service answers other requests`
    : `no answer from the service within ${milliseconds} ms`
  return new StorageError('Deadline', ERRNO_OF_KIND.Deadline, false, operation, key, message)
}

/** The object is no longer the version that the operation was meant for. */
export function versionLostError(operation: string, key: string): StorageError {
  const message = 'another version of the object has taken its place'
  return new StorageError('ConditionNotMatch', 'ESTALE', false, operation, key, message)
}

export function isNotFound(error: unknown): boolean {
  return error instanceof StorageError && error.kind === 'NotFound'
}

const UNCERTAIN: ReadonlySet<StorageErrorKind> = new Set(['Unexpected', 'RateLimited', 'Deadline', 'Unknown'])

/** The change may have happened all the same. */
export function isUncertain({ kind }: StorageError): boolean {
  return UNCERTAIN.has(kind)
}

/** The object under the key is another version than the one that was asked for. */
export function isVersionLost(error: unknown): boolean {
  return (
    error instanceof StorageError &&
    (error.kind === 'ConditionNotMatch' || error.kind === 'RangeNotSatisfied' || error.kind === 'NotFound')
  )
}

function osErrno(text: string): ErrnoName | undefined {
  const match = OS_ERROR.exec(text)
  if (match === null || !text.includes('service: fs')) return undefined
  const name = errnoName(Number(match[1]))
  return Object.hasOwn(Errno, name) ? (name as ErrnoName) : undefined
}
