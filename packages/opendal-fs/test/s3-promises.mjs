// Three promises of S3 that s3rver does not keep: an object is replaced as a whole or not at all, it is there when the answer to a
// PUT is, and a range of its first byte alone is that byte and not all of them. As it is, it writes an upload to its place while it arrives, where a client that is killed leaves half an object behind,
// and answers before the last bytes are written.

import crypto from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/** Makes objects of s3rver's FilesystemStore be there as S3 has them. */
export function keepPromises(FilesystemStore) {
  const { getObject } = FilesystemStore.prototype
  FilesystemStore.prototype.putObject = putObject
  FilesystemStore.prototype.getObject = async function (bucket, key, options) {
    if (options?.end !== 0) return getObject.call(this, bucket, key, options)
    const object = await getObject.call(this, bucket, key, { ...options, end: 1 })
    if (object?.content) {
      object.content = Readable.from(firstByteOf(object.content))
      object.range = { start: 0, end: 0 }
    }
    return object
  }
}

async function* firstByteOf(content) {
  for await (const chunk of content) {
    yield chunk.subarray(0, 1)
    return
  }
}

async function putObject({ bucket, key, content, metadata }) {
  const path = this.getResourcePath(bucket, key, 'object')
  const temporary = `${this.getResourcePath(bucket, undefined, 'uploads')}-${crypto.randomUUID()}`
  await mkdir(dirname(path), { recursive: true })
  await mkdir(dirname(temporary), { recursive: true })
  const hash = crypto.createHash('md5')
  let size = 0
  async function* counted(chunks) {
    for await (const chunk of chunks) {
      hash.update(chunk)
      size += chunk.length
      yield chunk
    }
  }
  try {
    const chunks = Buffer.isBuffer(content) ? Readable.from([content]) : content
    await pipeline(chunks, counted, createWriteStream(temporary))
    const promised = Number(metadata['content-length'] ?? size)
    if (size < promised) throw new Error(`${size} of ${promised} bytes arrived`)
    await rename(temporary, path)
  } finally {
    await rm(temporary, { force: true })
  }
  const md5 = hash.digest('hex')
  await this.putMetadata(bucket, key, metadata, md5)
  return { size, md5 }
}
