// The state that a key must be in for a write to replace it. Services that enforce conditions get it with the write. Elsewhere, and
// where only a weak ETag is known, the only way is to look directly before the write.

import { metadataFor, type UserMetadata } from '../attributes/user-metadata.ts'
import type { Capability } from './binding.ts'
import { strongEtag } from './version.ts'

export interface WriteCondition {
  /** The version that must be there. */
  readonly etag?: string | undefined
  /** Nothing may be there. */
  readonly absent?: boolean
  /** What the version that is replaced has; what of it does not depend on the bytes goes along. */
  readonly metadata?: UserMetadata | undefined
}

/** Of OpenDAL. */
export interface ConditionOptions {
  readonly ifMatch?: string
  readonly ifNotExists?: boolean
  readonly userMetadata?: UserMetadata
}

/** An unknown option would be ignored by some services, and refused by others. */
export function conditionOptions(
  { etag, absent, metadata }: WriteCondition,
  { writeWithIfMatch, writeWithIfNotExists, writeWithUserMetadata }: Capability,
): ConditionOptions {
  const ifMatch = writeWithIfMatch ? strongEtag(etag) : undefined
  const userMetadata = metadata && writeWithUserMetadata ? metadataFor(metadata) : undefined
  return {
    ...(userMetadata !== undefined && { userMetadata }),
    ...(ifMatch !== undefined && { ifMatch }),
    ...(absent === true && writeWithIfNotExists && { ifNotExists: true }),
  }
}

/** True if the service itself sees to it that a write in one piece meets the condition. */
export function isEnforced(
  { etag, absent }: WriteCondition,
  { writeWithIfMatch, writeWithIfNotExists }: Capability,
): boolean {
  return absent === true ? writeWithIfNotExists : strongEtag(etag) !== undefined && writeWithIfMatch
}
