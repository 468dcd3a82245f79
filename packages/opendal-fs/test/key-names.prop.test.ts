import fc from 'fast-check'
import { expect, it } from 'vitest'
import { KeyNames } from '../src/storage/key-names.ts'

const SCHEMES = ['fs', 's3', 'azblob', 'memory', 'webdav']

// Rust's char::is_whitespace, which `str::trim` uses, spelled out independently of the source.
const WHITE = [9, 10, 11, 12, 13, 32, 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000].concat(
  Array.from({ length: 11 }, (_, i) => 0x2000 + i),
)

const unit = fc.oneof(
  fc.constantFrom(...WHITE, 0x5c, 0x25, 0x2e, 0xdc80, 0xdcff, 1, 0x7f).map(code => String.fromCharCode(code)),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
)
const name = fc
  .tuple(
    fc.constantFrom('', '.ovfs-', '.ovfs-x-', '.ovfs-tmp-', '.ovfs-x-%20'),
    fc.array(unit, { maxLength: 12 }),
  )
  .map(([start, units]) => start + units.join(''))
  .filter(name => name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name))

it.each(SCHEMES)('gives every name a segment of its own that leads back to it, on %s', scheme => {
  const names = new KeyNames(scheme)
  fc.assert(fc.property(name, name => names.toName(names.toSegment(name)) === name))
})

it.each(SCHEMES)('makes segments that OpenDAL stores as they are, on %s', scheme => {
  const names = new KeyNames(scheme)
  fc.assert(
    fc.property(name, name => {
      const segment = names.toSegment(name)
      const ends = [segment.charCodeAt(0), segment.charCodeAt(segment.length - 1)]
      expect(ends.some(code => WHITE.includes(code))).toBe(false)
      expect(/\p{Surrogate}/u.test(segment)).toBe(false)
      expect(segment.includes('/')).toBe(false)
      expect(['', '.', '..']).not.toContain(segment)
      if (scheme === 'fs') expect(segment.includes('\\')).toBe(false)
    }),
  )
})

it('leaves ordinary names alone', () => {
  const names = new KeyNames('s3')
  for (const name of ['a', '.hidden', 'two words', '100%', 'ünï', 'a.b.c', '~', '-rf']) {
    expect(names.toSegment(name)).toBe(name)
  }
})

it.each(SCHEMES)(
  'shows every segment of the storage but our own under some name, and that leads back, on %s',
  scheme => {
    const names = new KeyNames(scheme)
    fc.assert(
      fc.property(
        fc.oneof(name, fc.constantFrom('', '.', '..', '.ovfs-x-plain')),
        fc.boolean(),
        (segment, twin) => {
          fc.pre(!names.isOurs(segment))
          const shown = names.toShownName(segment, twin)!
          expect(Buffer.byteLength(shown)).toBeLessThanOrEqual(255)
          expect(shown.includes('/') || shown.includes('\0')).toBe(false)
          if (!names.isReachable(segment)) expect(names.fromShownName(shown)).toBe(undefined)
          else if (twin || names.toName(segment) === undefined)
            expect(names.fromShownName(shown)).toEqual({ segment, isTwin: twin })
        },
      ),
    )
  },
)

it('shows segments that are too long for a name under shorter ones, each its own', () => {
  const names = new KeyNames('s3')
  const long = ['a', 'b'].map(last => 'é'.repeat(300) + last)
  const shown = long.map(segment => names.toShownName(segment, false)!)
  expect(long.map(segment => names.toName(segment))).toEqual([undefined, undefined])
  expect(new Set(shown).size).toBe(2)
  for (const name of shown) expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255)
})

it('shows no segment that is the service of its own bookkeeping, or that no name could have made', () => {
  const names = new KeyNames('fs')
  const impossible = [
    '',
    '.',
    '..',
    'a/b',
    'nul\0',
    '.ovfs-dir',
    names.temporary(),
    '.ovfs-x-plain',
    '.ovfs-x-%2F',
  ]
  for (const segment of impossible) expect(names.toName(segment)).toBe(undefined)
})
