// SQLite, which takes a directory for found if any key matches its name without case, and with `_` and `%` as wildcards.

import { afterEach, beforeEach, expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { isLookAlike } from '../src/names/directory-index.ts'
import { Guest } from './guest.ts'
import { keyValueService } from './key-value-services.ts'
import type { Service } from './services.ts'

let storage: Service
let mounted: OpendalFs[]

beforeEach(async () => {
  storage = await keyValueService('sqlite')
  mounted = []
})
afterEach(async () => {
  for (const fs of mounted) await fs.close()
  await storage.close()
})

const mount = (attrs: 'sidecar' | 'none' = 'sidecar') => {
  const fs = new OpendalFs(storage.operator, { scheme: 'sqlite', attrs })
  mounted.push(fs)
  return new Guest(fs)
}

/** A new file system after the guest has gone. */
async function restarted(guest: Guest): Promise<Guest> {
  await guest.fs.close()
  return mount()
}

it.each([
  ['my-pkg', 'my_pkg'],
  ['Docs', 'docs'],
  ['abc', 'a%'],
])('makes the directory %s and then %s, and both are there after a restart', async (first, second) => {
  let guest = mount()
  for (const name of [first, second]) {
    await guest.mkdir(name)
    await guest.put(`${name}/f`, name)
    await guest.mkdir(`${name}/sub`)
  }
  guest = await restarted(guest)
  expect(await guest.names('/')).toEqual([first, second].sort())
  for (const name of [first, second]) {
    expect(await guest.text(`${name}/f`)).toBe(name)
    expect(await guest.names(name)).toEqual(['f', 'sub'])
  }
})

it('does not find a directory under a name that only looks alike', async () => {
  let guest = mount()
  await guest.mkdir('Docs')
  await guest.mkdir('Docs/Sub')
  for (let round = 0; round < 2; round++) {
    expect(await guest.exists('docs')).toBe(false)
    expect(await guest.exists('D_cs')).toBe(false)
    expect(await guest.exists('Docs/sub')).toBe(false)
    guest = await restarted(guest)
  }
})

it('removes and renames a directory beside one that looks alike, which stays', async () => {
  let guest = mount()
  await guest.mkdir('Docs')
  await guest.put('Docs/f', 'stays')
  await guest.mkdir('docs')
  await guest.rmdir('docs')
  expect(await guest.exists('docs')).toBe(false)
  await guest.mkdir('other')
  await guest.put('other/g', 'moved')
  await guest.rename('other', 'docs')
  guest = await restarted(guest)
  expect(await guest.names('/')).toEqual(['Docs', 'docs'])
  expect(await guest.text('Docs/f')).toBe('stays')
  expect(await guest.text('docs/g')).toBe('moved')
})

it('makes a file beside a directory that looks alike', async () => {
  let guest = mount()
  await guest.mkdir('Docs')
  await guest.put('docs', 'a file')
  await guest.put('x', 'renamed')
  await guest.rename('x', 'DOCS')
  guest = await restarted(guest)
  expect(await guest.names('/')).toEqual(['DOCS', 'Docs', 'docs'])
  expect(await guest.text('docs')).toBe('a file')
  expect(await guest.text('DOCS')).toBe('renamed')
})

it('finds the directories that an earlier version made without a marker, beside new ones that look alike', async () => {
  const { outside } = storage
  let guest = mount()
  await guest.put('f', 'x')
  await guest.mkdir('Old')
  await guest.put('Old/g', 'y')
  await guest.fs.close()
  // As it was stored before: a row for the directory, and none for a marker.
  await outside.createDir('Old/')
  await outside.delete('Old/.ovfs-dir')
  guest = mount()
  expect(await guest.names('/')).toEqual(['Old', 'f'])
  await guest.mkdir('old')
  guest = await restarted(guest)
  expect(await guest.names('/')).toEqual(['Old', 'f', 'old'])
  expect(await guest.text('Old/g')).toBe('y')
  await guest.unlink('Old/g')
  await guest.rmdir('Old')
  guest = await restarted(guest)
  expect(await guest.names('/')).toEqual(['f', 'old'])
})

it('reaches rows of other programs by name, in directories that nobody made', async () => {
  await storage.outside.write('theirs/deep/f', 'foreign')
  for (const attrs of ['sidecar', 'none'] as const) {
    const guest = mount(attrs)
    expect(await guest.text('theirs/deep/f')).toBe('foreign')
    if (attrs === 'sidecar') await guest.put('mine', 'x')
    expect(await guest.text('theirs/deep/f')).toBe('foreign')
  }
})

it('takes a name for a look-alike exactly as LIKE does', () => {
  expect(isLookAlike('a_c', 'aXc')).toBe(true)
  expect(isLookAlike('a_c', 'ac')).toBe(false)
  expect(isLookAlike('a%', 'abc')).toBe(true)
  expect(isLookAlike('DOCS', 'docs')).toBe(true)
  expect(isLookAlike('a.c', 'abc')).toBe(false)
  expect(isLookAlike('a(b)[c]', 'A(B)[C]')).toBe(true)
})
