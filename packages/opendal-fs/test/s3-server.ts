// An S3 server for tests: the npm package s3rver. Its continuation tokens are enciphered with DES, which OpenSSL 3 does not
// offer any more, so a listing of more than one page would fail: AES stands in for it.

import crypto from 'node:crypto'
import S3rver from 's3rver'
import FilesystemStore from 's3rver/lib/stores/filesystem.js'
import { keepPromises } from './s3-promises.mjs'

const { createCipheriv, createDecipheriv } = crypto
const twice = (bytes: Buffer) => Buffer.concat([bytes, bytes])

crypto.createCipheriv = ((algorithm: string, key: Buffer, iv: Buffer) =>
  algorithm === 'des'
    ? createCipheriv('aes-128-cbc', twice(key), twice(iv))
    : createCipheriv(algorithm, key, iv)) as typeof createCipheriv
crypto.createDecipheriv = ((algorithm: string, key: Buffer, iv: Buffer) =>
  algorithm === 'des'
    ? createDecipheriv('aes-128-cbc', twice(key), twice(iv))
    : createDecipheriv(algorithm, key, iv)) as typeof createDecipheriv

keepPromises(FilesystemStore)

export interface S3Server {
  /** What OpenDAL's `s3` service needs to reach the one bucket. */
  readonly options: Record<string, string>
  /** Every request so far, as `METHOD url`. */
  readonly requests: string[]
  close(): Promise<void>
}

/** Serves an empty bucket from a folder. */
export async function startS3(directory: string): Promise<S3Server> {
  const address = '127.0.0.1'
  const bucket = 'ovfs'
  const server = new S3rver({
    address,
    port: 0,
    silent: true,
    directory,
    configureBuckets: [{ name: bucket }],
  })
  const { port } = await server.run()
  const requests: string[] = []
  server.httpServer.prependListener('request', ({ method, url }) => {
    requests.push(`${method} ${url}`)
  })
  return {
    options: {
      bucket,
      endpoint: `http://${address}:${port}`,
      region: 'us-east-1',
      access_key_id: 'S3RVER',
      secret_access_key: 'S3RVER',
    },
    requests,
    close: async () => {
      const closed = server.close()
      // OpenDAL keeps its connections.
      server.httpServer.closeAllConnections()
      await closed
    },
  }
}
