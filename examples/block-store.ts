// What a disk keeps its bytes in: a file, or an object of any service that OpenDAL reaches.

import { type FileHandle, open } from 'node:fs/promises'
import { Operator } from 'opendal'

export interface BlockStore {
  /** Bytes. */
  readonly size: number
  /** Fills `buffer` with the bytes at `offset`; the range lies within the disk. */
  read(buffer: Buffer, offset: number): Promise<void>
  write(buffer: Buffer, offset: number): Promise<void>
  /** What was written before is safe once this resolves. */
  flush(): Promise<void>
}

/** `file PATH`, or an OpenDAL service, the object's path, and the options of the service as `key=value`. */
export async function openStore(
  scheme: string,
  path: string,
  options: readonly string[],
): Promise<BlockStore> {
  if (scheme === 'file') return fileStore(await open(path, 'r+'))
  const pairs = options.map(option => /^(.*?)=(.*)$/.exec(option)?.slice(1) as [string, string])
  return objectStore(new Operator(scheme, Object.fromEntries(pairs)), path)
}

async function fileStore(file: FileHandle): Promise<BlockStore> {
  const { size } = await file.stat()
  return {
    size,
    async read(buffer, offset) {
      for (let done = 0; done < buffer.length; ) {
        const { bytesRead } = await file.read(buffer, done, buffer.length - done, offset + done)
        if (bytesRead === 0) throw new Error('the file became shorter')
        done += bytesRead
      }
    },
    async write(buffer, offset) {
      for (let done = 0; done < buffer.length; ) {
        done += (await file.write(buffer, done, buffer.length - done, offset + done)).bytesWritten
      }
    },
    flush: () => file.datasync(),
  }
}

/** Objects cannot be changed in part: the disk is held in memory, and a flush puts it back as a whole. */
async function objectStore(operator: Operator, path: string): Promise<BlockStore> {
  const disk = Buffer.from(await operator.read(path))
  let changed = false
  let last = Promise.resolve()
  const publish = async () => {
    if (!changed) return
    changed = false
    try {
      // A copy: the guest may write while the object is on its way.
      await operator.write(path, Buffer.from(disk))
    } catch (error) {
      changed = true
      throw error
    }
  }
  return {
    size: disk.length,
    read: async (buffer, offset) => void disk.copy(buffer, 0, offset),
    write: async (buffer, offset) => {
      changed = true
      buffer.copy(disk, offset)
    },
    flush: () => {
      // One after the other, or an older disk could land on a newer one.
      const done = last.then(publish, publish)
      last = done.catch(() => undefined)
      return done
    },
  }
}
