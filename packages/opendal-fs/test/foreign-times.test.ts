// A version has one modification time, whichever request it was learned from. The listings of many S3 services have milliseconds,
// while a HEAD has whole seconds.

import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { Operator } from '../src/storage/binding.ts'
import { Guest } from './guest.ts'
import { type S3Server, startS3 } from './s3-server.ts'

/** Long enough for a listing, short enough to wait for. */
const TTL_MS = 200

let directory: string
let s3: S3Server
let server: Server
let outside: Operator
let fs: OpendalFs
let guest: Guest

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'ovfs-test-'))
  s3 = await startS3(directory)
  server = withMilliseconds(s3.options.endpoint!)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  outside = new Operator('s3', s3.options)
  const operator = new Operator('s3', { ...s3.options, endpoint })
  const ttls = { attrTtlMs: TTL_MS, entryTtlMs: TTL_MS }
  fs = new OpendalFs(operator, { scheme: 's3', ...ttls, onError: () => undefined })
  guest = new Guest(fs)
})
afterAll(async () => {
  await fs.close()
  server.closeAllConnections()
  server.close()
  await s3.close()
  rmSync(directory, { recursive: true, force: true })
})

/** Passes everything on, and gives the times in listings milliseconds. */
function withMilliseconds(endpoint: string): Server {
  return createServer((incoming, answer) => {
    const { method, headers, url } = incoming
    const outgoing = request(`${endpoint}${url}`, { method, headers }, (response: IncomingMessage) => {
      const chunks: Buffer[] = []
      response.on('data', chunk => chunks.push(chunk))
      response.on('end', () => {
        const body = Buffer.concat(chunks)
        const isListing = url!.includes('list-type=2')
        const text = body.toString().replaceAll(/\.000Z<\/LastModified>/g, '.789Z</LastModified>')
        const { 'content-length': _, 'transfer-encoding': __, ...rest } = response.headers
        const length = method === 'HEAD' ? response.headers['content-length'] : undefined
        answer.writeHead(response.statusCode!, { ...rest, ...(length && { 'content-length': length }) })
        answer.end(isListing ? text : body)
      })
    })
    incoming.pipe(outgoing)
  })
}

it('an object of another program shows the same time in listings and in stat, and after it was forgotten', async () => {
  const names = ['a', 'b', 'c']
  for (const name of names) await outside.write(name, 'content')
  const listed = async () => {
    const found = new Map<string, readonly [number, number]>()
    for (const { name, entry } of await guest.readdir('/', { plus: true })) {
      if (entry === undefined) continue
      found.set(name, [entry.attr.mtime, entry.attr.mtimensec])
      fs.forget(entry.nodeid as never, 1)
    }
    return found
  }
  const first = await listed()
  expect([...first.keys()].sort()).toEqual(names)
  await setTimeout(2 * TTL_MS)
  for (const name of names) {
    const { ino, mtime, mtimensec } = await guest.stat(name)
    expect([mtime, mtimensec]).toEqual(first.get(name))
    fs.forget(ino as never, 1)
  }
  await setTimeout(2 * TTL_MS)
  expect(await listed()).toEqual(first)
})
