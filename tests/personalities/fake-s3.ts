// An S3 server in memory whose answers a test can change, request by request. It has conditional writes, copies, ranges, uploads in
// parts, listings in pages, and a policy of what the caller may do, which it applies as AWS does: an absent key is 403 for a caller
// that may not list.

import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export type S3Operation =
  | 'head'
  | 'get'
  | 'put'
  | 'copy'
  | 'delete'
  | 'list'
  | 'create upload'
  | 'part'
  | 'complete upload'
  | 'abort upload'

export interface S3Request {
  readonly operation: S3Operation
  /** Empty for the bucket itself. */
  readonly key: string
  readonly headers: IncomingMessage['headers']
}

export interface S3Error {
  readonly status: number
  /** Without one the answer has no body. */
  readonly code?: string
  /** The request is carried out all the same. */
  readonly afterwards?: true
  /** Answers with this status, and the error in the body. */
  readonly hidden?: true
}

/** How a server differs from the plain one. */
export interface Personality {
  /** The error to answer with, if this request is refused. */
  readonly refuse?: (request: S3Request) => S3Error | undefined
  /** Entries in a page of a listing. */
  readonly pageSize?: number
  /** Before each listing is answered. */
  readonly listingDelayMs?: number
  /** Times in listings are whole seconds too. */
  readonly wholeSeconds?: boolean
  /** No error has a body. */
  readonly bodiless?: boolean
}

interface StoredObject {
  readonly bytes: Buffer
  readonly etag: string
  readonly modified: number
  readonly headers: Readonly<Record<string, string>>
}

const BUCKET = 'bucket'

export class FakeS3 {
  personality: Personality = {}
  /** What the caller may do; everything by default. */
  allows: (operation: S3Operation, key: string) => boolean = () => true
  /** `operation key` of each request. */
  readonly requests: string[] = []
  readonly objects = new Map<string, StoredObject>()
  readonly #uploads = new Map<string, Map<number, Buffer>>()
  readonly #server: Server
  #writes = 0

  private constructor() {
    this.#server = createServer((request, response) => {
      void this.#serve(request, response).catch(error => response.destroy(error as Error))
    })
  }

  static async start(): Promise<FakeS3> {
    const s3 = new FakeS3()
    await new Promise<void>(resolve => s3.#server.listen(0, '127.0.0.1', resolve))
    return s3
  }

  /** What OpenDAL's `s3` service needs. */
  get options(): Record<string, string> {
    return {
      bucket: BUCKET,
      region: 'nowhere',
      endpoint: `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`,
      access_key_id: 'KEY',
      secret_access_key: 'SECRET',
      disable_config_load: 'true',
    }
  }

  async stop(): Promise<void> {
    const closed = new Promise(resolve => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }

  /** As another host stores it. */
  put(key: string, content: string | Buffer): void {
    this.#store(key, Buffer.from(content), {})
  }

  text(key: string): string | undefined {
    return this.objects.get(key)?.bytes.toString()
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', headers } = request
    const url = new URL(request.url ?? '', 'http://host')
    const key = decodeURIComponent(url.pathname.slice(BUCKET.length + 2))
    const operation = operationOf(method, key, url.searchParams, headers)
    this.requests.push(`${operation} ${key || url.searchParams.get('prefix') || ''}`)
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks)
    if (operation === 'list') await sleep(this.personality.listingDelayMs ?? 0)
    const asked: S3Request = { operation, key, headers }
    const error = this.personality.refuse?.(asked) ?? this.#denial(asked, url.searchParams)
    if (error !== undefined && error.afterwards === undefined) return this.#fail(asked, response, error)
    const answer = this.#answer(asked, url.searchParams, body)
    if ('status' in answer) return this.#fail(asked, response, answer)
    if (error !== undefined) return this.#fail(asked, response, error)
    response.writeHead(answer.code ?? 200, answer.headers)
    response.end(operation === 'head' ? undefined : answer.body)
  }

  #fail({ operation }: S3Request, response: ServerResponse, { status, code, hidden }: S3Error): void {
    const isBare = code === undefined || operation === 'head' || (this.personality.bodiless && !hidden)
    response.writeHead(status, { 'content-type': 'application/xml' })
    response.end(isBare ? undefined : `<Error><Code>${code}</Code><Message>refused</Message></Error>`)
  }

  #denial({ operation, key }: S3Request, query: URLSearchParams): S3Error | undefined {
    const denied: S3Error = { status: 403, code: 'AccessDenied' }
    if (!this.allows(operation, operation === 'list' ? (query.get('prefix') ?? '') : key)) return denied
    const looks = operation === 'head' || operation === 'get'
    return looks && !this.objects.has(key) && !this.allows('list', key) ? denied : undefined
  }

  #answer(request: S3Request, query: URLSearchParams, body: Buffer): Success | S3Error {
    const { operation, key, headers } = request
    switch (operation) {
      case 'list':
        return { body: this.#list(query) }
      case 'put': {
        const lost = this.#unmet(request)
        if (lost !== undefined) return lost
        const { etag } = this.#store(key, body, headers)
        return { headers: { etag } }
      }
      case 'copy': {
        const [, ...source] = decodeURIComponent(String(headers['x-amz-copy-source']))
          .replace(/^\//, '')
          .split('/')
        const object = this.objects.get(source.join('/'))
        if (object === undefined) return { status: 404, code: 'NoSuchKey' }
        const { etag } = this.#store(key, object.bytes, object.headers)
        return { body: `<CopyObjectResult><ETag>${etag}</ETag></CopyObjectResult>` }
      }
      case 'delete':
        this.objects.delete(key)
        return { code: 204 }
      case 'create upload': {
        const id = `upload-${++this.#writes}`
        this.#uploads.set(id, new Map())
        return { body: `<R><Bucket>${BUCKET}</Bucket><Key>${xml(key)}</Key><UploadId>${id}</UploadId></R>` }
      }
      case 'part': {
        const upload = this.#uploads.get(query.get('uploadId') ?? '')
        if (upload === undefined) return { status: 404, code: 'NoSuchUpload' }
        upload.set(Number(query.get('partNumber')), body)
        return { headers: { etag: etagOf(body) } }
      }
      case 'complete upload': {
        const id = query.get('uploadId') ?? ''
        const upload = this.#uploads.get(id)
        if (upload === undefined) return { status: 404, code: 'NoSuchUpload' }
        const parts = [...upload].sort(([a], [b]) => a - b).map(([, part]) => part)
        this.#uploads.delete(id)
        const { etag } = this.#store(key, Buffer.concat(parts), {})
        return { body: `<R><Bucket>${BUCKET}</Bucket><Key>${xml(key)}</Key><ETag>${xml(etag)}</ETag></R>` }
      }
      case 'abort upload':
        this.#uploads.delete(query.get('uploadId') ?? '')
        return { code: 204 }
      default:
        return this.#look(request)
    }
  }

  /** HEAD and GET. */
  #look({ operation, key, headers }: S3Request): Success | S3Error {
    const object = this.objects.get(key)
    if (object === undefined) return { status: 404, code: 'NoSuchKey' }
    if (headers['if-match'] !== undefined && headers['if-match'] !== object.etag)
      return { status: 412, code: 'PreconditionFailed' }
    const { bytes, etag, modified } = object
    const all = {
      ...object.headers,
      etag,
      'last-modified': new Date(modified).toUTCString(),
      'content-length': String(bytes.length),
    }
    const range = /^bytes=(\d+)-(\d+)?$/.exec(headers.range ?? '')
    if (operation === 'head' || range === null) return { headers: all, body: bytes }
    const start = Number(range[1])
    if (start >= bytes.length) return { status: 416, code: 'InvalidRange' }
    const part = bytes.subarray(start, range[2] === undefined ? undefined : Number(range[2]) + 1)
    const shown = `bytes ${start}-${start + part.length - 1}/${bytes.length}`
    return {
      code: 206,
      headers: { ...all, 'content-length': String(part.length), 'content-range': shown },
      body: part,
    }
  }

  #unmet({ key, headers }: S3Request): S3Error | undefined {
    const there = this.objects.get(key)
    const isLost =
      (headers['if-none-match'] === '*' && there !== undefined) ||
      (headers['if-match'] !== undefined && headers['if-match'] !== there?.etag)
    return isLost ? { status: 412, code: 'PreconditionFailed' } : undefined
  }

  #store(key: string, bytes: Buffer, headers: IncomingMessage['headers']): StoredObject {
    const metadata = Object.entries(headers).filter(([name]) => name.startsWith('x-amz-meta-'))
    const object = {
      bytes,
      // Two versions of the same bytes are two versions.
      etag: etagOf(bytes, ++this.#writes),
      modified: Date.now(),
      headers: Object.fromEntries(metadata) as Record<string, string>,
    }
    this.objects.set(key, object)
    return object
  }

  #list(query: URLSearchParams): string {
    const prefix = query.get('prefix') ?? ''
    const delimiter = query.get('delimiter') ?? ''
    const after = query.get('continuation-token') ?? query.get('start-after') ?? ''
    const most = Math.min(Number(query.get('max-keys') ?? 1000), this.personality.pageSize ?? 1000)
    const entries: string[] = []
    let last = ''
    let isTruncated = false
    const shownPrefixes = new Set<string>()
    for (const key of [...this.objects.keys()].sort()) {
      if (!key.startsWith(prefix)) continue
      const end = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
      const name = end < 0 ? key : key.slice(0, end + 1)
      if (name <= after || shownPrefixes.has(name)) continue
      if (entries.length === most) {
        isTruncated = true
        break
      }
      last = name
      if (end < 0) entries.push(this.#contents(key, this.objects.get(key)!))
      else {
        shownPrefixes.add(name)
        entries.push(`<CommonPrefixes><Prefix>${xml(name)}</Prefix></CommonPrefixes>`)
      }
    }
    const next = isTruncated ? `<NextContinuationToken>${xml(last)}</NextContinuationToken>` : ''
    return `<ListBucketResult><Name>${BUCKET}</Name><IsTruncated>${isTruncated}</IsTruncated>${next}${entries.join('')}</ListBucketResult>`
  }

  #contents(key: string, { bytes, etag, modified }: StoredObject): string {
    const time = this.personality.wholeSeconds ? Math.floor(modified / 1000) * 1000 : modified
    return `<Contents><Key>${xml(key)}</Key><LastModified>${new Date(time).toISOString()}</LastModified><ETag>${xml(etag)}</ETag><Size>${bytes.length}</Size></Contents>`
  }
}

interface Success {
  readonly code?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
}

function operationOf(
  method: string,
  key: string,
  query: URLSearchParams,
  headers: IncomingMessage['headers'],
): S3Operation {
  if (key === '') return 'list'
  if (query.has('uploads')) return 'create upload'
  if (query.has('uploadId')) {
    if (method === 'PUT') return 'part'
    return method === 'POST' ? 'complete upload' : 'abort upload'
  }
  if (method === 'HEAD') return 'head'
  if (method === 'DELETE') return 'delete'
  if (method === 'PUT') return headers['x-amz-copy-source'] === undefined ? 'put' : 'copy'
  return 'get'
}

function etagOf(bytes: Buffer, version?: number): string {
  const digest = createHash('md5').update(bytes).digest('hex')
  return version === undefined ? `"${digest}"` : `"${digest}-${version}"`
}

function xml(text: string): string {
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}
