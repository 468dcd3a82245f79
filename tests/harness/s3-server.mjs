// s3rver as a program. Arguments: the folder to serve from, the bucket. Prints `listening on HOST:PORT`.

import S3rver from 's3rver'
import FilesystemStore from 's3rver/lib/stores/filesystem.js'
import { keepPromises } from '../../packages/opendal-fs/test/s3-promises.mjs'

const [directory, bucket] = process.argv.slice(2)

keepPromises(FilesystemStore)
const server = new S3rver({
  address: '127.0.0.1',
  port: 0,
  silent: true,
  directory,
  configureBuckets: [{ name: bucket }],
})
const { port } = await server.run()
console.log(`listening on 127.0.0.1:${port}`)
