// Listings where the service has none: a directory's sidecar names what has been made in it, and the service is asked for each.
// A name is in the index before its object appears and stays until after it is gone, so what the service denies is left
// out and nothing is missing. Objects that others made there without an entry are found by name only.

import { FsError } from '@ovfs/fuse-proto'
import { decodeEntries, type Entries, isSpecial, LARGEST_SIDECAR } from '../attributes/attribute-entry.ts'
import { DIRECTORY_MARKER, SIDECAR } from '../storage/key-names.ts'
import type { ListedObject, ObjectInfo, Storage } from '../storage/storage.ts'
import { forEachConcurrently } from './locks.ts'

const CONCURRENT_QUESTIONS = 32

/** The children of a directory, `key` being empty or ending with a slash; what is ours among them too. */
export async function listIndexed(storage: Storage, key: string): Promise<ListedObject[]> {
  const info = await storage.stat(key + SIDECAR, true)
  if (info === undefined) return ownObjects(storage, key, undefined)
  const listed = await ownObjects(storage, key, info)
  const segments = [...(await readIndex(storage, key + SIDECAR, info))]
    .filter(([segment, entry]) => segment !== '' && !isSpecial(entry))
    .map(([segment]) => segment)
  await forEachConcurrently(segments, CONCURRENT_QUESTIONS, async segment => {
    const found =
      (await storage.stat(key + segment, true)) ?? (await statDirectory(storage, `${key}${segment}/`))
    if (found !== undefined) listed.push({ segment, kind: found.kind, info: found })
  })
  return listed
}

/**
 * Looks up a directory that may exist only through its marker.
 * @param known this daemon has seen the directory, so it still exists if the credentials may no longer list it
 */
export async function statDirectory(
  storage: Storage,
  key: string,
  known = false,
): Promise<ObjectInfo | undefined> {
  // On a service that can neither list nor create directories, no key ends with a slash.
  const { list, createDir } = storage.capability
  const info = list || createDir ? await storage.stat(key, true) : undefined
  if (info !== undefined && info.kind !== 'directory') return undefined
  const isConcealed = info === undefined && storage.isListingRefused(key)
  if (info === undefined && !isConcealed && storage.canList) return undefined
  if (info !== undefined && !storage.traits.guessesDirectories) return info
  if (isConcealed && known) return { kind: 'directory', size: 0, mtime: undefined, etag: undefined }
  // Without a listing, only our marker proves that a directory exists. A directory that was made while listing was allowed has no
  // marker, but its sidecar proves it.
  const own = [DIRECTORY_MARKER, ...(isConcealed ? [SIDECAR] : [])]
  const found = await Promise.all(own.map(segment => storage.stat(key + segment, true)))
  const marker = found.find(object => object !== undefined)
  if (marker !== undefined) return { kind: 'directory', size: 0, mtime: marker.mtime, etag: undefined }
  return info && { ...info, guessed: true }
}

/** True if SQL's LIKE matches `other` for `segment`, ignoring the case of ASCII letters: see ServiceTraits.guessesDirectories. */
export function isLookAlike(segment: string, other: string): boolean {
  const pattern = Array.from(segment, character =>
    character === '%' ? '.*' : character === '_' ? '.' : character.replace(/[\\^$.*+?()[\]{}|/-]/u, '\\$&'),
  )
  return new RegExp(`^${pattern.join('')}$`, 'isu').test(other)
}

async function ownObjects(
  storage: Storage,
  key: string,
  sidecar: ObjectInfo | undefined,
): Promise<ListedObject[]> {
  const marker = !storage.marksDirectories ? undefined : await storage.stat(key + DIRECTORY_MARKER, true)
  const listed: ListedObject[] = []
  if (sidecar !== undefined) listed.push({ segment: SIDECAR, kind: 'file', info: sidecar })
  if (marker !== undefined) listed.push({ segment: DIRECTORY_MARKER, kind: 'file', info: marker })
  return listed
}

/** A damaged index is an error: an empty listing would be a wrong answer. */
async function readIndex(storage: Storage, key: string, info: ObjectInfo): Promise<Entries> {
  if (info.size > LARGEST_SIDECAR) throw new FsError('EIO', `${key} is too large for an index`)
  const bytes = await storage.read(key, 0, info.size, info.etag)
  try {
    return decodeEntries(bytes)
  } catch (cause) {
    throw new FsError('EIO', `${JSON.stringify(key)} cannot be used as an index`, { cause })
  }
}
