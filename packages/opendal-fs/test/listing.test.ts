import { expect, it } from 'vitest'
import { Listing } from '../src/listing.ts'
import type { ListedObject } from '../src/storage.ts'

const object = (segment: string, kind: 'file' | 'directory' = 'file'): ListedObject => ({
  segment,
  kind,
  info: undefined,
})
const names = (listing: Listing) => listing.entries.filter(({ removed }) => !removed).map(({ name }) => name)
const same = (segment: string) => segment

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

it('shows a name once, as the file that lookups find, if there is a directory of that name too', () => {
  const listing = new Listing()
  listing.load([object('x', 'directory'), object('x')], same)
  expect(listing.entries.map(({ name, kind }) => [name, kind])).toEqual([['x', 'file']])
})

it('leaves out what has no name', () => {
  const listing = new Listing()
  listing.load([object('shown'), object('hidden')], segment => (segment === 'hidden' ? undefined : segment))
  expect(names(listing)).toEqual(['shown'])
})
