// What is found out about a server before a share of it is served must not be a guess: names that a WebDAV server hides are
// destroyed with their directory.

import { expect, it } from 'vitest'
import type { Operator } from '../src/storage/binding.ts'
import { findTraits, ServiceTraits } from '../src/storage/service-traits.ts'

/** A server that hides nothing. */
function server(objects: Set<string>, list: () => Promise<void> = async () => undefined): Operator {
  return {
    write: async (key: string) => void objects.add(key),
    delete: async (key: string) => void objects.delete(key),
    list: async () => {
      await list()
      return [...objects].map(key => ({ path: () => key }))
    },
  } as unknown as Operator
}

it('two hosts that start at once do not take each other for a server that hides names', async () => {
  const objects = new Set<string>()
  const first = findTraits(server(objects), 'webdav')
  let go = () => undefined as unknown
  const waits = new Promise<void>(resolve => {
    go = resolve
  })
  const second = findTraits(
    server(objects, () => waits),
    'webdav',
  )
  expect(await first).toEqual({ hidesDots: false })
  go()
  expect(await second).toEqual({ hidesDots: false })
  expect(objects.size).toBe(0)
})

it('a server whose listing fails may hide names: no directory is deleted', async () => {
  const objects = new Set<string>()
  const found = await findTraits(
    server(objects, async () => {
      throw new Error('Unexpected (temporary) at list, context: { service: webdav } => send http request')
    }),
    'webdav',
  )
  expect(new ServiceTraits('webdav', found)).toMatchObject({ hidesDots: false, mayHideDots: true })
  expect(objects.size).toBe(0)
})

it('a server that the credentials may not write to is as usual', async () => {
  const denied = {
    write: async () => {
      throw new Error('PermissionDenied (permanent) at write, context: { service: webdav } => no')
    },
  } as unknown as Operator
  expect(await findTraits(denied, 'webdav')).toEqual({})
  expect(new ServiceTraits('webdav')).toMatchObject({ hidesDots: false, mayHideDots: false })
})
