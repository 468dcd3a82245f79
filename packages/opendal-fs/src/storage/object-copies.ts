// Copies objects and verifies the copies. A service may report success without having made the copy (S3's CopyObject may put an
// error into the body of a 200), or may be unable to copy objects, or large objects. So a copy counts only after a look at the target
// has confirmed it. Objects that the service does not copy go through the host.

import { FsError } from '@ovfs/fuse-proto'
import { uploadParts } from './part-upload.ts'
import type { ObjectInfo, Storage } from './storage.ts'
import {
  hasNoOperation,
  isUnsupported,
  isVersionLost,
  StorageError,
  versionLostError,
} from './storage-error.ts'
import { compareVersions, mayBeVersion } from './version.ts'

const COMPARED_AT_ONCE = 1 << 20
/** From this size on, a look at the target before the copy adds little time to the copy itself, in bytes. */
const LARGE = 16 << 20
/** How often a read starts again because the source has changed during the read. */
const READ_ATTEMPTS = 3

export interface Copying {
  readonly from: string
  readonly to: string
  /** What is known of the object at `from`. */
  readonly source: ObjectInfo
  /** What is known of the object at `to`; undefined if there is none. */
  readonly target: ObjectInfo | undefined
}

/** Asks the service for a copy. Returns false if the service makes none: then the bytes must go through the host. */
export async function tryServiceCopy(storage: Storage, { from, to, source }: Copying): Promise<boolean> {
  if (!storage.canCopy(source.size)) return false
  try {
    await storage.copy(from, to, source.size)
    return true
  } catch (error) {
    if (!(error instanceof StorageError) || !isUnsupported(error)) throw error
    if (hasNoOperation(error)) storage.traits.copies = false
    return false
  }
}

/**
 * Copies one version of the object by reading and writing it.
 * @returns the version that was copied
 */
export async function copyThroughHost(storage: Storage, { from, to, source }: Copying): Promise<ObjectInfo> {
  const { writeCanMulti, writeWithContentType, writeWithUserMetadata } = storage.capability
  const keepsHeaders = writeWithContentType || writeWithUserMetadata
  for (let attempt = 1; ; attempt++) {
    const isKnown = attempt === 1 && !keepsHeaders
    const described = isKnown ? { info: source, headers: undefined } : await storage.describe(from)
    if (described === undefined) throw new FsError('ENOENT', `${JSON.stringify(from)} is gone`)
    const { info, headers } = described
    const confirm = async () => {
      if (await storage.readsOnCondition(from)) return
      if (!mayBeVersion(info, await storage.stat(from))) throw versionLostError('read', from)
    }
    try {
      if (writeCanMulti && info.size > storage.partBytes(0))
        await uploadParts(storage, to, info.size, () => readParts(storage, from, info), { headers }, confirm)
      else {
        const bytes = info.size === 0 ? new Uint8Array(0) : await storage.read(from, 0, info.size, info.etag)
        await storage.write(to, bytes, { headers })
      }
      return info
    } catch (error) {
      if (!isVersionLost(error) || attempt === READ_ATTEMPTS) throw error
    }
  }
}

async function* readParts(
  storage: Storage,
  key: string,
  { size, etag }: ObjectInfo,
): AsyncGenerator<Uint8Array> {
  const partBytes = storage.partBytes(size)
  for (let at = 0; at < size; at += partBytes)
    yield await storage.read(key, at, Math.min(partBytes, size - at), etag)
}

export interface Copied {
  /** The copy. */
  readonly info: ObjectInfo
  /** The object at the source after the copy; undefined if there is none. */
  readonly left: ObjectInfo | undefined
}

/**
 * Copies an object and looks at both places.
 * @throws EIO if the target is not a copy of the source, EACCES if the service conceals an object there; the source is never touched
 */
export async function copyObject(storage: Storage, copying: Copying): Promise<Copied> {
  return reservingTarget(storage, copying, () => copyAndLook(storage, copying))
}

async function copyAndLook(storage: Storage, copying: Copying): Promise<Copied> {
  const { from, to, source } = copying
  const canCopy = storage.canCopy(source.size)
  const target = canCopy && source.size > LARGE ? await storage.stat(to, true) : copying.target
  const known = { ...copying, target }
  if (await tryServiceCopy(storage, known)) {
    const copied = await lookAtCopy(storage, known)
    if (copied !== undefined) return copied
    storage.report(notCopiedError(from, to, 'copying it through the host instead'))
  }
  const read = await copyThroughHost(storage, known)
  const copied = await lookAtCopy(storage, { ...known, source: read })
  if (copied === undefined) throw reported(storage, notCopiedError(from, to, 'nothing was deleted'))
  return copied
}

/**
 * Makes a copy although the service may conceal an object at the target. Before the copy, writes an empty object to the target on the
 * condition that none exists, so that the copy replaces only that. Deletes it again if the copy fails.
 * @throws EACCES if there is an object at the target
 */
export async function reservingTarget<T>(
  storage: Storage,
  { to, target }: Copying,
  copy: () => Promise<T>,
): Promise<T> {
  if (target !== undefined || !storage.isListingRefused(to)) return copy()
  let isReserved: boolean
  try {
    isReserved = await storage.reserve(to)
  } catch (error) {
    if (!isVersionLost(error)) throw error
    const text = `there is an object at ${JSON.stringify(to)}, which the service conceals: nothing was moved there`
    throw reported(storage, new FsError('EACCES', text))
  }
  try {
    return await copy()
  } catch (error) {
    // Report the first error.
    if (isReserved) await release(storage, to).catch(() => undefined)
    throw error
  }
}

async function release(storage: Storage, key: string): Promise<void> {
  await storage.settled(key)
  if (storage.isReserved(key, await storage.stat(key, true))) await storage.delete(key)
}

/** Undefined if the target is not known to be a copy of the source. */
async function lookAtCopy(storage: Storage, copying: Copying): Promise<Copied | undefined> {
  const { from, to } = copying
  const [info, left] = await Promise.all([storage.stat(to, true), storage.stat(from, true)])
  return info !== undefined && (await isCopy(storage, copying, info, left)) ? { info, left } : undefined
}

/**
 * True if `found` at the target is a copy of the source.
 * @param left what lies at the source now
 */
export async function isCopy(
  storage: Storage,
  { from, to, source, target }: Copying,
  found: ObjectInfo,
  left: ObjectInfo | undefined,
): Promise<boolean> {
  // Another client may have replaced the source before the copy was made.
  const versions = left === undefined || mayBeVersion(source, left) ? [source] : [source, left]
  const candidates = versions.filter(({ size }) => found.kind === 'file' && size === found.size)
  if (candidates.length === 0) return false
  if (candidates.some(version => hasSameContent(storage, version, found))) return true
  // Another client may have stored an object of the same size at the target while the service made no copy.
  if (candidates.every(version => mayDiffer(storage, version, found)))
    return left !== undefined && isSameObject(storage, from, left, to, found)
  // The target has changed since before the copy, so the copy was made.
  if (target === undefined || !mayBeVersion(target, found)) return true
  return left !== undefined && isSameObject(storage, from, left, to, found)
}

/**
 * Deletes the source of a finished copy, if it is still the version that was copied.
 * @param left what lies at the source
 * @returns false if another client has stored something newer there, which stays
 */
export async function deleteCopied(
  storage: Storage,
  { from, to, source }: Copying,
  copy: ObjectInfo,
  left: ObjectInfo | undefined,
): Promise<boolean> {
  if (left === undefined) return true
  const isCopied =
    hasSameContent(storage, left, copy) ||
    compareVersions(source, left) === 'same' ||
    (await isSameObject(storage, from, left, to, copy))
  if (isCopied) await storage.delete(from)
  else storage.report(new NewerSource(from, to))
  return isCopied
}

/** Another client has replaced the source during its move. The new object stays at the old key. */
export class NewerSource extends FsError {
  constructor(from: string, to: string) {
    const [source, target] = [from, to].map(key => JSON.stringify(key))
    super(
      'EIO',
      `${source} was replaced by another client while it was being moved to ${target}: the newer object stays at ${source}`,
    )
    this.name = 'NewerSource'
  }
}

/** True only if both certainly hold the same bytes. */
function hasSameContent(storage: Storage, a: ObjectInfo, b: ObjectInfo): boolean {
  return storage.traits.contentEtags && a.size === b.size && a.etag !== undefined && a.etag === b.etag
}

/** Like `isSameObject`, but reads nothing if the ETags decide. */
export async function holdsSameBytes(
  storage: Storage,
  a: string,
  aInfo: ObjectInfo,
  b: string,
  bInfo: ObjectInfo,
): Promise<boolean> {
  return hasSameContent(storage, aInfo, bInfo) || isSameObject(storage, a, aInfo, b, bInfo)
}

/** The ETag of an object that was stored in one piece; with encryption it is no digest of the bytes, but has the same shape. */
const DIGEST = /^"?[0-9a-f]{32}"?$/i

/** True if both etags are digests and differ. An object that was uploaded in parts has another kind of etag, which a copy does not keep. */
function mayDiffer(storage: Storage, a: ObjectInfo, b: ObjectInfo): boolean {
  const areDigests = [a, b].every(({ etag }) => etag !== undefined && DIGEST.test(etag))
  return storage.traits.contentEtags && areDigests && a.etag !== b.etag
}

/** True if two objects hold the same bytes. False if one of them is replaced meanwhile. */
export async function isSameObject(
  storage: Storage,
  a: string,
  aInfo: ObjectInfo,
  b: string,
  bInfo: ObjectInfo,
): Promise<boolean> {
  if (aInfo.kind !== 'file' || bInfo.kind !== 'file' || aInfo.size !== bInfo.size) return false
  // If each read fetches the whole value, read it in one request.
  const step = storage.traits.cutsRanges === 'remote' ? aInfo.size : COMPARED_AT_ONCE
  try {
    for (let at = 0; at < aInfo.size; at += step) {
      const length = Math.min(step, aInfo.size - at)
      const [left, right] = await Promise.all([
        storage.read(a, at, length, aInfo.etag),
        storage.read(b, at, length, bInfo.etag),
      ])
      if (Buffer.compare(left, right) !== 0) return false
    }
  } catch (error) {
    if (isVersionLost(error)) return false
    throw error
  }
  return true
}

export function notCopiedError(from: string, to: string, consequence: string): FsError {
  const text = `${JSON.stringify(to)} is not the copy of ${JSON.stringify(from)} that the service was asked for`
  return new FsError('EIO', `${text}: ${consequence}`)
}

/** The guest gets the errno only. */
export function reported<T extends Error>(storage: Storage, error: T): T {
  storage.report(error)
  return error
}
