// A service that takes no credentials but the newest: what was read at the start ends, and is read again.

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Operator } from '../src/storage/binding.ts'
import { Storage } from '../src/storage/storage.ts'

/** What S3 says: OpenDAL takes the status for the kind where it does not know the code. */
const REFUSALS = [
  ['a refused signature', 403, 'SignatureDoesNotMatch'],
  ['an unknown key', 403, 'InvalidAccessKeyId'],
  ['a token that has ended', 400, 'ExpiredToken'],
] as const

let server: Server
let valid: string
let refusal: readonly [status: number, code: string]
let asked: string[]
let errors: Error[]

beforeEach(async () => {
  valid = 'FIRST'
  asked = []
  errors = []
  server = createServer((request, response) => {
    const key = /Credential=(\w+)\//.exec(request.headers.authorization ?? '')?.[1] ?? 'none'
    asked.push(key)
    request.resume()
    if (key === valid)
      return response.setHeader('content-length', 5).end(request.method === 'HEAD' ? '' : 'bytes')
    const [status, code] = refusal
    response.writeHead(status, { 'content-type': 'application/xml' })
    return response.end(`<Error><Code>${code}</Code><Message>no</Message></Error>`)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
})
afterEach(() => {
  server.close()
  server.closeAllConnections()
})

function withKey(key: string): Operator {
  const { port } = server.address() as AddressInfo
  return new Operator('s3', {
    bucket: 'bucket',
    region: 'nowhere',
    endpoint: `http://127.0.0.1:${port}`,
    access_key_id: key,
    secret_access_key: 'secret',
    disable_config_load: 'true',
  })
}

function storageThat(renewOperator?: () => Operator | undefined): Storage {
  return new Storage(withKey('FIRST'), {
    scheme: 's3',
    timeoutMs: 5000,
    readOnly: false,
    onError: error => errors.push(error),
    renewOperator,
  })
}

describe.each(REFUSALS)('after %s', (_, status, code) => {
  beforeEach(() => {
    refusal = [status, code]
  })

  it('credentials are read again, and nobody notices', async () => {
    const storage = storageThat(() => withKey(valid))
    expect(await storage.read('key', 0, 5)).toHaveLength(5)
    valid = 'SECOND'
    const answers = await Promise.all([1, 2, 3].map(() => storage.read('key', 0, 5)))
    expect(answers.map(bytes => bytes.byteLength)).toEqual([5, 5, 5])
    await storage.write('key', Buffer.from('bytes'))
    expect(errors).toEqual([])
    // Those that were under way found out together; what came after did not ask with the old ones any more.
    expect(asked.slice(-1)).toEqual(['SECOND'])
    expect(asked.filter(key => key === 'FIRST')).toHaveLength(4)
  })

  it('what stays refused is refused to the guest, and new credentials are not read for each request', async () => {
    let renewals = 0
    const storage = storageThat(() => {
      renewals++
      return withKey('FIRST')
    })
    valid = 'SECOND'
    for (let i = 0; i < 5; i++)
      await expect(storage.read('key', 0, 5)).rejects.toMatchObject({ name: 'StorageError' })
    expect(renewals).toBe(1)
    expect(errors).toHaveLength(5)
  })

  it('nothing is tried again where nothing new can be had', async () => {
    const storage = storageThat(() => undefined)
    valid = 'SECOND'
    await expect(storage.read('key', 0, 5)).rejects.toMatchObject({ name: 'StorageError' })
    expect(asked).toEqual(['FIRST'])
  })
})
