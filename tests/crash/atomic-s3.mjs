// s3rver with the promise of S3 that it does not keep: an object is replaced as a whole or not at all. As it is, it writes an
// upload to its place while it arrives, and a client that is killed leaves half an object behind.
// Arguments: the folder to serve from, the bucket. Prints `listening on HOST:PORT`.

import crypto from 'node:crypto'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import S3rver from 's3rver'
import FilesystemStore from 's3rver/lib/stores/filesystem.js'

const [directory, bucket] = process.argv.slice(2)

FilesystemStore.prototype.putObject = async function (object) {
  const chunks = []
  if (Buffer.isBuffer(object.content)) chunks.push(object.content)
  else for await (const chunk of object.content) chunks.push(chunk)
  const content = Buffer.concat(chunks)
  const promised = Number(object.metadata['content-length'] ?? content.length)
  if (content.length < promised) throw new Error(`${content.length} of ${promised} bytes arrived`)
  const path = this.getResourcePath(object.bucket, object.key, 'object')
  const temporary = `${this.getResourcePath(object.bucket, undefined, 'uploads')}-${crypto.randomUUID()}`
  await mkdir(dirname(path), { recursive: true })
  await mkdir(dirname(temporary), { recursive: true })
  await writeFile(temporary, content)
  await rename(temporary, path)
  const md5 = crypto.createHash('md5').update(content).digest('hex')
  await this.putMetadata(object.bucket, object.key, object.metadata, md5)
  return { size: content.length, md5 }
}

const server = new S3rver({
  address: '127.0.0.1',
  port: 0,
  silent: true,
  directory,
  configureBuckets: [{ name: bucket }],
})
const { port } = await server.run()
console.log(`listening on 127.0.0.1:${port}`)
