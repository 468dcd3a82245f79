import fc from 'fast-check'
import { expect, it } from 'vitest'
import { KeyNames } from '../src/storage/key-names.ts'

const SCHEMES = ['fs', 's3', 'azblob', 'gcs', 'memory', 'webdav', 'webdav that hides dots'] as const

function namesOn(scheme: string): KeyNames {
  const [service = ''] = scheme.split(' ')
  return new KeyNames(service, service !== scheme)
}

// Rust's char::is_whitespace, which `str::trim` uses, spelled out independently of the source.
const WHITE = [9, 10, 11, 12, 13, 32, 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000].concat(
  Array.from({ length: 11 }, (_, i) => 0x2000 + i),
)

const unit = fc.oneof(
  fc
    .constantFrom(...WHITE, 0x5c, 0x5f, 0x25, 0x2e, 0xdc80, 0xdcff, 1, 0x7f)
    .map(code => String.fromCharCode(code)),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
)
const name = fc
  .tuple(
    fc.constantFrom(
      '',
      '.',
      '_',
      '.ovfs-',
      '.ovfs-x-',
      '.ovfs-y-',
      'ovfs-y-',
      '.ovfs-tmp-',
      'ovfs-',
      '.ovfs-x-%20',
      '.ovfs-y-_20',
    ),
    fc.array(unit, { maxLength: 12 }),
  )
  .map(([start, units]) => start + units.join(''))
  .filter(name => name !== '' && name !== '.' && name !== '..' && !/[/\0]/.test(name))

it.each(SCHEMES)('gives every name a segment of its own that leads back to it, on %s', scheme => {
  const names = namesOn(scheme)
  fc.assert(fc.property(name, name => names.toName(names.toSegment(name)) === name))
})

it.each(SCHEMES)('makes segments that OpenDAL stores as they are, on %s', scheme => {
  const names = namesOn(scheme)
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

it.each(SCHEMES)('no segment is a spelling of two names, and each spelling leads back, on %s', scheme => {
  const names = namesOn(scheme)
  fc.assert(
    fc.property(name, name => {
      const spellings = names.spellings(name)
      expect(spellings[0]).toBe(names.toSegment(name))
      expect(new Set(spellings).size).toBe(spellings.length)
      for (const segment of spellings) {
        expect(names.toName(segment)).toBe(name)
        expect(names.isOurs(segment)).toBe(false)
      }
      // What is shown under a name is found under it.
      const shown = names.toName(name)
      if (shown !== undefined) expect(names.spellings(shown)).toContain(name)
    }),
    { numRuns: 1_000 },
  )
})

it.each(SCHEMES)(
  'escapes with letters, digits and marks that no service and no signature alters, on %s',
  scheme => {
    const names = namesOn(scheme)
    fc.assert(
      fc.property(name, name => {
        const segment = names.toSegment(name)
        if (segment !== name) expect(segment).toMatch(/^\.?ovfs-y-[A-Za-z0-9._-]*$/)
        if (scheme === 'gcs') expect(segment).toMatch(/^[A-Za-z0-9._~!*'()-]+$/)
        if (scheme === 'azblob') expect(segment).not.toContain('%')
        if (scheme.startsWith('webdav'))
          expect(segment).not.toMatch(/[\u2400-\u2421]|(?![\u0080-\u009f])\p{Cc}/u)
        if (scheme.endsWith('dots')) expect(segment.startsWith('.')).toBe(false)
      }),
    )
  },
)

it.each([
  ['fs', ' lead', '.ovfs-x-%20lead'],
  ['s3', 'tab\tend', '.ovfs-x-tab%09end'],
  ['s3', '100% ', '.ovfs-x-100%25%20'],
  ['memory', '.ovfs-x-%20', '.ovfs-x-.ovfs-x-%2520'],
  ['webdav', '\udc80bytes', '.ovfs-x-%uDC80bytes'],
  ['azblob', 'back\\slash', '.ovfs-x-back%5Cslash'],
])('finds on %s the name %j where an earlier version has stored it', (scheme, name, segment) => {
  const names = new KeyNames(scheme)
  expect(names.toName(segment)).toBe(name)
  expect(names.spellings(name)).toContain(segment)
})

it.each([
  ['gcs', 'my file', 'my file'],
  ['gcs', 'naïve', 'naïve'],
  ['azblob', '100%', '100%'],
  ['webdav', 'new\nline', 'new\nline'],
  ['webdav', 'picture \u240a', 'picture \u240a'],
])('finds on %s the name %j where another program has stored it', (scheme, name, segment) => {
  const names = new KeyNames(scheme)
  expect(names.toName(segment)).toBe(name)
  expect(names.spellings(name)).toEqual([names.toSegment(name), segment])
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
    const names = namesOn(scheme)
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
          else if (
            twin ||
            names.toName(segment) === undefined ||
            names.toSegment(names.toName(segment)!) !== segment
          )
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
