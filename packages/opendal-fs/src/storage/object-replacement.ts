// Puts new bytes under a key, the whole object at once, so that readers elsewhere see the old object or the new one.

import type { KeyNames } from './key-names.ts'
import { uploadParts } from './part-upload.ts'
import type { Storage } from './storage.ts'
import type { WriteCondition } from './write-condition.ts'

/** Objects up to this size are written in one request, in bytes. */
const SINGLE_WRITE = 8 << 20

export interface PartSource {
  /** The first `size` bytes in order, a part at a time. A part is the caller's until it asks for the next. */
  parts(size: number, partBytes: number): AsyncIterable<Uint8Array>
}

/**
 * Replaces the object with the source's first `size` bytes; returns them if they were few enough to be held at once.
 * @param confirm runs directly before the object is replaced in a way that carries no condition; rejects if it must not be
 */
export async function replaceObject(
  storage: Storage,
  names: KeyNames,
  key: string,
  source: PartSource,
  size: number,
  condition: WriteCondition = {},
  confirm?: () => Promise<void>,
): Promise<Uint8Array | undefined> {
  const target = besideIfLocal(storage, names, key)
  try {
    if (target === key) return await writeObject(storage, key, source, size, condition, confirm)
    const bytes = await writeObject(storage, target, source, size, {})
    await confirm?.()
    await storage.rename(target, key)
    return bytes
  } catch (error) {
    // The error to report is the one that was there first.
    if (target !== key) await storage.delete(target).catch(() => undefined)
    throw error
  }
}

/** The service's own copy of an object of `size` bytes, likewise at once. */
export async function replaceByCopy(
  storage: Storage,
  names: KeyNames,
  from: string,
  key: string,
  size: number,
): Promise<void> {
  const target = besideIfLocal(storage, names, key)
  try {
    await storage.copy(from, target, size)
    if (target !== key) await storage.rename(target, key)
  } catch (error) {
    // The error to report is the one that was there first.
    if (target !== key) await storage.delete(target).catch(() => undefined)
    throw error
  }
}

/** A local folder truncates a file before it writes it: there the new one is made beside it. */
function besideIfLocal(storage: Storage, names: KeyNames, key: string): string {
  return storage.scheme === 'fs' ? key.slice(0, key.lastIndexOf('/') + 1) + names.temporary() : key
}

async function writeObject(
  storage: Storage,
  key: string,
  source: PartSource,
  size: number,
  condition: WriteCondition,
  confirm?: () => Promise<void>,
): Promise<Uint8Array | undefined> {
  if (size > SINGLE_WRITE && storage.capability.writeCanMulti) {
    const parts = () => source.parts(size, storage.partBytes(size))
    await uploadParts(storage, key, size, parts, condition, confirm)
    return undefined
  }
  let bytes: Uint8Array = new Uint8Array(0)
  for await (const part of source.parts(size, size)) bytes = part
  await storage.write(key, bytes, condition, confirm)
  return bytes
}
