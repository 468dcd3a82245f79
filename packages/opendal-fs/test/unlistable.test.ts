import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Operator } from 'opendal'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { Guest } from './guest.ts'

// redb stands for the key-value services: no directories, no listing.
let folder: string
let operator: Operator

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ovfs-test-'))
  operator = new Operator('redb', { datadir: join(folder, 'db'), table: 'files' })
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const mount = () => new Guest(new OpendalFs(operator, { scheme: 'redb' }))

it('finds directories and files again by name', async () => {
  const guest = mount()
  await guest.mkdir('d')
  await guest.mkdir('d/e')
  await guest.put('d/e/f', 'content')
  await guest.rename('d/e/f', 'd/g')
  await guest.fs.close()
  const again = mount()
  expect(await again.text('d/g')).toBe('content')
  expect(await again.exists('d/e')).toBe(true)
  expect(await again.exists('d/e/f')).toBe(false)
})

it('refuses what it could only answer in part', async () => {
  const guest = mount()
  await guest.mkdir('d')
  await guest.put('d/f', 'x')
  await expect(guest.names('d')).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
  await expect(guest.rmdir('d')).rejects.toMatchObject({
    code: expect.stringMatching('ENOTEMPTY|EOPNOTSUPP'),
  })
  await expect(guest.rename('d', 'e')).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
  expect(await guest.text('d/f')).toBe('x')
})
