// The whole stack over S3 through a proxy that spoils answers: no wrong byte reaches the reader, nothing hangs, the errno is the
// right one, and everything works again when the fault is over.

import { mkdtempSync, rmSync } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Errno, errnoName, FsError, type FuseClient, ROOT_NODE } from '@ovfs/fuse-proto'
import { Operator } from '@ovfs/opendal-fs'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type S3Server, startS3 } from '../harness/s3.ts'
import { type Daemon, ovfsInProcess } from '../stack/daemons.ts'
import { type Fault, FaultProxy, type FaultRule } from './fault-proxy.ts'

const O_RDWR = 2
const O_TRUNC = 0o1000
const CONTENT = Buffer.from(Array.from({ length: 50_000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff))
const status = (status: number, code: string): Fault => ({ kind: 'status', status, code })

let s3: S3Server
let proxy: FaultProxy
let outside: Operator
let recoveryDir: string
let daemon: Daemon & { readonly trouble: unknown[] }
let driver: VirtioFsDriver
let client: FuseClient

beforeEach(async () => {
  s3 = await startS3()
  proxy = await FaultProxy.start(s3.options.endpoint)
  outside = new Operator('s3', { ...s3.options })
  recoveryDir = mkdtempSync(join(tmpdir(), 'ovfs-faults-'))
  const options = { timeoutMs: 1000, attrTtlMs: 0, entryTtlMs: 0, negativeTtlMs: 0, recoveryDir }
  daemon = await ovfsInProcess('s3', { ...s3.options, endpoint: proxy.endpoint }, options)
  driver = await VirtioFsDriver.connect(daemon.socketPath)
  client = driver.client
  await client.init()
})
afterEach(async () => {
  proxy.heal()
  await driver.close()
  await daemon.stop()
  await proxy.refuse()
  await s3.stop()
  rmSync(recoveryDir, { recursive: true, force: true })
})

/** The name of the errno that the guest gets; what else goes wrong is a failure of the test. */
async function errnoOf(call: Promise<unknown>): Promise<string> {
  try {
    await call
  } catch (error) {
    if (error instanceof FsError) return errnoName(Errno[error.code])
    throw error
  }
  return 'success'
}

async function read(name: string): Promise<Buffer> {
  const { nodeid, attr } = await client.lookup(ROOT_NODE, name)
  if (nodeid === 0) throw new FsError('ENOENT')
  const { fh } = await client.open(nodeid)
  try {
    return Buffer.from(await client.read(nodeid, fh, 0, attr.size))
  } finally {
    await client.release(nodeid, fh)
  }
}

const onData = (method: string, fault: Fault): FaultRule => {
  return (asked, path) => (asked === method && path.includes('/file') ? fault : undefined)
}

describe('a read meets', () => {
  test.each<[string, Fault, string]>([
    ['a connection that is reset', { kind: 'reset' }, 'EIO'],
    ['silence beyond the deadline', { kind: 'silence' }, 'EIO'],
    ['403', status(403, 'AccessDenied'), 'EACCES'],
    ['429', status(429, 'TooManyRequests'), 'EIO'],
    ['500', status(500, 'InternalError'), 'EIO'],
    ['503', status(503, 'SlowDown'), 'EIO'],
    ['412 at every attempt', status(412, 'PreconditionFailed'), 'ESTALE'],
    ['half of the body, then a reset', { kind: 'half body' }, 'EIO'],
    ['half of the body, said to be all', { kind: 'short body' }, 'ESTALE'],
  ])('%s: no byte, the errno, and the bytes once it is over', async (_, fault, errno) => {
    await outside.write('file', CONTENT)
    proxy.rule = onData('GET', fault)
    expect(await errnoOf(read('file'))).toBe(errno)
    proxy.heal()
    expect((await read('file')).equals(CONTENT)).toBe(true)
  })

  test('a service that refuses connections: EIO, and the bytes once it is back', async () => {
    await outside.write('file', CONTENT)
    await proxy.refuse()
    expect(await errnoOf(read('file'))).toBe('EIO')
    await proxy.listen()
    expect((await read('file')).equals(CONTENT)).toBe(true)
  })

  test('one failure of each passing kind: the retry hides it', async () => {
    await outside.write('file', CONTENT)
    const once: Fault[] = [{ kind: 'reset' }, status(503, 'SlowDown'), status(500, 'InternalError')]
    proxy.rule = () => once.pop()
    expect((await read('file')).equals(CONTENT)).toBe(true)
    expect(once).toEqual([])
  })
})

describe('an fsync meets', () => {
  const write = async (content: Buffer): Promise<[number, number]> => {
    const { entry, open } = await client.create(ROOT_NODE, 'file', 0o644, O_RDWR | O_TRUNC)
    await client.write(entry.nodeid, open.fh, 0, content)
    return [entry.nodeid, open.fh]
  }

  test.each<[string, Fault, string]>([
    ['a connection that is reset', { kind: 'reset' }, 'EIO'],
    ['silence beyond the deadline', { kind: 'silence' }, 'EIO'],
    ['403', status(403, 'AccessDenied'), 'EACCES'],
    ['429', status(429, 'TooManyRequests'), 'EIO'],
    ['500', status(500, 'InternalError'), 'EIO'],
    ['503', status(503, 'SlowDown'), 'EIO'],
  ])('%s: the errno, nothing half in the storage, and all of it once it is over', async (_, fault, errno) => {
    const [node, fh] = await write(CONTENT)
    proxy.rule = onData('PUT', fault)
    expect(await errnoOf(client.fsync(node, fh))).toBe(errno)
    expect(await outside.exists('file')).toBe(false)
    expect(Buffer.from(await client.read(node, fh, 0, CONTENT.length)).equals(CONTENT)).toBe(true)
    proxy.heal()
    await client.fsync(node, fh)
    expect((await outside.read('file')).equals(CONTENT)).toBe(true)
    await client.flush(node, fh)
    await client.release(node, fh)
  })

  test('answers that get lost: what was stored all the same is no conflict with itself', async () => {
    const [node, fh] = await write(CONTENT)
    const fault: Fault = { kind: 'lost answer' }
    proxy.rule = onData('PUT', fault)
    expect(await errnoOf(client.fsync(node, fh))).toBe('EIO')
    proxy.heal()
    await client.fsync(node, fh)
    expect((await outside.read('file')).equals(CONTENT)).toBe(true)
    await client.release(node, fh)
  })

  test('a lost answer, and more is written: the storage has it all in the end', async () => {
    await outside.write('file', CONTENT)
    const { nodeid } = await client.lookup(ROOT_NODE, 'file')
    const { fh } = await client.open(nodeid, O_RDWR)
    await client.write(nodeid, fh, 10, Buffer.from('first'))
    proxy.rule = onData('PUT', { kind: 'lost answer' })
    expect(await errnoOf(client.fsync(nodeid, fh))).toBe('EIO')
    await client.write(nodeid, fh, 20, Buffer.from('second'))
    proxy.heal()
    await client.fsync(nodeid, fh)
    const wanted = Buffer.from(CONTENT)
    wanted.write('first', 10)
    wanted.write('second', 20)
    expect((await outside.read('file')).equals(wanted)).toBe(true)
    await client.release(nodeid, fh)
  })

  test('412, because somebody else was faster: ESTALE, and theirs stays', async () => {
    const [node, fh] = await write(CONTENT)
    proxy.rule = (method, path) => {
      if (method !== 'PUT' || !path.includes('/file')) return undefined
      proxy.heal()
      return status(412, 'PreconditionFailed')
    }
    expect(await errnoOf(client.fsync(node, fh))).toBe('ESTALE')
    expect(await errnoOf(client.flush(node, fh))).toBe('ESTALE')
    await client.release(node, fh)
    expect(await outside.exists('file')).toBe(false)
  })
})

describe('a large file whose parts go up while it is written meets', () => {
  const MIB = 1 << 20
  const content = Buffer.alloc(44 * MIB)
  for (let at = 0; at < content.length; at += 4096) content.writeUInt32LE(at, at)
  const isPart = (method: string, path: string, number: number) =>
    method === 'PUT' && path.includes(`partNumber=${number}&`)

  async function write(rule: FaultRule): Promise<{ node: number; fh: number; requests: string[] }> {
    const requests: string[] = []
    proxy.rule = (method, path, headers) => {
      requests.push(`${method} ${path}`)
      return rule(method, path, headers)
    }
    const { entry, open } = await client.create(ROOT_NODE, 'file', 0o644, O_RDWR)
    for (let at = 0; at < content.length; at += MIB)
      await client.write(entry.nodeid, open.fh, at, content.subarray(at, at + MIB))
    const sent = () => requests.some(request => request.includes('partNumber='))
    await expect.poll(sent, { timeout: 30_000 }).toBe(true)
    return { node: entry.nodeid, fh: open.fh, requests }
  }
  const begun = (requests: string[]) => requests.filter(request => request.endsWith('?uploads')).length
  const storedRight = async () => (await outside.read('file')).equals(content)

  test('one failure of a part: it is sent again, and no other', async () => {
    let failures = 1
    const { node, fh, requests } = await write((method, path) =>
      isPart(method, path, 2) && failures-- > 0 ? status(503, 'SlowDown') : undefined,
    )
    await client.fsync(node, fh)
    expect(begun(requests)).toBe(1)
    const numbers = requests.flatMap(request => /partNumber=(\d+)/.exec(request)?.[1] ?? []).sort()
    expect(numbers).toEqual(['1', '2', '2', '3', '4', '5', '6'])
    expect(await storedRight()).toBe(true)
    await client.release(node, fh)
  })

  test('a part that is refused: the file is published from its start', async () => {
    let failures = 1
    const { node, fh, requests } = await write((method, path) =>
      isPart(method, path, 1) && failures-- > 0 ? status(403, 'AccessDenied') : undefined,
    )
    await client.fsync(node, fh)
    expect(begun(requests)).toBe(2)
    expect(await storedRight()).toBe(true)
    expect(daemon.trouble).toContainEqual(expect.objectContaining({ key: 'file', bytes: expect.any(Number) }))
    await client.release(node, fh)
  })

  test('an upload that the service has cleared away: the file is published from its start', async () => {
    let failures = 1
    const { node, fh, requests } = await write((method, path) =>
      method === 'POST' && path.includes('?uploadId=') && failures-- > 0
        ? status(404, 'NoSuchUpload')
        : undefined,
    )
    await client.fsync(node, fh)
    expect(begun(requests)).toBe(2)
    expect(await storedRight()).toBe(true)
    await client.release(node, fh)
  })

  test('a completion whose answer is lost: what was stored all the same is no conflict with itself', async () => {
    const { node, fh } = await write((method, path) =>
      method === 'POST' && path.includes('?uploadId=') ? { kind: 'lost answer' } : undefined,
    )
    expect(await errnoOf(client.fsync(node, fh))).toBe('EIO')
    proxy.heal()
    await client.fsync(node, fh)
    expect(await storedRight()).toBe(true)
    await client.release(node, fh)
  })
})

describe('a rename meets', () => {
  const isCopy = (headers: IncomingHttpHeaders): boolean => headers['x-amz-copy-source'] !== undefined
  const onCopy = (fault: Fault): FaultRule => {
    return (_method, _path, headers) => (isCopy(headers) ? fault : undefined)
  }
  const rename = (from: string, to: string) => client.rename(ROOT_NODE, from, ROOT_NODE, to)
  const stored = async (): Promise<string[]> => {
    const names = (await outside.list('')).map(entry => entry.path()).filter(path => /^(a|b)$/.test(path))
    for (const name of names) expect((await outside.read(name)).equals(CONTENT)).toBe(true)
    return names.sort()
  }

  test.each<[string, Fault, string, string[]]>([
    [
      'a copy that is answered 200 with an error',
      { kind: 'error in 200', code: 'InternalError' },
      'success',
      ['b'],
    ],
    ['a copy that the service does not have', status(501, 'NotImplemented'), 'success', ['b']],
    ['a copy that is refused with 400', status(400, 'InvalidRequest'), 'success', ['b']],
    ['a copy whose connection is reset', { kind: 'reset' }, 'EIO', ['a']],
    ['a copy that is answered 403', status(403, 'AccessDenied'), 'EACCES', ['a']],
    ['a copy that is answered 503', status(503, 'SlowDown'), 'EIO', ['a']],
    ['a copy whose answer is lost every time', { kind: 'lost answer' }, 'EIO', ['a', 'b']],
  ])('%s: no byte is lost, and the errno is right', async (_, fault, errno, names) => {
    await outside.write('a', CONTENT)
    proxy.rule = onCopy(fault)
    expect(await errnoOf(rename('a', 'b'))).toBe(errno)
    expect(await stored()).toEqual(names)
    proxy.heal()
    if (errno !== 'success') await rename('a', 'b')
    expect(await stored()).toEqual(['b'])
    expect((await read('b')).equals(CONTENT)).toBe(true)
  })

  test('a late answer, and a newer object at the source meanwhile: that stays, and a line says so', async () => {
    await outside.write('a', CONTENT)
    proxy.rule = onCopy({ kind: 'late answer', until: () => outside.write('a', 'newer') })
    await rename('a', 'b')
    proxy.heal()
    expect((await read('a')).toString()).toBe('newer')
    expect((await read('b')).equals(CONTENT)).toBe(true)
    expect(daemon.trouble.map(String).join()).toMatch(/"a" was replaced by another client/)
  })

  test('faults of every kind at random: every file is at its old or at its new name, with its bytes', async () => {
    const files = ['d/1', 'd/2', 'd/3']
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.option(RENAME_FAULTS, { freq: 3 }), { minLength: 60, maxLength: 60 }),
        async faults => {
          for (const file of files) await outside.write(file, file)
          const left = [...faults]
          proxy.rule = () => left.pop() ?? undefined
          await rename('d', 'e').catch(() => undefined)
          proxy.heal()
          for (const file of files) {
            const places = [file, file.replace('d/', 'e/')]
            const texts = await Promise.all(
              places.map(async key => ((await outside.exists(key)) ? String(await outside.read(key)) : '')),
            )
            expect(texts.some(text => text === file)).toBe(true)
            expect(texts.every(text => text === file || text === '')).toBe(true)
          }
          for (const directory of ['d', 'e']) {
            for (const name of ['1', '2', '3', '']) await outside.delete(`${directory}/${name}`)
          }
        },
      ),
      { numRuns: 10 },
    )
  }, 120_000)
})

const RENAME_FAULTS = fc.constantFrom<Fault>(
  { kind: 'reset' },
  { kind: 'lost answer' },
  { kind: 'error in 200', code: 'SlowDown' },
  status(403, 'AccessDenied'),
  status(500, 'InternalError'),
  status(501, 'NotImplemented'),
  status(503, 'SlowDown'),
)

const spoilt = fc.option(
  fc.oneof(
    fc.constantFrom<Fault>(
      { kind: 'reset' },
      { kind: 'lost answer' },
      { kind: 'half body' },
      { kind: 'short body' },
      status(403, 'AccessDenied'),
      status(429, 'TooManyRequests'),
      status(500, 'InternalError'),
      status(503, 'SlowDown'),
    ),
  ),
  { freq: 1, nil: undefined },
)

test('whatever fails, a read gives the bytes that were written last or an error, and what fsync said is true', async () => {
  let round = 0
  await fc.assert(
    fc.asyncProperty(fc.array(spoilt, { minLength: 40, maxLength: 40 }), async faults => {
      const name = `f${round++}`
      const { entry, open } = await client.create(ROOT_NODE, name, 0o644, O_RDWR)
      const node = entry.nodeid
      for (const [step, size] of [100, 20_000, 3_000].entries()) {
        const bytes = Buffer.alloc(size, `${name}.${step} `)
        await client.write(node, open.fh, 0, bytes)
        proxy.rule = () => faults.pop()
        const published = (await errnoOf(client.fsync(node, open.fh))) === 'success'
        const seen = await read(name).catch((error: unknown) => {
          if (error instanceof FsError) return undefined
          throw error
        })
        proxy.heal()
        if (seen !== undefined) expect(seen.subarray(0, size).equals(bytes)).toBe(true)
        if (published) expect((await outside.read(name)).subarray(0, size).equals(bytes)).toBe(true)
        await client.fsync(node, open.fh)
        expect((await outside.read(name)).subarray(0, size).equals(bytes)).toBe(true)
      }
      await errnoOf(client.flush(node, open.fh))
      await client.release(node, open.fh)
    }),
    { numRuns: 12 },
  )
}, 120_000)
