// Reads the HTTP status and the error code from the text of OpenDAL's error, and says what a refusal is about. The middle of that
// text, the context, repeats the key, which a guest chooses. So the status is read only from the text before the context, and the
// code only from the text after it.

import type { Operator } from './binding.ts'

export interface ServiceAnswer {
  /** The HTTP status; undefined if there was no response. */
  readonly status: number | undefined
  /** For example `AccessDenied`; undefined if the response had no body (as after a HEAD), or a body without a code. */
  readonly code: string | undefined
}

/**
 * What the service refuses:
 * - `credentials`: every request with these credentials. Other credentials may be accepted.
 * - `access`: this request, although the service knows the caller. If the caller may not list, an absent key gets this answer too.
 * - `object`: this object in its present state, for example because it is archived.
 * - `unclear`: the answer has no code.
 */
export type Refusal = 'credentials' | 'access' | 'object' | 'unclear'

const STATUS = /response: Parts \{ status: (\d{3})\b/
/** Start of the context. Before it, the key appears only in a URL, where it is encoded. */
const SERVICE = /, service: \w/
/** S3Error { code: "..." }; GcsErrorDetail { .. reason: "..." }. */
const CODE = /\b(?:code|reason): "([^"]+)"/

const CREDENTIAL_CODES: ReadonlySet<string> = new Set([
  // S3, OSS, COS, OBS and compatible servers
  'ExpiredToken',
  'ExpiredTokenException',
  'InvalidToken',
  'InvalidTokenId',
  'TokenRefreshRequired',
  'RequestExpired',
  'InvalidAccessKeyId',
  'InvalidClientTokenId',
  'UnrecognizedClientException',
  'SignatureDoesNotMatch',
  'InvalidSignature',
  'AuthFailure',
  'InvalidSecurity',
  'InvalidSecurityToken',
  'SecurityTokenExpired',
  'NotSignedUp',
  'AuthorizationHeaderMalformed',
  'Unauthorized',
  // Azure
  'AuthenticationFailed',
  'InvalidAuthenticationInfo',
  'ExpiredAuthenticationToken',
  // GCS
  'authError',
  'required',
  // B2
  'bad_auth_token',
  'expired_auth_token',
  'unauthorized',
])

const ACCESS_CODES: ReadonlySet<string> = new Set([
  'AccessDenied',
  'Forbidden',
  'AllAccessDisabled',
  'AuthorizationFailure',
  'AuthorizationPermissionMismatch',
  'AuthorizationResourceTypeMismatch',
  'InsufficientAccountPermissions',
  // GCS
  'forbidden',
  'insufficientPermissions',
  // B2
  'access_denied',
])

/** Statuses with several causes that only the code in a body tells apart: expired credentials, a key that is too long, a policy. */
const EXPLAINED_BY_CODE: ReadonlySet<number | undefined> = new Set([400, 401, 403])

/** @param error what an OpenDAL call rejected with, or the StorageError that was made of it */
export function answerOf(error: unknown): ServiceAnswer {
  const text = textOf(error)
  const key = SERVICE.exec(text)?.index
  const status = STATUS.exec(key === undefined ? text : text.slice(0, key))?.[1]
  const end = text.lastIndexOf(' } => ')
  const code = end < 0 ? undefined : CODE.exec(text.slice(end))?.[1]
  return { status: status === undefined ? undefined : Number(status), code }
}

/** Undefined if the error is not a refusal. */
export function refusalOf(error: unknown): Refusal | undefined {
  const { status, code } = answerOf(error)
  if (status === 401 || (code !== undefined && CREDENTIAL_CODES.has(code))) return 'credentials'
  if (status !== 403 && !textOf(error).startsWith('PermissionDenied (')) return undefined
  if (code === undefined) return 'unclear'
  return ACCESS_CODES.has(code) ? 'access' : 'object'
}

/**
 * Runs `head`, which may send a HEAD. If the service refuses it without a code, reads the first byte of the object: that refusal has a
 * body with the code, and `withCode` rejects with that error instead.
 */
export async function withCode<T>(operator: Operator, path: string, head: () => Promise<T>): Promise<T> {
  try {
    return await head()
  } catch (error) {
    const { status, code } = answerOf(error)
    // The stat of a directory is a listing, whose answer has a body.
    if (code !== undefined || !EXPLAINED_BY_CODE.has(status) || path.endsWith('/')) throw error
    throw (await refusalToRead(operator, path)) ?? error
  }
}

async function refusalToRead(operator: Operator, path: string): Promise<unknown> {
  try {
    await operator.read(path, { offset: 0n, size: 1n })
    return undefined
  } catch (error) {
    const { status, code } = answerOf(error)
    // 416: the object exists and is empty.
    return code === undefined || status === 416 ? undefined : error
  }
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? error.cause.message : error.message
}
