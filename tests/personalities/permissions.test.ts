// Credentials that may not do everything. The server answers as AWS does: for a caller that may not list, an absent key is 403.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OpendalFs, type OpendalFsOptions, Operator } from '@ovfs/opendal-fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CrashRig } from '../../packages/opendal-fs/test/crash-rig.ts'
import { Guest, O_RDWR } from '../../packages/opendal-fs/test/guest.ts'
import { FakeS3 } from './fake-s3.ts'

const MIB = 1 << 20

let s3: FakeS3
let recoveryDir: string
let fs: OpendalFs
let guest: Guest
let errors: Error[]
let warnings: string[]

beforeEach(async () => {
  s3 = await FakeS3.start()
  recoveryDir = join(mkdtempSync(join(tmpdir(), 'ovfs-test-')), 'lost')
  errors = []
  warnings = []
})
afterEach(async () => {
  await fs?.close().catch(() => undefined)
  await s3.stop()
  rmSync(join(recoveryDir, '..'), { recursive: true, force: true })
})

const mayNotList = () => {
  s3.allows = operation => operation !== 'list'
}
const settings = (): OpendalFsOptions => ({
  scheme: 's3',
  recoveryDir,
  timeoutMs: 5000,
  attrTtlMs: 0,
  entryTtlMs: 0,
  negativeTtlMs: 0,
  onError: error => errors.push(error),
  onWarning: message => warnings.push(message),
})

function mount(options: Partial<OpendalFsOptions> = {}): void {
  fs = new OpendalFs(new Operator('s3', s3.options), { ...settings(), ...options })
  guest = new Guest(fs)
}

describe('credentials that may not list', () => {
  beforeEach(() => {
    s3.put('theirs', 'by another host')
    mayNotList()
    mount({ mayList: false })
  })

  it('use existing objects, make new ones and find what they made, also after a restart', async () => {
    expect(await guest.text('theirs')).toBe('by another host')
    await guest.put('theirs', 'changed')
    await guest.put('new', 'ours')
    await guest.mkdir('d')
    await guest.put('d/f', 'below')
    await guest.setattr('d/f', { mode: 0o600 })
    await guest.rename('new', 'd/moved')
    await guest.symlink('link', 'd/f')
    await fs.close()
    mount({ mayList: false })
    expect(await guest.names('')).toEqual(['d', 'link', 'theirs'])
    expect(await guest.names('d')).toEqual(['f', 'moved'])
    expect(await guest.text('d/moved')).toBe('ours')
    expect(await guest.text('theirs')).toBe('changed')
    expect((await guest.stat('d/f')).mode & 0o777).toBe(0o600)
    expect(await guest.exists('absent')).toBe(false)
    await guest.unlink('d/f')
    await guest.unlink('d/moved')
    await guest.rmdir('d')
    expect(await guest.exists('d')).toBe(false)
    expect([...s3.objects.keys()].filter(key => key.startsWith('d/'))).toEqual([])
    expect(errors).toEqual([])
    expect(warnings).toEqual([])
  })

  it('move a directory with what was made in it', async () => {
    await guest.mkdir('d')
    await guest.put('d/f', 'below')
    await guest.rename('d', 'e')
    expect(await guest.names('')).toEqual(['e'])
    expect(await guest.text('e/f')).toBe('below')
    expect(await guest.exists('d')).toBe(false)
  })

  it('upload a large new file, and overwrite none that the service conceals', async () => {
    await guest.put('large', Buffer.alloc(20 * MIB, 'x'))
    expect(s3.objects.get('large')?.bytes.length).toBe(20 * MIB)
    s3.put('hidden', 'secret of another host')
    s3.put('hidden-large', 'secret of another host')
    s3.allows = (operation, key) => operation !== 'list' && !(operation !== 'put' && key.startsWith('hidden'))
    await expect(guest.put('hidden', 'ours')).rejects.toMatchObject({ name: 'StorageError' })
    await expect(guest.put('hidden-large', Buffer.alloc(20 * MIB))).rejects.toMatchObject({
      name: 'StorageError',
    })
    expect(s3.text('hidden')).toBe('secret of another host')
    expect(s3.text('hidden-large')).toBe('secret of another host')
  })

  it('move nothing onto an object that the service conceals, neither a file nor one in a directory', async () => {
    await guest.put('f', 'ours')
    await guest.mkdir('d')
    await guest.put('d/hidden', 'ours')
    s3.put('hidden', 'secret of another host')
    s3.put('e/hidden', 'secret of another host')
    s3.allows = (operation, key) =>
      operation !== 'list' && (operation === 'put' || operation === 'copy' || !/^(e\/)?hidden/.test(key))
    await expect(guest.rename('f', 'hidden')).rejects.toMatchObject({ code: 'EACCES' })
    await expect(guest.rename('d', 'e')).rejects.toMatchObject({ code: 'EACCES' })
    expect(s3.text('hidden')).toBe('secret of another host')
    expect(s3.text('e/hidden')).toBe('secret of another host')
    expect(await guest.text('f')).toBe('ours')
    expect(await guest.text('d/hidden')).toBe('ours')
  })

  it('leave nothing at the target of a move that fails', async () => {
    await guest.put('f', 'ours')
    s3.personality = {
      refuse: ({ operation }) => (operation === 'copy' ? { status: 404, code: 'NoSuchBucket' } : undefined),
    }
    await expect(guest.rename('f', 'g')).rejects.toMatchObject({ name: 'StorageError' })
    expect(s3.text('f')).toBe('ours')
    expect(s3.objects.has('g')).toBe(false)
  })

  it('publish a large new file after its completion has failed', async () => {
    let isRefused = true
    s3.personality = {
      refuse: ({ operation }) =>
        operation === 'complete upload' && isRefused ? { status: 400, code: 'Busy' } : undefined,
    }
    const file = await guest.create('large')
    const bytes = Buffer.alloc(20 * MIB, 'x')
    await file.write(0, bytes)
    for (let i = 0; i < 3; i++) await expect(file.fsync()).rejects.toMatchObject({ code: 'EIO' })
    isRefused = false
    await file.fsync()
    await file.close()
    expect(s3.objects.get('large')?.bytes.equals(bytes)).toBe(true)
  })

  it('overwrite nothing on a server that refuses conditions too, and say so with EACCES', async () => {
    s3.personality = {
      refuse: ({ headers }) => (headers['if-none-match'] === undefined ? undefined : { status: 501 }),
    }
    s3.put('hidden', 'secret of another host')
    s3.allows = (operation, key) => operation !== 'list' && (operation === 'put' || key !== 'hidden')
    await expect(guest.put('hidden', 'ours')).rejects.toMatchObject({
      code: expect.stringMatching(/^E(ACCES|IO)$/),
    })
    expect(s3.text('hidden')).toBe('secret of another host')
  })

  it('get what a kill has left in the journal', async () => {
    const rig = new CrashRig('s3', new Operator('s3', s3.options), {
      ...settings(),
      attrs: 'sidecar',
      mayList: false,
      writeBack: true,
    })
    const first = await rig.start()
    await first.put('published', 'before')
    const before = first.put('saved', 'only in the journal')
    await rig.freezeAfter(0)
    await before
    await rig.kill()
    const second = await rig.start()
    expect(rig.report?.conflicts).toEqual([])
    expect(s3.text('saved')).toBe('only in the journal')
    expect(await second.text('published')).toBe('before')
    await rig.kill()
    rmSync(rig.folder, { recursive: true, force: true })
  })
})

describe('the right to list that is withdrawn later', () => {
  it('leaves existing objects usable by name, lets new ones be made, and is told once', async () => {
    s3.put('d/theirs', 'by another host')
    s3.put('top', 'above')
    mount()
    expect(await guest.names('')).toEqual(['d', 'top'])
    expect(await guest.text('d/theirs')).toBe('by another host')
    mayNotList()
    expect(await guest.text('d/theirs')).toBe('by another host')
    expect(await guest.text('top')).toBe('above')
    await guest.put('top', 'changed')
    await guest.put('d/new', 'ours')
    await guest.mkdir('made')
    await guest.put('made/f', 'below')
    await expect(guest.names('')).rejects.toMatchObject({ code: 'EACCES' })
    await expect(guest.rmdir('d')).rejects.toMatchObject({ code: 'EACCES' })
    expect(s3.text('d/new')).toBe('ours')
    expect(s3.text('top')).toBe('changed')
    expect(warnings).toEqual([expect.stringContaining('may not list')])
    await fs.close()
    mount({ mayList: false })
    expect(await guest.text('made/f')).toBe('below')
  })

  it('does not make an object vanish that is denied: it stays EACCES', async () => {
    s3.put('known', 'content')
    s3.put('unknown', 'content')
    mount()
    expect(await guest.text('known')).toBe('content')
    s3.allows = () => false
    for (let i = 0; i < 2; i++) {
      await expect(guest.stat('known')).rejects.toMatchObject({ code: 'EACCES' })
      await expect(guest.open('known', O_RDWR)).rejects.toMatchObject({ code: 'EACCES' })
    }
    await expect(guest.put('other', 'x')).rejects.toMatchObject({ code: 'EACCES' })
    s3.allows = () => true
    expect(await guest.text('known')).toBe('content')
    expect(await guest.text('unknown')).toBe('content')
  })
})

it('credentials that are refused altogether are EACCES, also for names that were never seen', async () => {
  s3.put('known', 'content')
  mount()
  expect(await guest.text('known')).toBe('content')
  s3.personality = { refuse: () => ({ status: 403, code: 'InvalidAccessKeyId' }) }
  for (const name of ['known', 'unknown'])
    await expect(guest.stat(name)).rejects.toMatchObject({ code: 'EACCES' })
  await expect(guest.names('')).rejects.toMatchObject({ code: 'EACCES' })
  expect(warnings).toEqual([])
})

it('a denied object in a directory that may be listed is EACCES, whether it was seen or not', async () => {
  s3.put('denied', 'content')
  s3.put('fine', 'content')
  s3.allows = (operation, key) => operation === 'list' || key !== 'denied'
  mount()
  await expect(guest.text('denied')).rejects.toMatchObject({ code: 'EACCES' })
  expect(await guest.text('fine')).toBe('content')
  expect(await guest.exists('absent')).toBe(false)
})

it('a prefix that may not be read at all leaves the rest of the share usable', async () => {
  s3.put('closed/f', 'content')
  s3.put('open/f', 'content')
  s3.allows = (_, key) => !key.startsWith('closed')
  mount()
  expect(await guest.names('')).toEqual(['closed', 'open'])
  expect(await guest.names('open')).toEqual(['f'])
  await expect(guest.names('closed')).rejects.toMatchObject({ code: 'EACCES' })
  await guest.put('open/new', 'x')
  expect(s3.text('open/new')).toBe('x')
})

it('credentials that may only read: writing is EACCES, nothing changes, and one warning says what is missing', async () => {
  s3.put('f', 'content')
  s3.allows = operation => ['list', 'head', 'get'].includes(operation)
  mount()
  expect(await guest.text('f')).toBe('content')
  await expect(guest.put('f', 'changed')).rejects.toMatchObject({ code: 'EACCES' })
  await expect(guest.mkdir('d')).rejects.toMatchObject({ code: 'EACCES' })
  await expect(guest.unlink('f')).rejects.toMatchObject({ code: 'EACCES' })
  await expect(guest.rename('f', 'g')).rejects.toMatchObject({ code: 'EACCES' })
  expect(s3.text('f')).toBe('content')
  await expect(guest.put('g', Buffer.alloc(20 * MIB))).rejects.toMatchObject({ code: 'EACCES' })
  expect([...s3.objects.keys()]).toEqual(['f'])
  expect(warnings).toEqual([
    expect.stringMatching(/the credentials may not write "f".*serve the share read-only/),
  ])
})

it('a large file that may not be written is told by the same warning', async () => {
  s3.allows = operation => ['list', 'head', 'get'].includes(operation)
  mount({ attrs: 'none' })
  await expect(guest.put('g', Buffer.alloc(20 * MIB))).rejects.toMatchObject({ code: 'EACCES' })
  expect(warnings).toEqual([expect.stringContaining('the credentials may not write "g"')])
})

it('one key that is refused without a reason, among others that can be written, is no missing right', async () => {
  mount({ attrs: 'none' })
  await guest.put('f', 'content')
  s3.personality = {
    refuse: ({ operation, key }) => (operation === 'put' && key === 'odd' ? { status: 403 } : undefined),
  }
  await expect(guest.put('odd', 'content')).rejects.toMatchObject({ code: 'EACCES' })
  expect(warnings).toEqual([])
})

it('credentials that may not delete: unlink and rename are EACCES, no bytes are lost, and one warning says so', async () => {
  s3.put('f', 'content')
  s3.allows = operation => operation !== 'delete'
  mount({ attrs: 'none' })
  await guest.put('f', 'changed')
  await expect(guest.unlink('f')).rejects.toMatchObject({ code: 'EACCES' })
  await expect(guest.rename('f', 'g')).rejects.toMatchObject({ code: 'EACCES' })
  expect(await guest.text('f')).toBe('changed')
  expect(s3.text('f')).toBe('changed')
  expect(warnings).toEqual([expect.stringContaining('the credentials may not delete "f"')])
})

it('a sidecar that the service refuses to give leaves the files of its directory usable', async () => {
  mount()
  await guest.put('f', 'content')
  await guest.setattr('f', { mode: 0o600 })
  await fs.close()
  mount()
  s3.personality = {
    refuse: ({ operation, key }) =>
      operation === 'get' && key.endsWith('.ovfs-attributes')
        ? { status: 403, code: 'InvalidObjectState' }
        : undefined,
  }
  expect(await guest.text('f')).toBe('content')
  await guest.put('f', 'changed')
  await expect(
    guest
      .setattr('f', { mode: 0o644 })
      .then(() => guest.open('f', O_RDWR))
      .then(file => file.fsync()),
  ).rejects.toMatchObject({
    code: 'EIO',
  })
  expect(errors).toContainEqual(
    expect.objectContaining({ message: expect.stringContaining('cannot be used') }),
  )
  expect(s3.text('f')).toBe('changed')
  s3.personality = {}
  expect((await guest.stat('f')).size).toBe(7)
})
