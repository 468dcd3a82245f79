// A service that accepts only the newest credentials: those that were read at the start expire and are read again, and what the
// service refuses for another reason does not get in the way of that.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Operator } from '../src/storage/binding.ts'
import { KeyNames } from '../src/storage/key-names.ts'
import { replaceObject } from '../src/storage/object-replacement.ts'
import { Storage } from '../src/storage/storage.ts'

const MIB = 1 << 20
/** As S3 refuses credentials. OpenDAL takes the status for the kind where it does not know the code. */
const REFUSALS = [
  ['a refused signature', 403, 'SignatureDoesNotMatch'],
  ['an unknown key', 403, 'InvalidAccessKeyId'],
  ['an expired token', 400, 'ExpiredToken'],
  ['an invalid token', 400, 'InvalidToken'],
  ['a missing authorization', 401, 'Unauthorized'],
] as const

let server: Server
let valid: string
let refusal: readonly [status: number, code: string]
let asked: string[]
let requests: string[]
let errors: Error[]

beforeEach(async () => {
  valid = 'FIRST'
  asked = []
  requests = []
  errors = []
  server = createServer((request, response) => {
    const key = /Credential=(\w+)\//.exec(request.headers.authorization ?? '')?.[1] ?? 'none'
    asked.push(key)
    requests.push(`${request.method} ${request.url?.replace(/\?.*/, '')}`)
    request.resume()
    if (key !== valid) return refuse(request, response, ...refusal)
    if (request.url?.startsWith('/bucket/archived'))
      return refuse(request, response, 403, 'InvalidObjectState')
    if (request.url?.startsWith('/bucket/denied')) return refuse(request, response, 403, 'AccessDenied')
    return accept(request, response)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
})
afterEach(() => {
  server.close()
  server.closeAllConnections()
})

/** The answer to a HEAD has no body, and so no code. */
function refuse({ method }: IncomingMessage, response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'content-type': 'application/xml' })
  response.end(method === 'HEAD' ? undefined : `<Error><Code>${code}</Code><Message>no</Message></Error>`)
}

function accept({ method, url, headers }: IncomingMessage, response: ServerResponse): void {
  response.setHeader('etag', '"1"')
  if (method === 'DELETE') response.writeHead(204).end()
  else if (method === 'HEAD') response.setHeader('content-length', 5).end()
  else if (url?.includes('list-type=2'))
    response.end('<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>')
  else if (url?.endsWith('?uploads'))
    response.end('<R><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId></R>')
  else if (method === 'POST') response.end('<R><Bucket>b</Bucket><Key>k</Key><ETag>"1"</ETag></R>')
  else if (headers['x-amz-copy-source'] !== undefined)
    response.end('<CopyObjectResult><ETag>"1"</ETag></CopyObjectResult>')
  else response.end('bytes')
}

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

function storageThat(renewOperator?: (mayGuess: boolean) => Operator | undefined): Storage {
  return new Storage(withKey('FIRST'), {
    scheme: 's3',
    timeoutMs: 5000,
    readOnly: false,
    onError: error => errors.push(error),
    renewOperator,
  })
}

/** Renews as the command does where it can read the credentials itself: only other ones are new. */
function fromFile(): (mayGuess: boolean) => Operator | undefined {
  let used = 'FIRST'
  return () => {
    if (used === valid) return undefined
    used = valid
    return withKey(used)
  }
}

const large = {
  async *parts(size: number, partBytes: number): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < size; at += partBytes) yield Buffer.alloc(Math.min(partBytes, size - at))
  },
}

/** Every kind of call that a file system makes. */
const CALLS: readonly (readonly [string, (storage: Storage) => Promise<unknown>])[] = [
  ['a look at an object', storage => storage.stat('key')],
  ['a look at a directory', storage => storage.stat('key/')],
  ['a read', storage => storage.read('key', 0, 5)],
  ['a write', storage => storage.write('key', Buffer.from('bytes'))],
  ['an upload in parts', storage => replaceObject(storage, new KeyNames('s3'), 'key', large, 20 * MIB)],
  ['a listing', storage => storage.list('d/')],
  ['a look whether a directory is empty', storage => storage.hasChildren('d/', () => false)],
  ['a new directory', storage => storage.createDirectory('d/')],
  ['a copy', storage => storage.copy('key', 'other')],
  ['a removal', storage => storage.delete('key')],
]

describe.each(REFUSALS)('after %s', (_, status, code) => {
  beforeEach(() => {
    refusal = [status, code]
  })

  it.each(CALLS)('%s reads the credentials again and succeeds', async (_, call) => {
    const storage = storageThat(fromFile())
    await call(storage)
    valid = 'SECOND'
    await call(storage)
    expect(asked.at(-1)).toBe('SECOND')
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

  it('a guess that did not help is not repeated for each request', async () => {
    const guesses: boolean[] = []
    const storage = storageThat(mayGuess => {
      guesses.push(mayGuess)
      return mayGuess ? withKey('FIRST') : undefined
    })
    valid = 'SECOND'
    for (let i = 0; i < 5; i++)
      await expect(storage.read('key', 0, 5)).rejects.toMatchObject({ code: 'EACCES' })
    expect(guesses).toEqual([true, false, false, false, false])
    expect(errors).toHaveLength(5)
  })

  it('nothing is tried again where nothing new can be had', async () => {
    const storage = storageThat(() => undefined)
    valid = 'SECOND'
    await expect(storage.read('key', 0, 5)).rejects.toMatchObject({ code: 'EACCES' })
    expect(asked).toEqual(['FIRST'])
  })

  it('credentials that are renewed in two steps are accepted as soon as both are there', async () => {
    let used = 'FIRST'
    let readable = 'HALF'
    const storage = storageThat(() => {
      if (used === readable) return undefined
      used = readable
      return withKey(used)
    })
    valid = 'SECOND'
    await expect(storage.stat('key')).rejects.toMatchObject({ code: 'EACCES' })
    readable = 'SECOND'
    expect(await storage.stat('key')).toMatchObject({ size: 5 })
  })
})

describe.each([
  ['in an archive', 'archived'],
  ['denied by a policy', 'denied'],
])('an object that is %s', (_, key) => {
  beforeEach(() => {
    refusal = [400, 'ExpiredToken']
  })

  it('is EACCES each time, and does not use up the renewals', async () => {
    const guesses: boolean[] = []
    const storage = storageThat(mayGuess => {
      guesses.push(mayGuess)
      return mayGuess ? withKey(valid) : undefined
    })
    for (let i = 0; i < 20; i++) {
      await expect(storage.stat(key)).rejects.toMatchObject({ code: 'EACCES' })
      await expect(storage.read(key, 0, 5)).rejects.toMatchObject({ code: 'EACCES' })
    }
    expect(guesses.filter(Boolean)).toEqual([])
    valid = 'SECOND'
    expect(await storage.stat('key')).toMatchObject({ size: 5 })
    expect(await storage.read('key', 0, 5)).toHaveLength(5)
  })

  it('costs one request more to learn why', async () => {
    const storage = storageThat(() => undefined)
    await expect(storage.stat(key)).rejects.toMatchObject({ code: 'EACCES' })
    expect(requests).toEqual([`HEAD /bucket/${key}`, `GET /bucket/${key}`])
    requests.length = 0
    expect(await storage.stat('key')).toMatchObject({ size: 5 })
    expect(requests).toEqual(['HEAD /bucket/key'])
  })
})

it('a denied object that other credentials may read is read with them', async () => {
  const storage = storageThat(fromFile())
  refusal = [403, 'AccessDenied']
  valid = 'SECOND'
  expect(await storage.stat('key')).toMatchObject({ size: 5 })
})
