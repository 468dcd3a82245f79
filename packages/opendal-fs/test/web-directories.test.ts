// Shares of web servers that treat directories in the three ways that are common.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { Operator } from '../src/storage/binding.ts'
import { Guest } from './guest.ts'

const FILES: Readonly<Record<string, string>> = {
  '/top.txt': 'top',
  '/a/b/c.txt': 'deep',
  '/a/b/README': 'no extension',
  '/v1.2/python3.11/x.tar.gz': 'versions',
  '/conf.d/site.conf': 'extension',
}
const isDirectory = (path: string) => Object.keys(FILES).some(file => file.startsWith(path))

type Answer = { status: number; body?: string; headers?: Record<string, string> }

/** What a server answers for a directory, with its slash. */
const SERVERS: readonly (readonly [string, ((path: string) => Answer) | undefined])[] = [
  ['that knows only whole paths, like a bucket', undefined],
  ['that makes an index', () => ({ status: 200, body: '<html>', headers: { 'content-type': 'text/html' } })],
  ['that refuses an index', () => ({ status: 403 })],
]

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

async function mount(
  index: ((path: string) => Answer) | undefined,
): Promise<{ guest: Guest; requests: string[] }> {
  const requests: string[] = []
  const answer = (path: string): Answer => {
    const body = FILES[path]
    if (body !== undefined)
      return { status: 200, body, headers: { etag: '"1"', 'content-type': 'text/plain' } }
    if (path === '/secret.txt') return { status: 403 }
    if (index !== undefined && path.endsWith('/') && isDirectory(path)) return index(path)
    if (index !== undefined && isDirectory(`${path}/`))
      return { status: 301, headers: { location: `${path}/` } }
    return { status: 404 }
  }
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`)
    const { status, body, headers } = answer(request.url!)
    const length = body === undefined || status !== 200 ? {} : { 'content-length': body.length }
    response.writeHead(status, { ...headers, ...length }).end(request.method === 'HEAD' ? undefined : body)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const fs = new OpendalFs(new Operator('http', { endpoint }), { scheme: 'http' })
  closing.push(async () => {
    await fs.close()
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  })
  return { guest: new Guest(fs), requests }
}

describe.each(SERVERS)('a web server %s', (_, index) => {
  it('has its files at any depth', async () => {
    const { guest } = await mount(index)
    expect(await guest.text('top.txt')).toBe('top')
    expect(await guest.text('a/b/c.txt')).toBe('deep')
    expect(await guest.text('a/b/README')).toBe('no extension')
    expect(await guest.text('v1.2/python3.11/x.tar.gz')).toBe('versions')
  })

  it('lacks a name with an extension that is missing, and refuses one that it refuses', async () => {
    const { guest } = await mount(index)
    await expect(guest.stat('missing.txt')).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(guest.stat('a/b/.git')).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(guest.stat('secret.txt')).rejects.toMatchObject({ code: 'EACCES' })
  })

  it('shows directories as directories', async () => {
    const { guest } = await mount(index)
    for (const path of ['a', 'a/b', 'v1.2']) expect((await guest.stat(path)).mode >> 12).toBe(4)
  })

  it('is asked once for each name', async () => {
    const { guest, requests } = await mount(index)
    await guest.stat('top.txt')
    expect(requests.filter(request => request.includes('top'))).toEqual(['HEAD /top.txt'])
  })
})
