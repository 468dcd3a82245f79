// An S3 server in memory that takes every key literally: one with `.`, `..` or empty segments is an object like any other. It
// checks no signature. A test can answer a request itself (`intercept`) or act before the answer of one is sent (`before`).

import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

const BUCKET = 'ovfs'
const LARGEST_PAGE = 1000

export interface StoredObject {
  readonly bytes: Buffer
  readonly etag: string
  readonly modified: Date
  /** Those of an object's headers that a service keeps. */
  readonly headers: Readonly<Record<string, string>>
}

export interface S3Request {
  readonly method: string
  readonly key: string
  readonly query: URLSearchParams
  /** Of a copy: the key that is copied. */
  readonly copyOf: string | undefined
}

export interface Answer {
  readonly status: number
  readonly body?: string
}

/** An error as S3 answers it, by default in a failed request. */
export function s3Error(code: string, status: number): Answer {
  return { status, body: `<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>` }
}

export class PlainS3 {
  readonly objects = new Map<string, StoredObject>()
  /** Every request, as `METHOD key`; copies as `COPY key`, listings as `LIST prefix`. */
  requests: string[] = []
  /** What it returns is the answer, and the request is not done. */
  intercept: (request: S3Request) => Answer | undefined = () => undefined
  /** Runs when a request has been done, before it is answered. */
  before: (request: S3Request) => Promise<void> | void = () => undefined
  /** A copy gets an etag of its own, as on Azure Blob. */
  copiesAreNew = false
  #copies = 0
  readonly #uploads = new Map<string, Map<number, Buffer>>()
  readonly #server: Server

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(error => response.destroy(error))
    })
  }

  static async start(): Promise<PlainS3> {
    const s3 = new PlainS3()
    await new Promise<void>(resolve => s3.#server.listen(0, '127.0.0.1', resolve))
    return s3
  }

  /** What OpenDAL's `s3` service needs. */
  get options(): Record<string, string> {
    return {
      bucket: BUCKET,
      endpoint: `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`,
      region: 'us-east-1',
      access_key_id: 'key',
      secret_access_key: 'secret',
    }
  }

  async close(): Promise<void> {
    const closed = new Promise<void>(resolve => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  put(key: string, content: string | Buffer, headers: Record<string, string> = {}, etag?: string): void {
    const bytes = Buffer.from(content)
    const digest = createHash('md5').update(bytes).digest('hex')
    this.objects.set(key, { bytes, etag: `"${etag ?? digest}"`, modified: new Date(), headers })
  }

  /** The text of every object, by key. */
  texts(): Record<string, string> {
    return Object.fromEntries([...this.objects].sort().map(([key, { bytes }]) => [key, bytes.toString()]))
  }

  count(method: string): number {
    return this.requests.filter(request => request.startsWith(`${method} `)).length
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const [path = '', search = ''] = (request.url ?? '').split('?')
    const source = request.headers['x-amz-copy-source']
    const called: S3Request = {
      method: request.method ?? '',
      key: decodeURIComponent(path.slice(`/${BUCKET}/`.length)),
      query: new URLSearchParams(search),
      copyOf:
        source === undefined
          ? undefined
          : decodeURIComponent(String(source)).replace(/^\//, '').slice(`${BUCKET}/`.length),
    }
    const verb = called.copyOf !== undefined ? 'COPY' : called.query.has('list-type') ? 'LIST' : called.method
    this.requests.push(`${verb} ${verb === 'LIST' ? called.query.get('prefix') : called.key}`)
    const answer = this.intercept(called) ?? this.#answer(called, request, Buffer.concat(chunks), response)
    await this.before(called)
    response.statusCode = answer.status
    const body = 'bytes' in answer ? answer.bytes : Buffer.from(answer.body ?? '')
    if (called.method === 'HEAD') response.end()
    else response.end(body)
  }

  #answer(
    called: S3Request,
    { headers }: IncomingMessage,
    body: Buffer,
    response: ServerResponse,
  ): Answer | { status: number; bytes: Buffer } {
    const { method, key, query, copyOf } = called
    if (query.has('list-type')) return this.#list(query)
    if (method === 'POST' && query.has('uploads')) {
      const id = `upload-${this.#uploads.size}`
      this.#uploads.set(id, new Map())
      return {
        status: 200,
        body: `<InitiateMultipartUploadResult><Bucket>${BUCKET}</Bucket><Key>k</Key><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
      }
    }
    const kept = Object.fromEntries(
      Object.entries(headers).filter(([name]) => /^(x-amz-meta-|content-type$|cache-control$)/.test(name)),
    ) as Record<string, string>
    if (query.has('uploadId')) {
      const parts = this.#uploads.get(query.get('uploadId')!)
      if (parts === undefined) return s3Error('NoSuchUpload', 404)
      if (method === 'PUT') {
        parts.set(Number(query.get('partNumber')), body)
        response.setHeader('etag', '"part"')
        return { status: 200 }
      }
      const bytes = Buffer.concat([...parts].sort(([a], [b]) => a - b).map(([, part]) => part))
      this.put(key, bytes, {}, `${createHash('md5').update(bytes).digest('hex')}-${parts.size}`)
      return { status: 200, body: '<CompleteMultipartUploadResult></CompleteMultipartUploadResult>' }
    }
    const stored = this.objects.get(copyOf ?? key)
    if (method === 'PUT' && copyOf === undefined) {
      if (headers['if-none-match'] === '*' && stored !== undefined) return s3Error('PreconditionFailed', 412)
      this.put(key, body, kept)
      response.setHeader('etag', this.objects.get(key)!.etag)
      return { status: 200 }
    }
    if (method === 'DELETE') {
      this.objects.delete(key)
      return { status: 204 }
    }
    if (stored === undefined) return s3Error('NoSuchKey', 404)
    const { bytes, etag, modified } = stored
    if (copyOf !== undefined) {
      // As S3 does: the copy has one part, whatever the object had.
      this.put(key, bytes, stored.headers, this.copiesAreNew ? `copy-${++this.#copies}` : undefined)
      return { status: 200, body: `<CopyObjectResult><ETag>${etag}</ETag></CopyObjectResult>` }
    }
    const ifMatch = headers['if-match']
    if (ifMatch !== undefined && ifMatch !== etag) return s3Error('PreconditionFailed', 412)
    response.setHeader('etag', etag)
    response.setHeader('last-modified', modified.toUTCString())
    for (const [name, value] of Object.entries(stored.headers)) response.setHeader(name, value)
    const range = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '')
    const start = Number(range?.[1] ?? 0)
    const part = bytes.subarray(start, range?.[2] ? Number(range[2]) + 1 : undefined)
    response.setHeader('content-length', part.byteLength)
    if (range === null) return { status: 200, bytes: part }
    response.setHeader('content-range', `bytes ${start}-${start + part.byteLength - 1}/${bytes.byteLength}`)
    return { status: 206, bytes: part }
  }

  #list(query: URLSearchParams): Answer {
    const prefix = query.get('prefix') ?? ''
    const delimiter = query.get('delimiter') ?? ''
    const after = query.get('continuation-token') ?? ''
    const entries = new Map<string, string>()
    for (const key of [...this.objects.keys()].sort()) {
      if (!key.startsWith(prefix)) continue
      const cut = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
      if (cut >= 0) {
        const common = key.slice(0, cut + 1)
        entries.set(common, `<CommonPrefixes><Prefix>${escaped(common)}</Prefix></CommonPrefixes>`)
        continue
      }
      const { bytes, etag, modified } = this.objects.get(key)!
      entries.set(
        key,
        `<Contents><Key>${escaped(key)}</Key><LastModified>${modified.toISOString()}</LastModified>` +
          `<ETag>${escaped(etag)}</ETag><Size>${bytes.byteLength}</Size></Contents>`,
      )
    }
    const left = [...entries].filter(([key]) => key > after)
    const page = left.slice(0, LARGEST_PAGE)
    const more = left.length > page.length
    const token = more ? `<NextContinuationToken>${escaped(page.at(-1)![0])}</NextContinuationToken>` : ''
    return {
      status: 200,
      body: `<?xml version="1.0"?><ListBucketResult><IsTruncated>${more}</IsTruncated>${token}${page.map(([, xml]) => xml).join('')}</ListBucketResult>`,
    }
  }
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
