// The methods of Node's file handles, to be replaced by a test that wants a disk to fail.

import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'

export interface Methods {
  datasync(this: unknown): Promise<void>
  truncate(this: unknown, length: number): Promise<void>
  write(this: unknown, bytes: Uint8Array, offset: number, length: number, at: number): Promise<unknown>
}

/** Node does not export the class. */
export async function fileHandlePrototype(): Promise<{ FileHandle: Methods }> {
  const file = await open(tmpdir(), 'r')
  await file.close()
  return { FileHandle: Object.getPrototypeOf(file) }
}
