// A key that OpenDAL, or the HTTP client below it, would take for another one never reaches them, whatever asks for it.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Operator } from '../src/storage/binding.ts'
import { Storage } from '../src/storage/storage.ts'
import { UnaddressableKey } from '../src/storage/storage-error.ts'
import { PlainS3 } from './plain-s3.ts'

let s3: PlainS3
let errors: Error[]

beforeEach(async () => {
  s3 = await PlainS3.start()
  errors = []
})
afterEach(() => s3.close())

function storage(): Storage {
  return new Storage(new Operator('s3', s3.options), {
    scheme: 's3',
    timeoutMs: 1000,
    readOnly: false,
    onError: error => errors.push(error),
  })
}

describe('a storage refuses', () => {
  it.each(['..', 'a/../b', 'a/..', 'a/./b', '.', 'a//b', '/a', '/', 'a//', ' a', 'a ', 'a\n', 'a/\u3000'])(
    'every operation on the key %j, and sends nothing',
    async key => {
      const on = storage()
      const bytes = Buffer.from('x')
      const calls: (() => Promise<unknown>)[] = [
        () => on.stat(key),
        () => on.describe(key),
        () => on.read(key, 0, 1),
        () => on.write(key, bytes),
        () => on.upload(key, 8 << 20),
        () => on.createDirectory(key),
        () => on.delete(key),
        () => on.rename(key, 'b'),
        () => on.rename('b', key),
        () => on.copy(key, 'b'),
        () => on.copy('b', key),
        () => on.list(key),
        () => on.hasChildren(key, () => false),
      ]
      for (const call of calls) await expect(call()).rejects.toBeInstanceOf(UnaddressableKey)
      expect(s3.requests).toEqual([])
      expect(errors).toHaveLength(calls.length)
      for (const error of errors) expect(error.message).toContain(JSON.stringify(key))
    },
  )

  it.each(['a', 'a/', 'a/b', '...', '.a', 'a.', '..a', 'a/.../b', 'a b', 'a/ b/c', '%2e%2e/a'])(
    'no operation on the key %j',
    async key => {
      await storage().stat(key)
      expect(s3.requests.length).toBeGreaterThan(0)
    },
  )
})
