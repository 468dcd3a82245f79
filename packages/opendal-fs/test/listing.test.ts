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
    toShownName: () => undefined,
  })
  expect(names(listing)).toEqual(['shown'])
})
