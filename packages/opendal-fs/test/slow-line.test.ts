// Time limits measure silence: each test has a transfer that takes several of them.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OpendalFs, type OpendalFsOptions, StateFolder } from '../src/index.ts'
import { Operator } from '../src/storage/binding.ts'
import { Guest, O_RDWR } from './guest.ts'
import { type S3Server, startS3 } from './s3-server.ts'
import { SlowLine } from './slow-line.ts'

const LIMIT_MS = 1000
const SIZE = 150_000
/** Takes 2.5 time limits for SIZE. */
const SLOW = { bytesPerSecond: 60_000 }
const LATE = { delayMs: 2.2 * LIMIT_MS }
const content = Buffer.alloc(SIZE, 'slow ')
const isFile = (path: string) => /\/(?:file|copy)\b/.test(path)

let folder: string
let s3: S3Server
let line: SlowLine
let outside: Operator
let errors: Error[]
let open: OpendalFs[]

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ovfs-slow-'))
  s3 = await startS3(folder)
  line = await SlowLine.start(s3.options.endpoint!)
  outside = new Operator('s3', s3.options)
  errors = []
  open = []
})

afterEach(async () => {
  line.rule = () => undefined
  for (const fs of open) await fs.close().catch(() => undefined)
  await line.close()
  await s3.close()
  rmSync(folder, { recursive: true, force: true })
})

function fileSystem(options: Partial<OpendalFsOptions> = {}): OpendalFs {
  const operator = new Operator('s3', { ...s3.options, endpoint: line.endpoint })
  const onError = (error: Error) => errors.push(error)
  const fs = new OpendalFs(operator, {
    scheme: 's3',
    attrs: 'none',
    timeoutMs: LIMIT_MS,
    onError,
    ...options,
  })
  open.push(fs)
  return fs
}

const mount = (options?: Partial<OpendalFsOptions>) => new Guest(fileSystem(options))
const probes = () => line.requests.filter(request => request.includes('.ovfs-alive')).length

describe('a transfer that takes longer than the time limit ends well while the service answers', () => {
  it('an upload', async () => {
    line.rule = (method, path) => (method === 'PUT' && isFile(path) ? SLOW : undefined)
    await mount().put('file', content)
    expect((await outside.read('file')).equals(content)).toBe(true)
    expect(errors).toEqual([])
    expect(line.requests.filter(request => request.startsWith('PUT'))).toHaveLength(1)
    expect(probes()).toBeGreaterThan(0)
  })

  it('a download', async () => {
    await outside.write('file', content)
    line.rule = (method, path) => (method === 'GET' && isFile(path) ? SLOW : undefined)
    const guest = mount()
    expect(Buffer.from(await guest.get('file')).equals(content)).toBe(true)
    expect(errors).toEqual([])
  })

  it('many downloads that share the line', async () => {
    await outside.write('file', content)
    const file = await mount().open('file')
    line.rule = (method, path) => (method === 'GET' && isFile(path) ? { bytesPerSecond: 20_000 } : undefined)
    const pieces = await Promise.all([0, 40_000, 80_000, 120_000].map(at => file.read(at, 10_000)))
    expect(pieces.every(piece => piece.byteLength === 10_000)).toBe(true)
    expect(errors).toEqual([])
  })

  it('a copy within the service, by a rename', async () => {
    await outside.write('file', content)
    line.rule = (method, _, headers) =>
      method === 'PUT' && headers['x-amz-copy-source'] !== undefined ? LATE : undefined
    await mount().rename('file', 'copy')
    expect((await outside.read('copy')).equals(content)).toBe(true)
    expect(await outside.exists('file')).toBe(false)
    expect(errors).toEqual([])
  })

  it('a part of an upload, and the completion', async () => {
    const large = Buffer.alloc(9 << 20, 'large ')
    line.rule = (method, path) =>
      path.includes('partNumber=') || (method === 'POST' && path.includes('uploadId=')) ? LATE : undefined
    await mount().put('file', large)
    expect((await outside.read('file')).equals(large)).toBe(true)
    expect(errors).toEqual([])
    expect(line.requests.filter(request => request.includes('partNumber='))).toHaveLength(2)
  })

  it('a publication by the replay of a journal', async () => {
    const stateDir = join(folder, 'state')
    const first = await StateFolder.open(stateDir)
    line.rule = (method, path) => (method === 'PUT' && isFile(path) ? { silentAfter: 1 } : undefined)
    const doomed = fileSystem({ state: first, writeBack: true })
    await new Guest(doomed).put('file', content)
    await first.close()
    line.rule = (method, path) => (method === 'PUT' && isFile(path) ? SLOW : undefined)
    const second = await StateFolder.open(stateDir)
    const report = await fileSystem({ state: second }).replay()
    expect(report?.published).toBe(1)
    expect((await outside.read('file')).equals(content)).toBe(true)
    await second.close()
  })

  it('a publication at the end of the daemon', async () => {
    line.rule = (method, path) => (method === 'PUT' && isFile(path) ? SLOW : undefined)
    const fs = fileSystem()
    const file = await new Guest(fs).create('file')
    await file.write(0, content)
    await fs.close()
    expect((await outside.read('file')).equals(content)).toBe(true)
  })
})

describe('a listing has a time limit for each page and none for all pages', () => {
  const PAGES = 8
  const page = (number: number) =>
    `<ListBucketResult><IsTruncated>${number < PAGES}</IsTruncated><NextContinuationToken>${number + 1}</NextContinuationToken>
    <Contents><Key>d/${number}</Key><Size>1</Size><ETag>"e"</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>
    </ListBucketResult>`

  it('eight pages of 0.6 limits each are listed', async () => {
    line.rule = (method, path) => {
      if (method !== 'GET' || !path.includes('list-type')) return undefined
      const number = Number(/continuation-token=(\d+)/.exec(path)?.[1] ?? 1)
      return { delayMs: 0.6 * LIMIT_MS, answer: page(number) }
    }
    expect(await mount().names('d')).toHaveLength(PAGES)
    expect(errors).toEqual([])
  })

  it('a page that fails is asked for again, and none before it', async () => {
    const asked: string[] = []
    let failures = 1
    line.rule = (method, path) => {
      if (method !== 'GET' || !path.includes('list-type')) return undefined
      const number = /continuation-token=(\d+)/.exec(path)?.[1] ?? '1'
      if (path.includes('d%2F') || path.includes('d/')) asked.push(number)
      if (number === '7' && failures-- > 0) return { delayMs: 1_000_000 }
      return { answer: page(Number(number)) }
    }
    expect(await mount().names('d')).toHaveLength(PAGES)
    expect(
      asked.filter(number => number === '7').length - asked.filter(number => number === '6').length,
    ).toBe(1)
  })

  it('a service that goes silent between two pages fails it', async () => {
    let silent = false
    const guest = mount()
    line.rule = (method, path) => {
      silent ||= path.includes('continuation-token')
      if (silent) return { delayMs: 1_000_000 }
      return method === 'GET' && path.includes('list-type') ? { answer: page(1) } : undefined
    }
    await expect(guest.names('d')).rejects.toMatchObject({ code: 'EIO', kind: 'Deadline' })
  })
})

describe('a transfer fails', () => {
  it('when the service goes silent in the middle of an upload', async () => {
    const guest = mount()
    const file = await guest.create('file')
    await file.write(0, content)
    let begun = false
    line.rule = method => {
      begun ||= method === 'PUT'
      return begun ? { delayMs: 1_000_000 } : undefined
    }
    await expect(file.fsync()).rejects.toMatchObject({ code: 'EIO', kind: 'Deadline' })
    line.rule = () => undefined
  })

  it('when the service goes silent in the middle of a download', async () => {
    await outside.write('file', content)
    const file = await mount().open('file')
    let begun = false
    line.rule = method => {
      if (begun) return { delayMs: 1_000_000 }
      begun = method === 'GET'
      return { silentAfter: 50_000 }
    }
    await expect(file.read(0, SIZE)).rejects.toMatchObject({ code: 'EIO', kind: 'Deadline' })
  })

  it('when it never ends though the service answers other requests', async () => {
    const guest = mount()
    const file = await guest.create('file', O_RDWR)
    await file.write(0, 'small')
    line.rule = (method, path) => (method === 'PUT' && isFile(path) ? { silentAfter: 1 } : undefined)
    await expect(file.fsync()).rejects.toMatchObject({ code: 'EIO' })
    line.rule = () => undefined
  })
})
