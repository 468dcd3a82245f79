import { expect, test } from 'vitest'
import { recoveryFolder } from '../src/share.ts'

test('each storage has a recovery folder of its own, whose name tells which', () => {
  const places = [
    's3 bucket=b root=/p',
    's3 bucket=b root=/q',
    's3 bucket=b',
    `s3 bucket=${'b'.repeat(100)}`,
    `s3 bucket=${'b'.repeat(101)}`,
  ]
  const folders = places.map(recoveryFolder)
  expect(new Set(folders).size).toBe(places.length)
  expect(folders[0]).toMatch(/^ovfs-recovery-s3_bucket_b_root_p-[0-9a-f]{12}$/)
  for (const folder of folders) expect(folder).toMatch(/^[A-Za-z0-9._-]{1,100}$/)
})
