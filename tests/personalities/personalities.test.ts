// Every file-system operation on S3 servers of every kind: it does what it does on the plain server, or fails with the errno that
// is written here, and then every file has its old content or the new one, under its old name or the new one.

import { OpendalFs, Operator } from '@ovfs/opendal-fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Guest, O_RDWR } from '../../packages/opendal-fs/test/guest.ts'
import { FakeS3, type Personality, type S3Request } from './fake-s3.ts'

const hasCondition = ({ headers, operation }: S3Request) =>
  operation === 'put' && (headers['if-none-match'] !== undefined || headers['if-match'] !== undefined)

/** Each nth request is refused. */
function everyNth(n: number, status: number, code: string): () => Personality {
  return () => {
    let requests = 0
    return { refuse: () => (++requests % n === 0 ? { status, code } : undefined) }
  }
}

const PERSONALITIES: Readonly<Record<string, () => Personality>> = {
  'answers 501 to conditional writes': () => ({
    refuse: request => (hasCondition(request) ? { status: 501, code: 'NotImplemented' } : undefined),
  }),
  'answers 400 to conditional writes': () => ({
    refuse: request => (hasCondition(request) ? { status: 400, code: 'InvalidArgument' } : undefined),
  }),
  'answers 501 to copies': () => ({
    refuse: ({ operation }) => (operation === 'copy' ? { status: 501, code: 'NotImplemented' } : undefined),
  }),
  'answers 400 to copies': () => ({
    refuse: ({ operation }) => (operation === 'copy' ? { status: 400, code: 'InvalidRequest' } : undefined),
  }),
  'answers copies with an error in 200': () => ({
    refuse: ({ operation }) =>
      operation === 'copy' ? { status: 200, code: 'InternalError', hidden: true } : undefined,
  }),
  'answers errors without a body': () => ({
    bodiless: true,
    refuse: request => (hasCondition(request) ? { status: 501 } : undefined),
  }),
  'has times of whole seconds': () => ({ wholeSeconds: true }),
  'lists slowly': () => ({ listingDelayMs: 40 }),
  'lists pages of 2': () => ({ pageSize: 2 }),
  'refuses keys of more than 60 bytes': () => ({
    refuse: ({ key }) => (key.length > 60 ? { status: 400, code: 'KeyTooLongError' } : undefined),
  }),
  'answers each fourth request with 503 SlowDown': everyNth(4, 503, 'SlowDown'),
  'answers each fourth request with 429': everyNth(4, 429, 'TooManyRequests'),
}

const LONG = 'n'.repeat(40)
const BEFORE: Readonly<Record<string, string>> = {
  f: 'old content',
  g: 'of g',
  'd/a': 'of a',
  'd/b': 'of b',
  'd/s/c': 'of c',
}

type Share = { readonly guest: Guest; restart(): Promise<Guest> }

const OPERATIONS: Readonly<Record<string, (share: Share) => Promise<unknown>>> = {
  create: async ({ guest }) => (await guest.create('new')).close(),
  write: ({ guest }) => guest.put('new', 'new content'),
  'write of a long name': ({ guest }) => guest.put(`${LONG}`, 'new content'),
  'write of a key of more than 60 bytes': ({ guest }) => guest.put(`d/s/${LONG}${LONG}`, 'new content'),
  overwrite: ({ guest }) => guest.put('f', 'new content'),
  append: async ({ guest }) => {
    const file = await guest.open('f', O_RDWR)
    await file.write(11, ' and more')
    await file.close()
  },
  truncate: ({ guest }) => guest.truncate('f', 3),
  read: ({ guest }) => guest.text('f'),
  rename: ({ guest }) => guest.rename('f', 'new'),
  'rename over a file': ({ guest }) => guest.rename('f', 'g'),
  'rename of a directory': ({ guest }) => guest.rename('d', 'e'),
  mkdir: ({ guest }) => guest.mkdir('new'),
  'rmdir of an empty directory': async ({ guest }) => {
    await guest.mkdir('new')
    await guest.rmdir('new')
  },
  'rmdir of a full directory': ({ guest }) =>
    guest.rmdir('d').then(
      () => 'removed',
      error => String(error.code),
    ),
  unlink: ({ guest }) => guest.unlink('f'),
  chmod: async ({ guest }) => {
    await guest.setattr('f', { mode: 0o600 })
    return (await guest.stat('f')).mode & 0o777
  },
  symlink: async ({ guest }) => {
    await guest.symlink('link', 'f')
    return guest.readlink('link')
  },
  list: async ({ guest }) => [await guest.names(''), await guest.names('d')],
  stat: async ({ guest }) => {
    const { size, mode } = await guest.stat('d/a')
    return [size, mode, await guest.exists('absent')]
  },
  fsync: async ({ guest }) => {
    const file = await guest.open('g', O_RDWR)
    await file.write(0, 'synced content')
    await file.fsync()
    await file.close()
  },
  'recursive remove': async ({ guest }) => {
    for (const path of ['d/s/c', 'd/a', 'd/b']) await guest.unlink(path)
    await guest.rmdir('d/s')
    await guest.rmdir('d')
  },
  restart: async ({ guest, restart }) => {
    await guest.put('new', 'new content')
    const next = await restart()
    return [await next.text('new'), await next.text('d/s/c'), await next.names('')]
  },
}

/** What may fail, and how: everything else is as on the plain server. */
const DOCUMENTED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'refuses keys of more than 60 bytes': { 'write of a key of more than 60 bytes': 'ENAMETOOLONG' },
}

let s3: FakeS3
let fs: OpendalFs
let guest: Guest

beforeEach(async () => {
  s3 = await FakeS3.start()
})
afterEach(async () => {
  await fs.close().catch(() => undefined)
  await s3.stop()
})

function mount(): Guest {
  const options = { scheme: 's3', timeoutMs: 10_000, attrTtlMs: 0, entryTtlMs: 0, negativeTtlMs: 0 }
  fs = new OpendalFs(new Operator('s3', s3.options), options)
  guest = new Guest(fs)
  return guest
}

async function restart(): Promise<Guest> {
  await fs.close()
  return mount()
}

/** The paths of all files and what they hold, by a new daemon on a plain server. */
async function tree(): Promise<Record<string, string>> {
  await restart()
  const found: Record<string, string> = {}
  const walk = async (directory: string): Promise<void> => {
    for (const { name, type } of await guest.readdir(directory)) {
      if (name === '.' || name === '..') continue
      const path = directory === '' ? name : `${directory}/${name}`
      if (type === 4) await walk(path)
      else found[path] = type === 10 ? await guest.readlink(path) : await guest.text(path)
      if (type === 4) found[`${path}/`] = ''
    }
  }
  await walk('')
  return found
}

/** What an operation comes to: its result or the errno, and the tree after it. */
async function outcome(
  operation: string,
  personality: Personality,
): Promise<[unknown, Record<string, string>]> {
  s3.objects.clear()
  for (const [key, content] of Object.entries(BEFORE)) s3.put(key, content)
  mount()
  s3.personality = personality
  const result = await OPERATIONS[operation]!({ guest, restart }).catch(
    error => (error as { code?: string }).code ?? String(error),
  )
  s3.personality = {}
  return [result, await tree()]
}

const plainOutcomes = new Map<string, Awaited<ReturnType<typeof outcome>>>()

async function plainOutcome(operation: string): ReturnType<typeof outcome> {
  const known = plainOutcomes.get(operation)
  if (known !== undefined) return known
  const found = await outcome(operation, {})
  plainOutcomes.set(operation, found)
  await fs.close()
  return found
}

describe.each(Object.keys(PERSONALITIES))('on a server that %s', personality => {
  it.each(Object.keys(OPERATIONS))(
    '%s does what it does on the plain one, or fails as documented',
    async operation => {
      const plain = await plainOutcome(operation)
      const [result, found] = await outcome(operation, PERSONALITIES[personality]!())
      const errno = DOCUMENTED[personality]?.[operation]
      if (errno === undefined) {
        expect([result, found]).toEqual(plain)
        return
      }
      expect(result).toBe(errno)
      for (const content of Object.values(BEFORE)) expect(Object.values(found)).toContain(content)
    },
  )
})
