// S3 gateways that answer 400 or 501 to a write with a condition: ovfs finds out at the first one, looks before it writes from then
// on, and says so once.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OpendalFs, type OpendalFsOptions, Operator } from '@ovfs/opendal-fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CrashRig } from '../../packages/opendal-fs/test/crash-rig.ts'
import { Guest, O_RDWR } from '../../packages/opendal-fs/test/guest.ts'
import { FakeS3, type S3Error, type S3Request } from './fake-s3.ts'

const MIB = 1 << 20
const hasCondition = ({ headers }: S3Request) =>
  headers['if-none-match'] !== undefined || (headers['if-match'] !== undefined && headers.range === undefined)

let s3: FakeS3
let recoveryDir: string
let fs: OpendalFs
let guest: Guest
let errors: Error[]
let warnings: string[]

beforeEach(async () => {
  s3 = await FakeS3.start()
  recoveryDir = join(mkdtempSync(join(tmpdir(), 'ovfs-test-')), 'lost')
  errors = []
  warnings = []
})
afterEach(async () => {
  await fs.close().catch(() => undefined)
  await s3.stop()
  rmSync(join(recoveryDir, '..'), { recursive: true, force: true })
})

function mount(options: Record<string, string> = {}, settings: Partial<OpendalFsOptions> = {}): void {
  fs = new OpendalFs(new Operator('s3', { ...s3.options, ...options }), {
    scheme: 's3',
    recoveryDir,
    timeoutMs: 5000,
    attrTtlMs: 0,
    entryTtlMs: 0,
    negativeTtlMs: 0,
    onError: error => errors.push(error),
    onWarning: message => warnings.push(message),
    ...settings,
  })
  guest = new Guest(fs)
}

const kept = () => readdirSync(recoveryDir).map(name => readFileSync(join(recoveryDir, name), 'latin1'))

it('a server that checked conditions and answers 501 to them later still takes every file', async () => {
  mount()
  await guest.put('old', 'first')
  await guest.put('old', 'second')
  s3.personality = {
    refuse: request => (hasCondition(request) ? { status: 501, code: 'NotImplemented' } : undefined),
  }
  await guest.put('new', 'first')
  await guest.put('old', 'third')
  expect([s3.text('new'), s3.text('old')]).toEqual(['first', 'third'])
  expect(warnings).toEqual([expect.stringContaining('If-None-Match'), expect.stringContaining('If-Match')])
  expect(errors).toEqual([])
})

describe.each<[string, S3Error]>([
  ['501 NotImplemented', { status: 501, code: 'NotImplemented' }],
  ['400 InvalidArgument', { status: 400, code: 'InvalidArgument' }],
  ['501 without a body', { status: 501 }],
  ['400 without a body', { status: 400 }],
])('a server that answers %s to a condition', (_, error) => {
  beforeEach(() => {
    s3.personality = { refuse: request => (hasCondition(request) ? error : undefined) }
  })

  it('takes new files, changed files and attributes, and ovfs warns once for each condition', async () => {
    mount()
    await guest.put('new', 'first')
    await guest.put('new', 'second')
    await guest.put('other', 'third')
    await guest.setattr('new', { mode: 0o600 })
    await guest.mkdir('d')
    await guest.symlink('d/link', 'new')
    await guest.put('d/large', Buffer.alloc(20 * MIB, 'x'))
    await fs.close()
    expect(s3.text('new')).toBe('second')
    expect(s3.text('other')).toBe('third')
    expect(s3.objects.get('d/large')?.bytes.length).toBe(20 * MIB)
    expect(s3.text('.ovfs-attributes')).toContain('new')
    expect(s3.text('d/.ovfs-attributes')).toContain('link')
    expect(warnings).toEqual([expect.stringContaining('If-None-Match'), expect.stringContaining('If-Match')])
    expect(errors).toEqual([])
  })

  it('costs one refused request, and one look for each write after it', async () => {
    mount({}, { attrs: 'none' })
    await guest.put('one', '1')
    s3.requests.length = 0
    await guest.put('two', '2')
    expect(s3.requests.filter(request => request === 'put two')).toHaveLength(1)
  })

  it('loses nothing that another host stored before the look', async () => {
    mount()
    await guest.put('probe', 'x')
    const file = await guest.create('new')
    await file.write(0, 'ours')
    s3.put('new', 'theirs, longer')
    await expect(file.close()).rejects.toMatchObject({ code: 'ESTALE' })
    expect(s3.text('new')).toBe('theirs, longer')
    expect(kept()).toEqual(['ours'])
  })

  it('loses nothing that another host stored before the look that follows the first refusal', async () => {
    mount()
    const { personality } = s3
    s3.personality = {
      refuse: request => {
        const refusal = personality.refuse?.(request)
        if (refusal !== undefined && request.key === 'new') s3.put('new', 'theirs, longer')
        return refusal
      },
    }
    const file = await guest.create('new')
    await file.write(0, 'ours')
    await expect(file.close()).rejects.toMatchObject({ code: 'ESTALE' })
    expect(s3.text('new')).toBe('theirs, longer')
    expect(kept()).toEqual(['ours'])
    expect(warnings).toEqual([])
  })

  it('publishes after a kill what the journal has', async () => {
    mount()
    const rig = new CrashRig('s3', new Operator('s3', s3.options), {
      writeBack: true,
      attrs: 'sidecar',
      recoveryDir,
      onWarning: message => warnings.push(message),
    })
    const first = await rig.start()
    const before = first.put('before', 'kill')
    await rig.freezeAfter(0)
    await before
    await rig.kill()
    await rig.start()
    expect(rig.report?.published).toBe(1)
    expect(s3.text('before')).toBe('kill')
    expect(warnings).toContainEqual(expect.stringContaining('If-None-Match'))
    await rig.kill()
    rmSync(rig.folder, { recursive: true, force: true })
  })
})

describe('nothing is concluded from', () => {
  it('a write that is refused without a condition too: the error is the first one', async () => {
    s3.personality = {
      refuse: request => {
        if (request.operation !== 'put') return undefined
        return hasCondition(request)
          ? { status: 400, code: 'EntityTooSmall' }
          : { status: 400, code: 'Other' }
      },
    }
    mount({}, { attrs: 'none' })
    await expect(guest.put('f', 'x')).rejects.toMatchObject({ code: 'EIO' })
    expect(String(errors[0])).toContain('EntityTooSmall')
    expect(warnings).toEqual([])
    s3.personality = {}
    await guest.put('g', 'x')
    s3.requests.length = 0
    s3.personality = { refuse: request => (request.operation === 'put' ? { status: 400 } : undefined) }
    await expect(guest.put('h', 'x')).rejects.toMatchObject({ code: 'EIO' })
    // A 400 says nothing about a condition that the server has accepted once.
    expect(s3.requests.filter(request => request === 'put h')).toHaveLength(1)
  })

  it('a conflict: 412 is the answer of a server that knows conditions', async () => {
    mount()
    const file = await guest.create('new')
    await file.write(0, 'ours')
    let raced = false
    s3.personality = {
      refuse: request => {
        if (request.operation === 'put' && !raced) {
          raced = true
          s3.put('new', 'theirs, longer')
        }
        return undefined
      },
    }
    await expect(file.close()).rejects.toMatchObject({ code: 'ESTALE' })
    expect(s3.text('new')).toBe('theirs, longer')
    expect(warnings).toEqual([])
  })
})

it('with disable_write_with_if_match ovfs looks before it replaces a file, and sends no If-Match', async () => {
  s3.personality = {
    refuse: ({ operation, headers }) =>
      operation === 'put' && headers['if-match'] !== undefined ? { status: 501 } : undefined,
  }
  mount({ disable_write_with_if_match: 'true' })
  await guest.put('f', 'first')
  const file = await guest.open('f', O_RDWR)
  await file.write(0, 'SECOND')
  await file.close()
  expect(s3.text('f')).toBe('SECOND')
  expect(warnings).toEqual([])
  const other = await guest.open('f', O_RDWR)
  await other.write(0, 'ours')
  s3.put('f', 'theirs, longer')
  await expect(other.close()).rejects.toMatchObject({ code: 'ESTALE' })
  expect(s3.text('f')).toBe('theirs, longer')
})
