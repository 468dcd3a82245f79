// Large new files on S3: their parts are there before the close, and whatever comes between, the object is what was written last.

import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AbandonedUpload, OpendalFs, type OpendalFsOptions, StateFolder } from '../src/index.ts'
import { Operator } from '../src/storage/binding.ts'
import { Faults, faulty } from './faulty-operator.ts'
import { type File, Guest, O_RDWR, O_TRUNC } from './guest.ts'
import { type S3Server, startS3 } from './s3-server.ts'

const MIB = 1 << 20
const PART = 8 * MIB

let folder: string
let server: S3Server
let outside: Operator
let faults: Faults
let errors: Error[]
let fs: OpendalFs
let guest: Guest

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ovfs-test-'))
  server = await startS3(join(folder, 's3'))
  outside = new Operator('s3', server.options)
  faults = new Faults()
  errors = []
  mount({})
})
afterEach(async () => {
  await fs.close()
  await server.close()
  rmSync(folder, { recursive: true, force: true })
})

function mount(options: Partial<OpendalFsOptions>): void {
  fs = new OpendalFs(faulty(new Operator('s3', server.options), faults), {
    scheme: 's3',
    attrs: 'none',
    recoveryDir: join(folder, 'recovery'),
    onError: error => errors.push(error),
    ...options,
  })
  guest = new Guest(fs)
}

/** No two parts of it are alike. */
function pattern(length: number, seed = 0): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; at += 4096) bytes.writeUInt32LE(at + seed, at)
  return bytes
}

const parts = (): string[] =>
  server.requests.flatMap(request => /^PUT .*partNumber=(\d+)/.exec(request)?.[1] ?? []).sort()
const begun = (): number => server.requests.filter(request => /^POST .*\?uploads/.test(request)).length
const completed = (): number => server.requests.filter(request => /^POST .*\?uploadId=/.test(request)).length
const abandoned = (): Error[] => errors.filter(error => error instanceof AbandonedUpload)

async function stored(key: string, content: Buffer): Promise<boolean> {
  return Buffer.compare(await outside.read(key), content) === 0
}

/** A file of which at least some parts have been sent: OpenDAL keeps the last two back until it gets more. */
async function begin(path: string, content: Buffer): Promise<File> {
  const file = await guest.create(path)
  await file.write(0, content)
  await expect.poll(() => parts().length, { timeout: 20_000 }).toBeGreaterThanOrEqual(2)
  return file
}

it('has parts of a large file at the service while it is being written, and shows nothing before the close', async () => {
  const content = pattern(5 * PART + 1000)
  const file = await begin('f', content)
  await expect.poll(parts, { timeout: 20_000 }).toEqual(['1', '2', '3'])
  expect(await outside.exists('f')).toBe(false)
  expect(completed()).toBe(0)
  await file.close()
  expect(parts()).toEqual(['1', '2', '3', '4', '5', '6'])
  expect([begun(), completed()]).toEqual([1, 1])
  expect(await stored('f', content)).toBe(true)
  expect(Buffer.compare(await guest.get('f'), content)).toBe(0)
  expect(errors).toEqual([])
})

it('does so for a file that is cut to nothing and written anew', async () => {
  await outside.write('f', 'old')
  const content = pattern(5 * PART)
  const file = await guest.open('f', O_RDWR | O_TRUNC)
  await file.write(0, content)
  await expect.poll(() => parts().length, { timeout: 20_000 }).toBeGreaterThanOrEqual(2)
  expect((await outside.read('f')).toString()).toBe('old')
  await file.fsync()
  expect([begun(), completed()]).toEqual([1, 1])
  expect(await stored('f', content)).toBe(true)
  await file.close()
})

it('keeps the user metadata of the object that it replaces', async () => {
  await fs.close()
  mount({ attrs: 'sidecar', userMetadata: true })
  await outside.write('f', 'old', { userMetadata: { purpose: 'x' } })
  const file = await guest.open('f', O_RDWR | O_TRUNC)
  await file.write(0, pattern(5 * PART))
  await file.close()
  expect((await outside.stat('f')).userMetadata).toEqual({ purpose: 'x' })
  expect(begun()).toBe(1)
})

describe('a change of what has been uploaded', () => {
  it.each<[string, (file: File, content: Buffer) => Promise<Buffer>]>([
    [
      'by a write',
      async (file, content) => {
        await file.write(3 * PART - 2, 'over')
        return Buffer.concat([
          content.subarray(0, 3 * PART - 2),
          Buffer.from('over'),
          content.subarray(3 * PART + 2),
        ])
      },
    ],
    [
      'by a truncation',
      async (file, content) => {
        await file.truncate(2 * PART + 1)
        return content.subarray(0, 2 * PART + 1)
      },
    ],
    [
      'by a truncation that is taken back',
      async (file, content) => {
        await file.truncate(PART)
        await file.truncate(4 * PART)
        return Buffer.concat([content.subarray(0, PART), Buffer.alloc(3 * PART)])
      },
    ],
    [
      'by a hole',
      async (file, content) => {
        const PUNCH_HOLE_KEEP_SIZE = 3
        await fs.fallocate({} as never, file.node, file.fh, 10, PART, PUNCH_HOLE_KEEP_SIZE)
        return Buffer.concat([content.subarray(0, 10), Buffer.alloc(PART), content.subarray(10 + PART)])
      },
    ],
  ])('%s: the object is as it was left, and the host is told what stays behind', async (_, change) => {
    const content = pattern(4 * PART + 5)
    const file = await begin('f', content)
    const changed = await change(file, content)
    await file.close()
    expect(await stored('f', changed)).toBe(true)
    expect(abandoned()).toEqual([expect.objectContaining({ key: 'f', bytes: expect.any(Number) })])
    expect(completed()).toBe(changed.length > PART ? 1 : 0)
  })

  it('begins no second upload before the file is published', async () => {
    const content = pattern(5 * PART)
    const file = await begin('f', content)
    for (let round = 0; round < 3; round++) {
      await file.truncate(0)
      await file.write(0, content)
    }
    await file.close()
    expect(begun()).toBe(2)
    expect(await stored('f', content)).toBe(true)
  })
})

it('publishes what is written while the rest is being sent, next', async () => {
  const content = pattern(5 * PART)
  const file = await begin('f', content)
  let release: () => void = () => undefined
  const gate = new Promise<void>(resolve => {
    release = resolve
  })
  faults.before = operation => (operation === 'stat' ? gate : undefined)
  const first = file.fsync()
  await file.write(10, 'later')
  await file.write(5 * PART, 'and more')
  release()
  await first
  await file.close()
  expect(await stored('f', Buffer.concat([content, Buffer.from('and more')]).fill('later', 10, 15))).toBe(
    true,
  )
})

describe('somebody else', () => {
  const theirs = Buffer.from('theirs')

  it('has made the same file meanwhile: theirs stays, and what was written here is kept', async () => {
    const content = pattern(5 * PART)
    const file = await begin('f', content)
    await outside.write('f', theirs)
    await expect(file.close()).rejects.toMatchObject({ code: 'ESTALE' })
    expect(await stored('f', theirs)).toBe(true)
    expect(completed()).toBe(0)
    expect(readdirSync(join(folder, 'recovery'))).toHaveLength(1)
    expect(abandoned()).toHaveLength(1)
  })

  it.each([
    ['that is uploaded early', 5 * PART],
    ['that is uploaded at the close', 2 * PART],
  ])('makes it while the last parts are sent, of a file %s: theirs stays', async (_, size) => {
    const file = await guest.create('f')
    await file.write(0, pattern(size))
    let looks = 0
    faults.before = async (operation, key) => {
      if (operation === 'stat' && key === 'f' && ++looks === 2) await outside.write('f', theirs)
    }
    await expect(file.close()).rejects.toMatchObject({ code: 'ESTALE' })
    expect(await stored('f', theirs)).toBe(true)
    expect(completed()).toBe(0)
  })
})

it('follows a file that is moved while it is uploaded', async () => {
  const content = pattern(5 * PART)
  const file = await begin('a', content)
  await guest.rename('a', 'b')
  await file.close()
  expect(await outside.exists('a')).toBe(false)
  expect(await stored('b', content)).toBe(true)
  expect(abandoned()).toHaveLength(1)
})

it('leaves nothing under the name of a file that is removed while it is uploaded, or that another is moved over', async () => {
  const content = pattern(4 * PART)
  const removed = await begin('removed', content)
  await guest.unlink('removed')
  await removed.write(4 * PART, 'more')
  const replaced = await begin('replaced', content)
  await guest.put('other', 'other')
  await guest.rename('other', 'replaced')
  await removed.close()
  await replaced.close()
  expect(completed()).toBe(0)
  expect(await outside.exists('removed')).toBe(false)
  expect(await stored('replaced', Buffer.from('other'))).toBe(true)
  expect(abandoned()).toHaveLength(2)
})

it('uploads no more than two files early, and all of them right', async () => {
  const files = await Promise.all(['a', 'b', 'c'].map(name => guest.create(name)))
  const contents = files.map((_, i) => pattern(5 * PART, i))
  await Promise.all(files.map((file, i) => file.write(0, contents[i]!)))
  await expect.poll(() => parts().length, { timeout: 20_000 }).toBe(6)
  expect(begun()).toBe(2)
  await Promise.all(files.map(file => file.close()))
  for (const [i, content] of contents.entries()) expect(await stored('abc'[i]!, content)).toBe(true)
  expect(errors).toEqual([])
})

it('uploads nothing early with write-back, where the host has the file first', async () => {
  await fs.close()
  const state = await StateFolder.open(join(folder, 'state'))
  mount({ state, writeBack: true })
  const file = await guest.create('f')
  await file.write(0, pattern(5 * PART))
  await file.flush()
  expect(begun()).toBe(0)
  await file.fsync()
  expect(begun()).toBe(1)
  await file.close()
  await fs.close()
  await state.close()
  mount({})
})
