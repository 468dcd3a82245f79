// S3 gateways that answer 400 or 501 to a read with If-Match: ovfs finds out at the first one, says so once, and looks after each
// read whether the object is still the version that it read.

import { OpendalFs, Operator } from '@ovfs/opendal-fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Guest, O_RDONLY } from '../../packages/opendal-fs/test/guest.ts'
import { FakeS3, type S3Error } from './fake-s3.ts'

const MIB = 1 << 20

let s3: FakeS3
let fs: OpendalFs
let guest: Guest
let errors: Error[]
let warnings: string[]

beforeEach(async () => {
  s3 = await FakeS3.start()
  const mine: Error[] = []
  errors = mine
  warnings = []
  fs = new OpendalFs(new Operator('s3', s3.options), {
    scheme: 's3',
    timeoutMs: 5000,
    attrTtlMs: 0,
    entryTtlMs: 0,
    negativeTtlMs: 0,
    onError: error => mine.push(error),
    onWarning: message => warnings.push(message),
  })
  guest = new Guest(fs)
})
afterEach(async () => {
  await fs.close().catch(() => undefined)
  await s3.stop()
})

describe.each<[string, S3Error]>([
  ['501 NotImplemented', { status: 501, code: 'NotImplemented' }],
  ['400 InvalidArgument', { status: 400, code: 'InvalidArgument' }],
  ['501 without a body', { status: 501 }],
  ['400 without a body', { status: 400 }],
])('a server that answers %s to If-Match on a read', (_, error) => {
  let refused: number

  beforeEach(() => {
    refused = 0
    s3.personality = {
      refuse: ({ operation, headers }) => {
        if (operation !== 'get' || headers['if-match'] === undefined) return undefined
        refused++
        return error
      },
    }
  })

  it('gives the bytes of files, is sent no condition after the first read, and ovfs warns once', async () => {
    s3.put('f', 'content')
    s3.put('large', Buffer.alloc(20 * MIB, 'x'))
    expect(await guest.text('f')).toBe('content')
    const atFirst = refused
    expect((await guest.text('large')).length).toBe(20 * MIB)
    await guest.setattr('f', { mode: 0o600 })
    await guest.rename('f', 'g')
    expect(await guest.text('g')).toBe('content')
    expect(refused).toBe(atFirst)
    expect(warnings).toEqual([expect.stringContaining('If-Match')])
    expect(errors).toEqual([])
  })

  it('shows one version in one open file, or ESTALE', async () => {
    s3.put('f', Buffer.alloc(12 * MIB, 'a'))
    const file = await guest.open('f', O_RDONLY)
    expect(Buffer.from(await file.read(0, 4096)).toString()).toBe('a'.repeat(4096))
    s3.put('f', Buffer.alloc(12 * MIB, 'b'))
    await expect(file.read(8 * MIB, 4096)).rejects.toMatchObject({ code: 'ESTALE' })
    await file.close()
    expect((await guest.text('f'))[11 * MIB]).toBe('b')
  })
})

it('a file that is moved through the host is one version at its new place, on a server that refuses If-Match and copies', async () => {
  s3.put('f', Buffer.alloc(20 * MIB, 'a'))
  let isReplaced = false
  s3.personality = {
    refuse: ({ operation, headers }) => {
      const isSecondPart = operation === 'get' && headers.range?.startsWith(`bytes=${8 * MIB}-`)
      if (isSecondPart && !isReplaced) {
        isReplaced = true
        s3.put('f', Buffer.alloc(20 * MIB, 'b'))
      }
      return operation === 'copy' || (operation === 'get' && headers['if-match'] !== undefined)
        ? { status: 501 }
        : undefined
    },
  }
  await guest.rename('f', 'g')
  expect(isReplaced).toBe(true)
  expect(new Set(s3.objects.get('g')!.bytes).size).toBe(1)
})

it('a server that has taken If-Match on a read is not taken for one that refuses it after one bad answer', async () => {
  s3.put('f', Buffer.alloc(12 * MIB, 'a'))
  const file = await guest.open('f', O_RDONLY)
  await file.read(0, 4096)
  let isBad = true
  s3.personality = {
    refuse: ({ operation, headers }) => {
      if (operation !== 'get' || headers['if-match'] === undefined || !isBad) return undefined
      isBad = false
      return { status: 400, code: 'InvalidArgument' }
    },
  }
  await expect(file.read(8 * MIB, 4096)).rejects.toMatchObject({ code: 'EIO' })
  expect(await file.read(8 * MIB, 4096)).toHaveLength(4096)
  await file.close()
  expect(warnings).toEqual([])
})

it('a read that the server refuses for another reason fails with that', async () => {
  s3.put('f', 'content')
  s3.personality = { refuse: ({ operation }) => (operation === 'get' ? { status: 501 } : undefined) }
  await expect(guest.text('f')).rejects.toMatchObject({ code: 'EIO' })
  expect(warnings).toEqual([])
  s3.personality = {}
  expect(await guest.text('f')).toBe('content')
})
