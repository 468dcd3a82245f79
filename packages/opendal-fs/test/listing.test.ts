import { expect, it } from 'vitest'
import { Listing } from '../src/names/listing.ts'
import type { ListedObject } from '../src/storage/storage.ts'

const object = (segment: string, kind: 'file' | 'directory' = 'file'): ListedObject => ({
  segment,
  kind,
  info: undefined,
})
const names = (listing: Listing) => listing.entries.filter(({ removed }) => !removed).map(({ name }) => name)
const same = {
  toName: (segment: string) => segment,
  spellings: (name: string) => [name],
  toShownName: (segment: string, isTwin: boolean) => `shown ${segment}${isTwin ? '/' : ''}`,
}

it('keeps what was added and removed while the storage was still answering', () => {
  const listing = new Listing()
  listing.add('new', 'file')
  listing.remove('gone')
  listing.load([object('gone'), object('kept'), object('new')], same)
  expect(names(listing).sort()).toEqual(['kept', 'new'])
})

it('keeps the places of all others when a name goes and comes back', () => {
  const listing = new Listing()
  listing.load(
    ['a', 'b', 'c'].map(segment => object(segment)),
    same,
  )
  listing.remove('b')
  expect(listing.get('b')).toBe(undefined)
  listing.add('d', 'file')
  listing.add('b', 'directory')
  expect(names(listing)).toEqual(['a', 'b', 'c', 'd'])
  expect(listing.get('b')?.kind).toBe('directory')
})

it.each([
  ['the file', [object('x'), object('x', 'directory')]],
  ['the directory', [object('x', 'directory'), object('x')]],
])(
  'gives a file the name that a directory has too, and that another one, %s being listed first',
  (_, objects) => {
    const listing = new Listing()
    listing.load(objects, same)
    expect(listing.entries.map(({ name, kind }) => [name, kind])).toEqual([
      ['x', 'file'],
      ['shown x/', 'directory'],
    ])
  },
)

it('leaves out what has no name', () => {
  const listing = new Listing()
  listing.load([object('shown'), object('hidden')], {
    toName: segment => (segment === 'hidden' ? undefined : segment),
    spellings: name => [name],
    toShownName: () => undefined,
  })
  expect(names(listing)).toEqual(['shown'])
})

it.each([
  ['first', ['a1', 'a2', 'a3']],
  ['last', ['a3', 'a2', 'a1']],
])('gives a name to its first spelling, that being listed %s, and shows the others', (_, segments) => {
  const listing = new Listing()
  const spelled = {
    ...same,
    toName: (segment: string) => segment.slice(0, 1),
    spellings: (name: string) => ['1', '2', '3'].map(end => name + end),
  }
  const info = { kind: 'file', size: 1, mtime: undefined, etag: undefined } as const
  listing.load(
    [
      ...segments.map(segment => ({ segment, kind: 'file', info }) as const),
      { segment: 'b2', kind: 'file', info },
    ],
    spelled,
  )
  expect(names(listing).sort()).toEqual(['a', 'b', 'shown a2', 'shown a3'])
  expect(listing.get('a')?.info?.segment).toBe(undefined)
  expect(listing.get('b')?.info?.segment).toBe('b2')
  expect(listing.get('shown a2')?.info?.segment).toBe('a2')
})

it('does not show an object of another spelling whose name is removed while the storage was still answering', () => {
  const listing = new Listing()
  const spelled = { ...same, toName: () => 'a', spellings: () => ['a1', 'a2'] }
  listing.remove('a')
  listing.load([object('a2')], spelled)
  expect(names(listing)).toEqual([])
})
