// Ends of the real daemon while a guest has written and not closed: what is published, and what is said if it is not.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ROOT_NODE } from '@ovfs/fuse-proto'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { buildProgram, type Run, WAITING, Workshop } from './ovfs-process.ts'

let work: Workshop
let driver: VirtioFsDriver | undefined
let server: Server | undefined

beforeAll(buildProgram, 120_000)
beforeEach(() => {
  work = new Workshop()
  mkdirSync(work.path('share'))
})
afterEach(async () => {
  await driver?.close()
  work.clear()
  server?.closeAllConnections()
  await new Promise<unknown>(resolve => (server ? server.close(resolve) : resolve(undefined)))
  driver = undefined
  server = undefined
})

const DATA = Buffer.from('written, never closed')

/** A guest that has written to an open file. */
async function writing(uri: string, ...args: string[]): Promise<Run> {
  const run = work.ovfs(['serve', uri, '--socket', work.path('a.sock'), ...args], {
    env: { KEY: 'sekrit-key' },
  })
  await run.said(WAITING)
  driver = await VirtioFsDriver.connect(work.path('a.sock'))
  await driver.client.init()
  const { entry, open } = await driver.client.create(ROOT_NODE, 'draft')
  expect(await driver.client.write(entry.nodeid, open.fh, 0, DATA)).toBe(DATA.length)
  return run
}

/** An S3 server with an empty bucket. What becomes of a write is the test's choice. */
async function emptyBucket(
  put: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  server = createServer((request, response) => {
    request.resume()
    if (request.method === 'PUT') return put(request, response)
    if (request.method === 'GET' && request.url?.includes('list-type=2')) {
      response.writeHead(200, { 'content-type': 'application/xml' })
      return response.end(
        '<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>',
      )
    }
    return response.writeHead(404).end()
  })
  await new Promise<void>(resolve => server?.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return `s3://b?endpoint=http://127.0.0.1:${port}&access_key_id=AKID&disable_config_load=true`
}

const KEY = ['-o', 'secret_access_key=env:KEY']

describe('a guest has written to a file that it has not closed', () => {
  it('SIGUSR2 tells that it is not published, and then that it has lost', async () => {
    const run = await writing(`fs://${work.path('share')}`)
    run.child.kill('SIGUSR2')
    await run.said('status unpublished=1 lost=0')
    await run.said('unpublished path=/draft')
    writeFileSync(work.path('share/draft'), 'somebody else was faster')
    const { client } = driver!
    const { nodeid } = await client.lookup(ROOT_NODE, 'draft')
    await expect(client.fsync(nodeid, 1)).rejects.toMatchObject({ code: 'ESTALE' })
    run.child.kill('SIGUSR2')
    await run.said('status unpublished=0 lost=1')
    await run.said('lost path=/draft kept=')
    run.child.kill('SIGTERM')
    expect((await run.ended).code).toBe(0)
  })

  it('SIGTERM publishes it before the daemon ends', async () => {
    const run = await writing(`fs://${work.path('share')}`)
    run.child.kill('SIGTERM')
    const { code, stderr } = await run.ended
    expect([code, stderr.trimEnd().split(' ').at(-1)]).toEqual([0, 'ended'])
    expect(readFileSync(work.path('share/draft'))).toEqual(DATA)
    expect(readdirSync(work.path('share')).filter(name => name !== '.ovfs-attributes')).toEqual(['draft'])
  })

  it('and somebody else has made the same file: theirs stays, and the daemon says where the other bytes are', async () => {
    mkdirSync(work.path('staging'))
    const run = await writing(`fs://${work.path('share')}`, '--staging-dir', work.path('staging'))
    writeFileSync(work.path('share/draft'), 'theirs')
    run.child.kill('SIGTERM')
    const { code, stderr } = await run.ended
    const kept = /changed by somebody else: .* path=\/draft errno=ESTALE kept=(\S+)/.exec(stderr)?.[1]
    expect(kept).toMatch(/\/staging\/ovfs-recovery-fs[^/]*\/draft\./)
    expect(readFileSync(kept!)).toEqual(DATA)
    expect(readFileSync(work.path('share/draft'), 'utf8')).toBe('theirs')
    expect(code).toBe(1)
  })

  it('with --once the guest that goes away has it published', async () => {
    const run = await writing(`fs://${work.path('share')}`, '--once')
    await driver?.close()
    driver = undefined
    expect((await run.ended).code).toBe(0)
    expect(readFileSync(work.path('share/draft'))).toEqual(DATA)
  })

  it('and the service does not answer: the daemon ends at the time limit and says so', async () => {
    const uri = await emptyBucket(() => {})
    const run = await writing(uri, ...KEY, '--shutdown-timeout=300ms')
    run.child.kill('SIGTERM')
    const { code, stderr } = await run.ended
    expect(code).toBe(1)
    expect(stderr).toMatch(/^ovfs: not done within 0.3 s, not published: "\/draft"$/m)
  })

  it('and the service does not answer: a second signal ends the daemon', async () => {
    const uri = await emptyBucket(() => run.child.kill('SIGINT'))
    const run = await writing(uri, ...KEY)
    run.child.kill('SIGTERM')
    const { code, stderr } = await run.ended
    expect(code).toBe(1)
    expect(stderr).toMatch(/^ovfs: stopped by a second SIGINT, not published: "\/draft"$/m)
  })

  it('and the service refuses it: the daemon fails, with the path and what to do', async () => {
    const uri = await emptyBucket((_, response) => {
      response.writeHead(403, { 'content-type': 'application/xml' })
      response.end('<Error><Code>AccessDenied</Code><Message>read-only key</Message></Error>')
    })
    const run = await writing(uri, ...KEY)
    run.child.kill('SIGTERM')
    const { code, stderr } = await run.ended
    expect(stderr).toMatch(
      /error storage operation failed operation=\w+ path=draft errno=EACCES error="PermissionDenied, AccessDenied, read-only key" hint="the credentials are accepted, but lack this permission/,
    )
    expect(stderr).toMatch(/^ovfs: publishing failed, not published: "\/draft"/m)
    expect(stderr).not.toMatch(/sekrit-key|X-Amz|authorization/i)
    expect(code).toBe(1)
  })

  it('and the storage did not take it: a daemon for another storage does not take what is left, and says so', async () => {
    const uri = await emptyBucket((_, response) => response.writeHead(403).end())
    const state = work.path('state')
    const run = await writing(uri, ...KEY, '--state-dir', state)
    run.child.kill('SIGTERM')
    await run.ended
    const args = ['--socket', work.path('a.sock'), '--state-dir', state]
    const { code, stderr } = await work.ovfs(['serve', `fs://${work.path('share')}`, ...args]).ended
    expect(code).not.toBe(0)
    expect(stderr).toMatch(/it holds what belongs into s3 bucket=b endpoint=http:\S+, and not into fs root=/)
    expect(stderr).toContain('serve that storage first, or give another --state-dir')
    expect(readdirSync(work.path('share'))).toEqual([])
  })
})
