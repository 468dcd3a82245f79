import { describe, expect, test } from 'vitest'
import { decodeListing, FuseClient, OutHeader } from '../src/index.ts'
import { joined } from './memory-transport.ts'

const clientOf = (reply: Uint8Array) => new FuseClient({ submit: async () => reply })
const header = (len: number, error = 0, unique = 2n) => OutHeader.toBytes({ len, error, unique })

describe('a reply that cannot be believed is refused', () => {
  const attr = joined([header(120), new Uint8Array(104)])
  test.each([
    ['no bytes at all', new Uint8Array(0), 'no reply'],
    ['half a header', attr.subarray(0, 15), 'no reply'],
    ['fewer bytes than len', attr.subarray(0, 119), 'len is 120'],
    ['more bytes than len', joined([attr, new Uint8Array(1)]), 'len is 120'],
    ['the answer to another request', joined([header(120, 0, 4n), new Uint8Array(104)]), 'answers request 4'],
    ['a body of another size', joined([header(119), new Uint8Array(103)]), 'has 104 bytes'],
    ['a positive error', header(16, 2), 'error is 2'],
    ['an error beyond 511', header(16, -512), 'error is -512'],
    ['an error with a body', joined([header(17, -2), new Uint8Array(1)]), 'has a body'],
    ['an errno that nobody knows', header(16, -500), 'errno 500'],
  ])('%s', async (_, reply, message) => {
    await expect(clientOf(reply).getattr(1)).rejects.toMatchObject({
      code: 'BAD_REPLY',
      message: expect.stringContaining(message),
    })
  })

  test('an errno is an FsError', async () => {
    await expect(clientOf(header(16, -2)).getattr(1)).rejects.toMatchObject({
      name: 'FsError',
      code: 'ENOENT',
    })
  })
})

test('every truncation of a listing is refused', () => {
  const record = new Uint8Array(32)
  record[16] = 5
  expect(decodeListing(record, false)).toHaveLength(1)
  for (let length = 1; length < 32; length++) {
    expect(() => decodeListing(record.subarray(0, length), false)).toThrow(/fuse_dirent: needs/)
  }
})
