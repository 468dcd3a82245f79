// Puts new bytes under a key, the whole object at once, so that readers elsewhere see the old object or the new one.

import type { KeyNames } from './key-names.ts'
import type { Storage } from './storage.ts'

/** Objects up to this size are written in one request, in bytes. */
const SINGLE_WRITE = 8 << 20

export interface PartSource {
  /** The first `size` bytes in order, a part at a time. A part is the caller's until it asks for the next. */
  parts(size: number, partBytes: number): AsyncIterable<Uint8Array>
}

/** Replaces the object with the source's first `size` bytes; returns them if they were few enough to be held at once. */
export async function replaceObject(
  storage: Storage,
  names: KeyNames,
  key: string,
  source: PartSource,
  size: number,
): Promise<Uint8Array | undefined> {
  // A local folder truncates a file before it writes it: there the new one is made beside it.
  const target = storage.scheme === 'fs' ? key.slice(0, key.lastIndexOf('/') + 1) + names.temporary() : key
  try {
    const bytes = await writeObject(storage, target, source, size)
    if (target !== key) await storage.rename(target, key)
    return bytes
  } catch (error) {
    // The error to report is the one that was there first.
    if (target !== key) await storage.delete(target).catch(() => undefined)
    throw error
  }
}

async function writeObject(
  storage: Storage,
  key: string,
  source: PartSource,
  size: number,
): Promise<Uint8Array | undefined> {
  if (size > SINGLE_WRITE && storage.capability.writeCanMulti) {
    await storage.writeStream(key, size, source.parts(size, storage.partBytes(size)))
    return undefined
  }
  let bytes: Uint8Array = new Uint8Array(0)
  for await (const part of source.parts(size, size)) bytes = part
  await storage.write(key, bytes)
  return bytes
}
