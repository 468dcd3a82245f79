// The rules by which two looks at a key are the same version or not.

import { describe, expect, it } from 'vitest'
import { ServiceTraits } from '../src/storage/service-traits.ts'
import {
  compareVersions,
  isSameVersion,
  isVersionNamed,
  type ObjectVersion,
  versionName,
} from '../src/storage/version.ts'
import { ConditionalWrites } from '../src/storage/write-condition.ts'

const version = (etag?: string, sec?: number, nsec = 0, size = 3): ObjectVersion => ({
  size,
  etag,
  mtime: sec === undefined ? undefined : { sec, nsec },
})

describe('two looks at an object', () => {
  it.each<[string, ObjectVersion, ObjectVersion, string]>([
    ['equal strong ETags, whatever the times', version('"x"', 1), version('"x"', 2), 'same'],
    ['different strong ETags', version('"x"', 1), version('"y"', 1), 'different'],
    ['equal ETags of different sizes', version('"x"', 1, 0, 3), version('"x"', 1, 0, 4), 'different'],
    ['a weak ETag that became strong', version('W/"x"', 1), version('"x"', 1), 'same'],
    ['two equal weak ETags', version('W/"x"', 1), version('W/"x"', 1), 'same'],
    ['a weak ETag with another time', version('W/"x"', 1), version('"x"', 2), 'different'],
    ['a weak ETag without a time', version('W/"x"'), version('W/"x"', 2), 'same'],
    ['different weak ETags', version('W/"x"', 1), version('W/"y"', 1), 'different'],
    ['an ETag at one of them, equal times', version('"x"', 1), version(undefined, 1), 'same'],
    ['an ETag at one of them, different times', version('"x"', 1), version(undefined, 2), 'different'],
    ['times in seconds and in milliseconds', version(undefined, 1), version(undefined, 1, 5e6), 'same'],
    [
      'times in milliseconds and in nanoseconds',
      version(undefined, 1, 5e6),
      version(undefined, 1, 5_000_001),
      'same',
    ],
    ['different milliseconds', version(undefined, 1, 5e6), version(undefined, 1, 6e6), 'different'],
    ['different nanoseconds', version(undefined, 1, 1), version(undefined, 1, 2), 'different'],
    ['nothing but sizes', version(), version(), 'unknown'],
    ['a time at one of them only', version(), version(undefined, 1), 'unknown'],
  ])('%s', (_, a, b, wanted) => {
    expect(compareVersions(a, b)).toBe(wanted)
    expect(compareVersions(b, a)).toBe(wanted)
  })

  it('let cached bytes be used unless something that could be compared is missing', () => {
    expect(isSameVersion(version(), version())).toBe(true)
    expect(isSameVersion(version(), version('"x"'))).toBe(false)
    expect(isSameVersion(version('W/"x"', 1), version('"x"', 1))).toBe(true)
  })
})

it('the name of a version is the same while its ETag is weak, also one that an earlier release stored', () => {
  expect(versionName(version('W/"x"', 1))).toBe(versionName(version('"x"', 1)))
  expect(isVersionNamed(version('"x"', 1), 'W/"x"')).toBe(true)
  expect(isVersionNamed(version(undefined, 1, 5), '3@1.5')).toBe(true)
  expect(isVersionNamed(version(undefined, 1, 5), '3@1.6')).toBe(false)
})

it.each([
  ['W/"x"', false],
  ['"x"', true],
])('a write that replaces %s carries If-Match: %s', async (etag, isSent) => {
  const capability = { writeWithIfMatch: true } as ConstructorParameters<typeof ConditionalWrites>[0]
  const writes = new ConditionalWrites(capability, new ServiceTraits('s3'), () => undefined)
  expect(writes.isEnforced({ etag })).toBe(isSent)
  const sent = await writes.run(
    { etag },
    async options => options.ifMatch,
    async () => undefined,
  )
  expect(sent).toBe(isSent ? etag : undefined)
})

it.each([
  ['s3', 7],
  ['swift', 8],
])('a listed time on %s is the second that stat tells', (scheme, sec) => {
  const traits = new ServiceTraits(scheme)
  expect(traits.statTime({ sec: 7, nsec: 5e6 })).toEqual({ sec, nsec: 0 })
  expect(traits.statTime({ sec: 7, nsec: 0 })).toEqual({ sec: 7, nsec: 0 })
  expect(new ServiceTraits('gcs').statTime({ sec: 7, nsec: 5e6 })).toEqual({ sec: 7, nsec: 5e6 })
})
