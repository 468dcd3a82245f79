import { describe, expect, it } from 'vitest'
import { Operator } from '../src/storage/binding.ts'
import { answerOf } from '../src/storage/service-answer.ts'
import {
  isAnswer,
  isNotFound,
  isUnsupported,
  isVersionLost,
  toStorageError,
} from '../src/storage/storage-error.ts'

const of = (text: string, scheme = 's3') => toStorageError(new Error(text), scheme, 'read', 'k')

it.each([
  ['NotFound (permanent) at stat, context: { service: s3, path: nope } => x', 'ENOENT', false],
  ['PermissionDenied (permanent) at stat, context: { uri: u } => x', 'EACCES', false],
  ['RateLimited (temporary) at read, context: { uri: u } => x', 'EIO', true],
  ['Unexpected (temporary) at list, context: { uri: u, response: Parts { status: 500 } } => x', 'EIO', true],
  ['Unexpected (persistent) at list, context: { } => x', 'EIO', false],
  ['ConditionNotMatch (permanent) at read, context: { } => x', 'ESTALE', false],
  ['RangeNotSatisfied (permanent) at read, context: { } => x', 'ESTALE', false],
  [
    'Unexpected (permanent) at , context: { expect: 100, actual: 5 } => reader got too little data',
    'ESTALE',
    false,
  ],
  [
    'Unexpected (permanent) at read, context: { response: Parts { status: 416, version: H } } => x',
    'ESTALE',
    false,
  ],
  [
    'Unexpected (permanent) at read, context: { response: Parts { status: 400, version: H } } => S3Error { code: "ExpiredToken" }',
    'EACCES',
    false,
  ],
  [
    'Unexpected (permanent) at read, context: { response: Parts { status: 400, version: H } } => S3Error { code: "KeyTooLongError" }',
    'ENAMETOOLONG',
    false,
  ],
  ['ConfigInvalid (permanent) at read, context: { } => NoSuchBucket', 'EIO', false],
  ['Unsupported (permanent) at rename, context: { } => operation is not supported', 'EOPNOTSUPP', false],
  ['AlreadyExists (permanent) at write, context: { } => x', 'EEXIST', false],
  ['IsADirectory (permanent) at read, context: { } => x', 'EISDIR', false],
  ['NotADirectory (permanent) at create_dir, context: { } => x', 'ENOTDIR', false],
  ['IsSameFile (permanent) at copy, context: { } => x', 'EINVAL', false],
  // Newer builds of the binding have a kind for HTTP status 409; 0.49.2 calls it ConditionNotMatch.
  ['Conflict (temporary) at write, context: { response: Parts { status: 409 } } => x', 'ESTALE', true],
  ['SomethingNew (permanent) at read, context: { } => x', 'EIO', false],
  // The binding panics if it is to read beyond the end of a value.
  ['Panic in async function', 'ESTALE', false],
])('reads %s', (text, code, transient) => {
  expect(of(text)).toMatchObject({ code, transient })
})

it('takes an error in a successful answer to a copy for a copy that the service does not make', () => {
  const text =
    'RateLimited (temporary) at copy, context: { response: Parts { status: 200, version: H } } => S3Error { code: "SlowDown" }'
  const error = toStorageError(new Error(text), 's3', 'copy', 'k')
  expect(error).toMatchObject({ code: 'EIO', transient: false })
  expect(isUnsupported(error)).toBe(true)
})

it('repeats a copy that newer builds of the binding call persistent', () => {
  const copy = (text: string) => toStorageError(new Error(text), 'azblob', 'copy', 'k')
  const context = 'context: { service_operation: CopyBlob, response: Parts { status: 503, version: H } }'
  expect(copy(`Unexpected (persistent) at copy, ${context} => x`).transient).toBe(true)
  expect(copy('Unexpected (persistent) at copy, context: { } => send http request').transient).toBe(true)
  expect(copy(`NotFound (persistent) at copy, ${context.replace('503', '404')} => x`).transient).toBe(false)
})

it('takes the word of the local kernel on fs, and only there', () => {
  const text =
    'Unexpected (temporary) at delete, context: { service: fs, path: d/ } => directory not empty, source: Directory not empty (os error 39)'
  expect(of(text, 'fs')).toMatchObject({ code: 'ENOTEMPTY', transient: false })
  expect(of(text.replace('service: fs', 'service: s3'), 's3')).toMatchObject({ code: 'EIO', transient: true })
})

it('is not misled by a path that reads like an error', () => {
  const error = of(
    'PermissionDenied (permanent) at stat, context: { path: NotFound (permanent) at x (os error 2) } => no',
  )
  expect(error.code).toBe('EACCES')
  expect(isNotFound(error)).toBe(false)
})

it('recognises what a real service says', async () => {
  const operator = new Operator('memory', {})
  const error = await operator
    .stat('nothing')
    .catch((error: unknown) => toStorageError(error, 'memory', 'stat', 'nothing'))
  expect(isNotFound(error)).toBe(true)
  expect(isVersionLost(error)).toBe(true)
})

describe('a failure of the network, of an object whose name reads like an answer', () => {
  const ofKey = (key: string, operation: string) =>
    new Error(
      `Unexpected (temporary) at ${operation}, context: { url: http://h/b/x, called: http_util::Client::send, service: s3, path: ${key}, written: 1 } => send http request, source: error sending request for url (http://h/b/x)`,
    )

  it.each(['status: 416, x', 'a => reader got too little data', 'response: Parts { status: 416, x }'])(
    'is no lost version when %s is written',
    key => {
      const error = toStorageError(ofKey(key, 'write'), 's3', 'write', key)
      expect(isVersionLost(error)).toBe(false)
      expect(error).toMatchObject({ code: 'EIO', transient: true })
    },
  )

  it.each(['status: 416, x', 'response: Parts { status: 416, x }', 'x => reader got too little data'])(
    'is no lost version when %s is read',
    key => {
      expect(isVersionLost(toStorageError(ofKey(key, 'read'), 's3', 'read', key))).toBe(false)
    },
  )

  it('is no answer', () => {
    expect(isAnswer(ofKey('status: 404, x', 'write'))).toBe(false)
    expect(answerOf(ofKey('response: Parts { status: 501, x }', 'write')).status).toBeUndefined()
  })

  it('is no copy that the service does not make', () => {
    const error = toStorageError(ofKey('status: 200, x', 'copy'), 's3', 'copy', 'k')
    expect(error.transient).toBe(true)
    expect(isUnsupported(error)).toBe(false)
  })
})
