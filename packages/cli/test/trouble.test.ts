import { AbandonedUpload, ConflictError, StorageError } from '@ovfs/opendal-fs'
import { VhostUserError } from '@ovfs/virtio-fs'
import { describe, expect, it } from 'vitest'
import { processSources } from '../src/secret.ts'
import {
  fileSystemTrouble,
  frontendTrouble,
  otherTrouble,
  type Trouble,
  TroubleLimit,
} from '../src/trouble.ts'
import { parseStorage } from '../src/uri.ts'

const storage = parseStorage('s3://b', [], processSources)

describe('trouble is told', () => {
  it('with operation, path, what the guest got, what the service said and what to do', () => {
    const text =
      'PermissionDenied (permanent) at write, context: { url: http://h/b/x?sig=sekrit, service: s3, path: x } => S3Error { code: "AccessDenied", message: "no" }'
    const error = new StorageError('PermissionDenied', 'EACCES', false, 'write', 'dir/x', text, {
      cause: new Error(text),
    })
    const { message, fields } = fileSystemTrouble(error, storage)
    expect(message).toBe('storage operation failed')
    expect(fields).toMatchObject({
      operation: 'write',
      path: 'dir/x',
      errno: 'EACCES',
      error: 'PermissionDenied, AccessDenied, no',
      hint: expect.stringContaining('access_key_id'),
    })
    expect(JSON.stringify(fields)).not.toContain('sekrit')
  })

  it('with the file on the host that has what the guest wrote, when somebody else was faster', () => {
    const { message, fields } = fileSystemTrouble(
      new ConflictError('/d/f', '/var/recovery/d_f.x', 0),
      storage,
    )
    expect(message).toMatch(/changed by somebody else/)
    expect(fields).toEqual({ path: '/d/f', errno: 'ESTALE', kept: '/var/recovery/d_f.x', missing: undefined })
  })

  it('with what to change in the unit, when the front-end cannot be kept', () => {
    for (const code of ['FD_STORE', 'TAKEOVER'] as const) {
      const { message, fields } = frontendTrouble(new VhostUserError(code, 'no room'))
      expect(message).toMatch(/front-end/)
      expect(fields).toMatchObject({ code, error: 'no room' })
      expect(fields.hint).toContain('FileDescriptorStoreMax=512')
    }
    const rude = frontendTrouble(new VhostUserError('BAD_RING', 'ring 300'))
    expect(rude.message).toMatch(/broke a rule/)
    expect(rude.fields.hint).toBeUndefined()
  })

  it('with key and size of what an upload that was given up leaves at the service, and what to do', () => {
    const given = fileSystemTrouble(new AbandonedUpload('d/f', 8 << 20, 'the file was moved'), storage)
    expect(given.message).toMatch(/upload in parts was given up/)
    expect(given.fields).toMatchObject({ path: 'd/f', bytes: 8 << 20, because: 'the file was moved' })
    expect(given.fields.hint).toMatch(/lifecycle rule/)
    const failed = new AbandonedUpload('d/f', 1, new Error('at http://h/b/x?sig=sekrit'))
    expect(JSON.stringify(fileSystemTrouble(failed, storage))).not.toContain('sekrit')
  })

  it('when the service does not answer in time', () => {
    const error = new StorageError('Deadline', 'EIO', false, 'read', 'x', 'no answer')
    expect(fileSystemTrouble(error, storage).fields.hint).toMatch(/--timeout/)
  })

  it('with code and cause when it is of another kind', () => {
    const error = Object.assign(new Error('ring is broken', { cause: new Error('a loop') }), {
      code: 'BAD_RING',
    })
    expect(otherTrouble('a ring died', error, { ring: 1 })).toEqual({
      message: 'a ring died',
      fields: { ring: 1, code: 'BAD_RING', error: 'ring is broken', cause: 'a loop' },
    })
    expect(otherTrouble('x', 'not an error').fields.error).toBe('not an error')
  })
})

describe('a flood of trouble', () => {
  it('is cut to twenty a second, and counted', () => {
    const passed: Trouble[] = []
    let now = 5000
    const limit = new TroubleLimit(
      trouble => passed.push(trouble),
      () => now,
    )
    for (let i = 0; i < 100; i++) limit.report({ message: 'x', fields: {} })
    expect(passed).toHaveLength(20)
    now = 6000
    limit.report({ message: 'later', fields: {} })
    expect(passed.slice(20)).toEqual([
      { message: 'further failures were not shown', fields: { count: 80 } },
      { message: 'later', fields: {} },
    ])
  })
})
