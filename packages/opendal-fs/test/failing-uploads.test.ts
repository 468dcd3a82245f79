// Uploads in parts that fail: each attempt leaves what its writer still holds in memory, so an attempt after a failure holds little.

import { afterEach, beforeEach, expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { Operator } from '../src/storage/binding.ts'
import { Guest } from './guest.ts'
import { PlainS3, type S3Request, s3Error } from './plain-s3.ts'

const MIB = 1 << 20
const SIZE = 80 * MIB

let s3: PlainS3
let fs: OpendalFs
let guest: Guest
/** Numbers of the parts that the server was sent, by upload. */
let sent: Map<string, string[]>

beforeEach(async () => {
  s3 = await PlainS3.start()
  fs = new OpendalFs(new Operator('s3', s3.options), { scheme: 's3', attrs: 'none' })
  guest = new Guest(fs)
  sent = new Map()
})
afterEach(async () => {
  s3.intercept = () => undefined
  await fs.close()
  await s3.close()
})

function count({ method, query }: S3Request): boolean {
  const upload = query.get('uploadId')
  if (method !== 'PUT' || upload === null) return false
  const parts = sent.get(upload) ?? []
  parts.push(query.get('partNumber')!)
  sent.set(upload, parts)
  return true
}

it('after an upload has failed, the next ones end with their first refused part, until one is completed', async () => {
  s3.intercept = request => (count(request) ? s3Error('InvalidRequest', 400) : undefined)
  const file = await guest.create('f')
  const content = Buffer.alloc(SIZE, 'content ')
  await file.write(0, content)
  for (let attempt = 1; attempt <= 4; attempt++)
    await expect(file.fsync()).rejects.toMatchObject({ code: 'EIO' })
  const [, ...later] = [...sent.values()]
  expect(later.length).toBeGreaterThanOrEqual(3)
  expect(later.map(parts => new Set(parts).size)).toEqual(later.map(() => 1))
  // No part of a larger file goes out before its close.
  const before = sent.size
  const other = await guest.create('g')
  await other.write(0, content)
  expect(sent.size).toBe(before)
  s3.intercept = request => {
    count(request)
    return undefined
  }
  await file.close()
  await other.close()
  expect([s3.objects.get('f')!.bytes.equals(content), s3.objects.get('g')!.bytes.equals(content)]).toEqual([
    true,
    true,
  ])
})
