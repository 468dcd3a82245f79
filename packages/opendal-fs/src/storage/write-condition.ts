// The state that a key must be in for a write to replace it. Some services check this condition and write in one step. On other
// services, and if only a weak ETag is known, ovfs looks at the object directly before the write; a change that another host makes
// in between is lost. OpenDAL knows which protocols have conditions; whether a server refuses them shows only when one is sent.

import { copiedMetadata, metadataFor, type UserMetadata } from '../attributes/user-metadata.ts'
import type { Capability } from './binding.ts'
import { answerOf, refusalOf } from './service-answer.ts'
import type { ConditionName, ServiceTraits } from './service-traits.ts'
import { strongEtag } from './version.ts'

export interface WriteCondition {
  /** The version that must be there. */
  readonly etag?: string | undefined
  /** Nothing may be there. */
  readonly absent?: boolean
  /** What the version that is replaced has; what of it does not depend on the bytes goes along. */
  readonly metadata?: UserMetadata | undefined
  /** Stored with the bytes, which are a copy of those that have them. */
  readonly headers?: ObjectHeaders | undefined
}

/** What a service keeps of an object beside its bytes. */
export interface ObjectHeaders {
  readonly contentType: string | null
  readonly contentDisposition: string | null
  readonly contentEncoding: string | null
  readonly cacheControl: string | null
  readonly userMetadata: UserMetadata | null
}

/** Of OpenDAL. */
export interface WriteOptions {
  readonly ifMatch?: string
  readonly ifNotExists?: boolean
  readonly userMetadata?: UserMetadata
  readonly contentType?: string
  readonly contentDisposition?: string
  readonly contentEncoding?: string
  readonly cacheControl?: string
}

/** Statuses with which a server refuses a condition that it does not support. 412 and 409 come from servers that support it. */
const REFUSING: ReadonlySet<number | undefined> = new Set([400, 405, 422, 501])
const NOT_IMPLEMENTED = 501
/** Other error codes with these statuses. Such an error may not occur again when the same bytes are sent again. */
const OTHER_REASONS: ReadonlySet<string | undefined> = new Set([
  'RequestTimeout',
  'IncompleteBody',
  'BadDigest',
  'InvalidDigest',
  'XAmzContentSHA256Mismatch',
])

export class ConditionalWrites {
  readonly #capability: Capability
  readonly #traits: ServiceTraits
  readonly #onRefused: (name: ConditionName) => void

  /** @param onRefused called once for each condition that the server refuses */
  constructor(capability: Capability, traits: ServiceTraits, onRefused: (name: ConditionName) => void) {
    this.#capability = capability
    this.#traits = traits
    this.#onRefused = onRefused
  }

  /** True if the service itself checks the condition of a write in one request, as far as is known. */
  isEnforced(condition: WriteCondition): boolean {
    return this.#sent(condition) !== undefined
  }

  /** The options of a write without a condition. */
  options({ metadata, headers }: WriteCondition): WriteOptions {
    if (headers !== undefined) return headerOptions(headers, this.#capability)
    // An unknown option is ignored by some services and refused by others.
    const isKept = metadata !== undefined && this.#capability.writeWithUserMetadata
    const userMetadata = isKept ? metadataFor(metadata) : undefined
    return userMetadata === undefined ? {} : { userMetadata }
  }

  /**
   * Writes with the condition if the service can check it. If the server refuses that, writes again without it, after a look,
   * and if this succeeds no condition of the kind is sent any more.
   * @param confirm the look: rejects if the object must not be replaced
   */
  async run<T>(
    condition: WriteCondition,
    write: (options: WriteOptions) => Promise<T>,
    confirm: () => Promise<void>,
  ): Promise<T> {
    const plain = this.options(condition)
    const name = this.#sent(condition)
    if (name === undefined) return write(plain)
    const { conditions } = this.#traits
    let refusal: unknown
    try {
      const option = name === 'absent' ? { ifNotExists: true } : { ifMatch: condition.etag! }
      const result = await write({ ...plain, ...option })
      if (conditions[name] === 'unknown') conditions[name] = 'works'
      return result
    } catch (error) {
      if (answerOf(error).status === 412) conditions[name] = 'works'
      if (!mayRefuseCondition(error)) throw error
      // 501 (RFC 9110, 15.6.2) stays definite after conditions have worked: the gateway behind the address was replaced.
      if (conditions[name] === 'works' && answerOf(error).status !== NOT_IMPLEMENTED) throw error
      refusal = error
    }
    await confirm()
    let result: T
    try {
      result = await write(plain)
    } catch (error) {
      // The service refuses the write for another reason; or nothing can be said yet.
      throw mayRefuseCondition(error) ? refusal : error
    }
    if (conditions[name] !== 'refused') {
      conditions[name] = 'refused'
      this.#onRefused(name)
    }
    return result
  }

  #sent({ etag, absent }: WriteCondition): ConditionName | undefined {
    const { writeWithIfMatch, writeWithIfNotExists } = this.#capability
    const isSent = absent === true ? writeWithIfNotExists : strongEtag(etag) !== undefined && writeWithIfMatch
    const name = absent === true ? 'absent' : 'etag'
    return isSent && this.#traits.conditions[name] !== 'refused' ? name : undefined
  }
}

function headerOptions(headers: ObjectHeaders, capability: Capability): WriteOptions {
  const { contentType, contentDisposition, contentEncoding, cacheControl } = headers
  const userMetadata = headers.userMetadata === null ? undefined : copiedMetadata(headers.userMetadata)
  return {
    ...(contentType !== null && capability.writeWithContentType && { contentType }),
    ...(contentDisposition !== null && capability.writeWithContentDisposition && { contentDisposition }),
    ...(contentEncoding !== null && capability.writeWithContentEncoding && { contentEncoding }),
    ...(cacheControl !== null && capability.writeWithCacheControl && { cacheControl }),
    ...(userMetadata !== undefined && capability.writeWithUserMetadata && { userMetadata }),
  }
}

/** True if a request may have failed because it carried a condition. */
export function mayRefuseCondition(error: unknown): boolean {
  const { status, code } = answerOf(error)
  if (refusalOf(error) !== undefined || OTHER_REASONS.has(code)) return false
  return REFUSING.has(status) || (error instanceof Error && error.message.startsWith('Unsupported ('))
}
