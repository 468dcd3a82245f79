// Extensions of creating requests: bytes, what the handler sees, and what a lying guest gets.

import { expect, test } from 'vitest'
import {
  decodeExtensions,
  encodeExtensions,
  encodeRequest,
  FuseClient,
  FuseServer,
  formatRequest,
  InitFlags,
  InitFlags2,
  type RequestContext,
  type RequestExtensions,
} from '../src/index.ts'
import { bytesOf, ENTRY } from './golden-messages.ts'
import { memoryTransport } from './memory-transport.ts'
import { errnoOf } from './served-client.ts'

const LABEL = { name: 'security.selinux', value: Uint8Array.of(0x75, 0x3a, 0x72) }
const BOTH: RequestExtensions = { securityContexts: [LABEL], groups: [27, 1000] }
const BOTH_ROWS = `
  28000000  size
  01000000  nr_secctx
  03000000  size
  00000000  padding
  73656375726974792e73656c696e757800  name
  753a72  value
  00000000  alignment
  18000000  size
  20000000  type
  02000000  nr_groups
  1b000000  gid
  e8030000  gid
  00000000  alignment`

/** A server whose mkdir tells what it was given. */
async function mkdirs(flags2: number, minor = 38) {
  const seen: { umask: number; extensions: RequestExtensions }[] = []
  const server = new FuseServer({
    init: () => ({ flags: InitFlags.DONT_MASK, flags2 }),
    mkdir: (ctx: RequestContext) => {
      seen.push({ umask: ctx.umask, extensions: ctx.extensions() })
      return ENTRY
    },
  })
  const client = new FuseClient(memoryTransport(() => server))
  const agreed = await client.init({ minor, flags2: 0x5ff })
  const args = Uint8Array.of(0xff, 1, 0, 0, 0x12, 0, 0, 0)
  const mkdir = (extensions: Uint8Array) => client.call('MKDIR', { node: 1, args, names: ['d'], extensions })
  return { seen, agreed, mkdir }
}

test('security contexts and groups are the bytes of the header', () => {
  expect(encodeExtensions(BOTH)).toEqual(bytesOf(BOTH_ROWS))
  expect(decodeExtensions(bytesOf(BOTH_ROWS))).toEqual(BOTH)
})

test('the empty record that Linux sends without a security module is an empty list, not none', () => {
  expect(decodeExtensions(bytesOf('08000000 00000000  size'))).toEqual({
    securityContexts: [],
    groups: undefined,
  })
  expect(decodeExtensions(new Uint8Array(0))).toEqual({ securityContexts: undefined, groups: undefined })
})

test('a record of a type that is not known is passed over', () => {
  const rows = `10000000 21000000 ffffffffffffffff  unknown
    ${BOTH_ROWS}`
  expect(decodeExtensions(bytesOf(rows))).toEqual(BOTH)
})

test('the handler gets the extensions and the umask of a request, and the name ends before them', async () => {
  const { seen, agreed, mkdir } = await mkdirs(InitFlags2.SECURITY_CTX | InitFlags2.CREATE_SUPP_GROUP)
  expect(agreed.flags2).toBe(InitFlags2.SECURITY_CTX | InitFlags2.CREATE_SUPP_GROUP)
  await mkdir(encodeExtensions(BOTH))
  await mkdir(new Uint8Array(0))
  expect(seen).toEqual([
    { umask: 0o22, extensions: BOTH },
    { umask: 0o22, extensions: { securityContexts: undefined, groups: undefined } },
  ])
})

test('a guest before minor 38, which does not tell their length, is not allowed them', async () => {
  const { agreed } = await mkdirs(InitFlags2.SECURITY_CTX | InitFlags2.CREATE_SUPP_GROUP, 37)
  expect(agreed.flags2).toBe(0)
})

test('extensions cut anywhere, or with any byte changed, decode to something or fail as a protocol error', () => {
  const whole = bytesOf(BOTH_ROWS)
  const tolerable = (bytes: Uint8Array) => {
    try {
      decodeExtensions(bytes)
    } catch (error) {
      expect(error).toMatchObject({ name: 'FuseProtocolError' })
    }
  }
  for (let length = 0; length < whole.byteLength; length++) tolerable(whole.subarray(0, length))
  for (let at = 0; at < whole.byteLength; at++) {
    for (const value of [0, 1, 7, 0x1f, 0x20, 0x7f, 0xff]) tolerable(whole.with(at, value))
  }
})

test('a guest that lies about its extensions gets EINVAL', async () => {
  const { mkdir } = await mkdirs(InitFlags2.SECURITY_CTX)
  const tooLong = bytesOf('30000000 01000000 0000000000000000  secctx')
  expect(await errnoOf(mkdir(tooLong))).toBe('EINVAL')
  expect(await errnoOf(mkdir(new Uint8Array(8)))).toBe('EINVAL')
})

test('a trace names security contexts and groups', () => {
  const line = (extensions: Uint8Array) => {
    const parts = encodeRequest(9, { unique: 4n, node: 1, args: new Uint8Array(8), names: ['d'], extensions })
    return formatRequest(Uint8Array.from(parts.flatMap(part => [...part])))
  }
  expect(line(encodeExtensions(BOTH))).toBe('MKDIR #4 parent=1 "d" secctx="security.selinux" groups=27,1000')
  expect(line(new Uint8Array(8))).toMatch(/^MKDIR #4 parent=1 "d" extensions that make no sense/)
})
