import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeName, encodedLength, encodeName, FuseProtocolError, hasEscapedBytes } from '../src/index.ts'

const fragments = fc.constantFrom(
  ...['a', 'ü', '–', '💾', '\u{10ffff}', '\0', '/'].map(text => new TextEncoder().encode(text)),
  ...[
    [0x80],
    [0xc0, 0x80],
    [0xed, 0xa0, 0x80],
    [0xf4, 0x90, 0x80, 0x80],
    [0xe2, 0x82],
    [0xf0, 0x9f],
    [0xff],
  ].map(bytes => Uint8Array.from(bytes)),
)
const anyBytes = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.array(fragments, { maxLength: 40 }).map(parts => Uint8Array.from(parts.flatMap(part => [...part]))),
)

test('every byte string survives bytes → string → bytes', () => {
  fc.assert(
    fc.property(anyBytes, bytes => {
      const name = decodeName(bytes)
      expect(encodeName(name)).toEqual(bytes)
      expect(encodedLength(name)).toBe(bytes.byteLength)
    }),
    { numRuns: 1000 },
  )
})

test('what is UTF-8 decodes as the platform decodes it, and nothing else passes for it', () => {
  fc.assert(
    fc.property(anyBytes, bytes => {
      const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
      const isUtf8 = Buffer.from(text).equals(bytes)
      const name = decodeName(bytes)
      expect(hasEscapedBytes(name)).toBe(!isUtf8)
      if (isUtf8) expect(name).toBe(text)
    }),
    { numRuns: 1000 },
  )
})

test('well-formed text encodes as the platform encodes it', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 100 }), text => {
      expect(encodeName(text)).toEqual(new TextEncoder().encode(text))
    }),
  )
})

test('a byte that is not UTF-8 is one lone low surrogate', () => {
  expect(decodeName(Uint8Array.of(0x61, 0xff, 0x62))).toBe('a\udcffb')
  expect(encodeName('a\udcffb')).toEqual(Uint8Array.of(0x61, 0xff, 0x62))
})

test.each(['\ud800', 'a\udc00', '\udc7f', '\ud800\ud800', '\udcff\ud83d'])(
  'a surrogate that decoding never yields is refused: %j',
  name => {
    expect(() => encodeName(name)).toThrow(FuseProtocolError)
  },
)

test('a long name is decoded whole', () => {
  const text = 'ä'.repeat(10_000)
  expect(decodeName(new TextEncoder().encode(text))).toBe(text)
})
