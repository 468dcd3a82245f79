import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeName } from '../src/index.ts'
import { NameDecoder } from '../src/name-decoder.ts'

const terminated = (name: Uint8Array) => Uint8Array.from([...name, 0])

test('names that meet in one slot of the table stay what they are', () => {
  const decoder = new NameDecoder()
  // Far more names than slots, so that every slot is taken over several times.
  const names = Array.from({ length: 20_000 }, (_, i) => `file-${(i * 7919) % 20_000}`)
  for (const name of [...names, ...names]) {
    const bytes = terminated(new TextEncoder().encode(name))
    expect(decoder.fileName(bytes, 0, bytes.byteLength)).toBe(name)
    expect(decoder.length).toBe(name.length)
  }
})

test('any name decodes as it does without the table', () => {
  const decoder = new NameDecoder()
  const part = fc.oneof(fc.integer({ min: 0x30, max: 0x7a }), fc.integer({ min: 0x80, max: 0xff }))
  const name = fc.oneof(
    fc.uint8Array({ min: 0x61, max: 0x63, minLength: 3, maxLength: 5 }),
    fc.array(part, { minLength: 3, maxLength: 255 }).map(bytes => Uint8Array.from(bytes)),
  )
  fc.assert(
    fc.property(name, bytes => {
      const message = terminated(bytes)
      expect(decoder.fileName(message, 0, message.byteLength)).toBe(decodeName(bytes))
    }),
    { numRuns: 1000 },
  )
})

test('the guest cannot change a name after it was checked', () => {
  const decoder = new NameDecoder()
  const bytes = terminated(new TextEncoder().encode('harmless'))
  let reads = 0
  const changing = new Proxy(bytes, {
    get: (target, key) => {
      const index = Number(key)
      if (Number.isInteger(index)) {
        reads++
        if (reads > target.byteLength) return 0x2f
      }
      return Reflect.get(target, key)
    },
  })
  expect(decoder.fileName(changing, 0, bytes.byteLength)).toBe('harmless')
  expect(reads).toBe(bytes.byteLength)
})
