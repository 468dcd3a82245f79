// fake-gcs-server: a server of Google Cloud Storage's JSON interface, in memory. It does not check credentials. What it lacks is
// added by a proxy in this process: uploads in parts, which OpenDAL makes by the XML interface.

import { existsSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { repository } from './initramfs.ts'
import { startListening } from './listening-server.ts'

const PROGRAM = join(repository, '.cache', 'servers', 'fake-gcs-server', 'fake-gcs-server')

/** Names what this server needs and the machine lacks. */
export function missingForGcs(): string | undefined {
  return existsSync(PROGRAM) ? undefined : 'fake-gcs-server (node scripts/prepare.mjs --tests)'
}

export interface GcsServer {
  /** What OpenDAL's `gcs` service needs. */
  readonly options: {
    readonly bucket: string
    readonly endpoint: string
    readonly allow_anonymous: 'true'
    readonly disable_vm_metadata: 'true'
    readonly disable_config_load: 'true'
  }
  stop(): Promise<void>
}

export async function startGcs(bucket = 'ovfs'): Promise<GcsServer> {
  const port = await freePort()
  const proxy = createServer((incoming, outgoing) => {
    answer(port, incoming, outgoing).catch(error => outgoing.destroy(error))
  })
  await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
  const endpoint = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
  const args = ['-scheme', 'http', '-host', '127.0.0.1', '-port', String(port), '-backend', 'memory']
  const names = ['-external-url', endpoint, '-public-host', new URL(endpoint).host, '-log-level', 'error']
  const server = await startListening(port, PROGRAM, [...args, ...names])
  const { status } = await fetch(`${endpoint}/storage/v1/b`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: bucket }),
  })
  if (status !== 200) throw new Error(`fake-gcs-server answered ${status} to the making of a bucket`)
  return {
    options: {
      bucket,
      endpoint,
      allow_anonymous: 'true',
      disable_vm_metadata: 'true',
      disable_config_load: 'true',
    },
    stop: async () => {
      proxy.close()
      proxy.closeAllConnections()
      await server.stop()
    },
  }
}

/** Parts of the uploads that are not complete, by upload id. */
const uploads = new Map<string, Map<number, Buffer>>()
let nextUpload = 1

/** Answers requests of the XML interface's uploads in parts, and passes all others on. */
async function answer(port: number, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const url = new URL(incoming.url!, 'http://127.0.0.1')
  const id = url.searchParams.get('uploadId')
  if (incoming.method === 'POST' && url.searchParams.has('uploads')) {
    const started = String(nextUpload++)
    uploads.set(started, new Map())
    const xml = `<InitiateMultipartUploadResult><UploadId>${started}</UploadId></InitiateMultipartUploadResult>`
    outgoing.end(xml)
  } else if (id !== null) {
    const parts = uploads.get(id)
    if (parts === undefined) return void outgoing.writeHead(404).end()
    const body = await bodyOf(incoming)
    if (incoming.method === 'PUT') {
      const number = Number(url.searchParams.get('partNumber'))
      parts.set(number, body)
      outgoing.writeHead(200, { etag: `"${id}-${number}"` }).end()
    } else {
      uploads.delete(id)
      if (incoming.method === 'POST') await complete(port, url, incoming, parts, outgoing)
      else outgoing.writeHead(204).end()
    }
  } else {
    const { method, headers } = incoming
    const onward = request({ port, host: '127.0.0.1', method, path: incoming.url, headers }, reply => {
      outgoing.writeHead(reply.statusCode!, reply.headers)
      reply.pipe(outgoing)
    })
    onward.once('error', error => outgoing.destroy(error))
    incoming.pipe(onward)
  }
}

/** Stores the joined parts by the JSON interface. */
async function complete(
  port: number,
  url: URL,
  { headers }: IncomingMessage,
  parts: Map<number, Buffer>,
  outgoing: ServerResponse,
): Promise<void> {
  const [, bucket, name] = /^\/([^/]+)\/(.*)$/.exec(url.pathname)!
  const query = new URLSearchParams({ uploadType: 'media', name: decodeURIComponent(name!) })
  const generation = headers['x-goog-if-generation-match']
  if (generation !== undefined) query.set('ifGenerationMatch', String(generation))
  const content = Buffer.concat([...parts].sort(([a], [b]) => a - b).map(([, part]) => part))
  const target = `http://127.0.0.1:${port}/upload/storage/v1/b/${bucket}/o?${query}`
  const { status } = await fetch(target, { method: 'POST', body: content })
  outgoing.writeHead(status).end('<CompleteMultipartUploadResult/>')
}

async function bodyOf(incoming: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = []
  for await (const piece of incoming) pieces.push(piece)
  return Buffer.concat(pieces)
}
