import { describe, expect, it } from 'vitest'
import { oneLine } from '../src/error.ts'
import { SERVICES } from '../src/services/table.ts'
import { readFailure, startError } from '../src/storage-failure.ts'

const S3_DENIED = `PermissionDenied (permanent) at list, context: { url: http://h/b?X-Amz-Signature=deadbeef, response: Parts { status: 403, version: HTTP/1.1, headers: {"authorization": "sekrit", "x": "a } b"} }, service: s3, path: / } => S3Error { code: "InvalidAccessKeyId", message: "The key does not exist", resource: "/b", request_id: "1" }`
const REFUSED =
  'Unexpected (temporary) at list, context: { url: http://127.0.0.1:1/b?list-type=2, called: http_util::Client::send, service: s3, path: /, listed: 0 } => send http request, source: error sending request for url (http://127.0.0.1:1/b?list-type=2&token=sekrit)'

describe('an OpenDAL error is read', () => {
  it.each([
    [
      S3_DENIED,
      { kind: 'PermissionDenied', message: 'InvalidAccessKeyId, The key does not exist', status: 403 },
    ],
    [REFUSED, { kind: 'Unexpected', message: 'send http request, source: error sending request' }],
    [
      'ConfigInvalid (permanent) at Builder::build, context: { service: b2 } => bucket is empty',
      { kind: 'ConfigInvalid', message: 'bucket is empty' },
    ],
    [
      'ConfigInvalid (permanent) at  => failed to deserialize config, source: missing field `container`',
      { kind: 'ConfigInvalid', message: 'failed to deserialize config, source: missing field `container`' },
    ],
    [
      'NotFound (permanent) at stat, context: { uri: http://h/x, response: Parts { status: 404, version: HTTP/1.1, headers: {} }, service: http, path: x }',
      { kind: 'NotFound', message: 'HTTP status 404', status: 404 },
    ],
    ['Panic in async function', { kind: 'Unknown', message: 'Panic in async function' }],
    [
      'cannot open postgres://u:sekrit@h/d?x\nnow',
      { kind: 'Unknown', message: 'cannot open postgres://... now' },
    ],
  ])('%# %s', (text, failure) => {
    expect(readFailure(new Error(text))).toEqual(failure)
  })

  it('without its context, which holds headers and signed URLs', () => {
    for (const text of [S3_DENIED, REFUSED]) {
      const line = oneLine(startError(new Error(text), SERVICES.get('s3')!, {}))
      expect(line).not.toMatch(/sekrit|deadbeef|Signature/)
      expect(line).not.toContain('\n')
    }
  })

  it('and a long one is cut', () => {
    expect(readFailure(new Error('x'.repeat(5000))).message.length).toBeLessThan(400)
  })
})

const ADVICE: readonly (readonly [string, string, RegExp])[] = [
  ['s3', S3_DENIED, /AWS_ACCESS_KEY_ID/],
  [
    's3',
    'Unexpected (temporary) at list, context: { called: reqsign::LoadCredential, service: s3 } => loading credential to sign http request, source: request to AWS EC2 Metadata Services failed',
    /AWS_ACCESS_KEY_ID/,
  ],
  [
    's3',
    'ConfigInvalid (permanent) at list, context: { service: s3 } => S3Error { code: "NoSuchBucket", message: "gone" }',
    /create the bucket b/,
  ],
  [
    's3',
    'Unexpected (permanent) at list, context: { service: s3 } => S3Error { code: "AuthorizationHeaderMalformed", message: "expecting eu" }',
    /give region=NAME/,
  ],
  [
    'sqlite',
    'Unexpected (permanent) at stat, context: { service: sqlite } => unhandled error from sqlite, source: error returned from database: (code: 1) no such table: t',
    /CREATE TABLE "t" \("key" TEXT PRIMARY KEY, "value" BLOB\)/,
  ],
  [
    'postgresql',
    'Unexpected (permanent) at stat, context: { service: postgresql } => unhandled error from postgresql, source: error returned from database: relation "t" does not exist',
    /CREATE TABLE "t" \("key" TEXT PRIMARY KEY, "value" BYTEA\)/,
  ],
  [
    'mysql',
    "Unexpected (permanent) at stat, context: { service: mysql } => unhandled error from mysql, source: error returned from database: 1146 (42S02): Table 'd.t' doesn't exist",
    /CREATE TABLE `t` \(`key` VARBINARY\(3072\) PRIMARY KEY, `value` LONGBLOB\)/,
  ],
  [
    'webdav',
    'Unexpected (permanent) at list, context: { service: webdav } => building http request, source: invalid format',
    /it is a URL/,
  ],
  ['memory', 'Unexpected (permanent) at list => something new', /see ovfs services memory/],
]

describe('a failure at the start comes with what to do', () => {
  it.each(ADVICE)('%s: %s', (service, text, hint) => {
    expect(startError(new Error(text), SERVICES.get(service)!, { bucket: 'b', table: 't' }).hint).toMatch(
      hint,
    )
  })
})
