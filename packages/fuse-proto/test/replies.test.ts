// Replies of hand-written handlers.

import { expect, test } from 'vitest'
import { attrOf, attrReplyOf, entryOf } from '../src/index.ts'

test('a directory has two links and a file one, and its blocks hold its size', () => {
  expect(attrOf({ ino: 1, mode: 0o040755 })).toMatchObject({ nlink: 2, size: 0, blocks: 0 })
  expect(attrOf({ ino: 2, mode: 0o100644, size: 513 })).toMatchObject({ nlink: 1, blocks: 2 })
})

test('fields that are given win over what is usual', () => {
  expect(attrOf({ ino: 2, mode: 0o100644, nlink: 3, uid: 7, blocks: 9 })).toMatchObject({
    nlink: 3,
    uid: 7,
    blocks: 9,
  })
})

test('a fraction of a second becomes nanoseconds', () => {
  const attr = attrOf({ ino: 5, mode: 0o100644 })
  expect(attrReplyOf(attr, 1.25)).toEqual({ attrValid: 1, attrValidNsec: 250_000_000, attr })
  expect(entryOf(attr, 0.5)).toMatchObject({ nodeid: 5, entryValid: 0, entryValidNsec: 500_000_000 })
})
