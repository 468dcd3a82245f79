// What an HTTP service answered to a request that failed: its status and its error code, read from the text of OpenDAL's error,
// and what a refusal is about. The context in the middle of the text repeats the key, which a guest chooses: only what precedes it is
// searched for a status, and only what follows the context for a code.

import type { Operator } from './binding.ts'

export interface ServiceAnswer {
  /** Of HTTP; undefined if the error is not about a response. */
  readonly status: number | undefined
  /** `AccessDenied` and the like; undefined if the response had no body, as after a HEAD, or one of another shape. */
  readonly code: string | undefined
}

/**
 * What the service refuses:
 * - `credentials`: the caller, whatever it asks for. Other credentials may be accepted.
 * - `access`: this request of a known caller. For an absent key it also stands for "not found" if the caller may not list.
 * - `object`: the object as it is now, such as one that lies in an archive.
 * - `unclear`: the answer has no code.
 */
export type Refusal = 'credentials' | 'access' | 'object' | 'unclear'

const STATUS = /response: Parts \{ status: (\d{3})\b/
/** Before it, the key stands in a URL only, where it is encoded. */
const SERVICE = /, service: \w/
/** S3Error { code: "..." }; GcsErrorDetail { .. reason: "..." }. */
const CODE = /\b(?:code|reason): "([^"]+)"/

const CREDENTIAL_CODES: ReadonlySet<string> = new Set([
  // S3, OSS, COS, OBS and servers that speak their protocols
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

/** Answers to a HEAD that only the code in a body would explain: expired credentials, a key that is too long, a policy. */
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

/** Undefined if the error is no refusal. */
export function refusalOf(error: unknown): Refusal | undefined {
  const { status, code } = answerOf(error)
  if (status === 401 || (code !== undefined && CREDENTIAL_CODES.has(code))) return 'credentials'
  if (status !== 403 && !textOf(error).startsWith('PermissionDenied (')) return undefined
  if (code === undefined) return 'unclear'
  return ACCESS_CODES.has(code) ? 'access' : 'object'
}

/**
 * Runs `head`, which may send a HEAD. If the service refuses without saying why, reads the first byte of the object: the body of that refusal has the
 * code, and `withCode` rejects with it instead.
 */
export async function withCode<T>(operator: Operator, path: string, head: () => Promise<T>): Promise<T> {
  try {
    return await head()
  } catch (error) {
    const { status, code } = answerOf(error)
    // A directory is asked about by a listing, which has a body.
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
    // 416: the object is there, and empty.
    return code === undefined || status === 416 ? undefined : error
  }
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? error.cause.message : error.message
}
