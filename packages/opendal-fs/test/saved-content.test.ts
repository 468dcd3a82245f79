import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { BlockCache } from '../src/files/block-cache.ts'
import { SavedSource, saveContent } from '../src/journal/saved-content.ts'
import { keepContent } from '../src/journal/stored-bytes.ts'
import { DirtyFile } from '../src/writes/dirty-file.ts'
import { StagingBudget } from '../src/writes/staging-budget.ts'
import { requestData } from './guest.ts'

const SMALL = 16 << 10
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ovfs-test-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

async function dirty(size: number): Promise<DirtyFile> {
  const file = new DirtyFile(new BlockCache(0), new StagingBudget(1 << 20), undefined, { sec: 0, nsec: 0 })
  await file.write(0, requestData(new Uint8Array(size).fill(7)))
  return file
}

it.each([
  ['small and there is room', SMALL, SMALL, true],
  ['larger', SMALL + 1, 1 << 20, false],
  ['small, but there is no room', SMALL, SMALL - 1, false],
])('goes into the journal if it is small and there is room: %s', async (_, size, room, isInJournal) => {
  const content = await saveContent(await dirty(size), folder, room)
  expect(content.name === null).toBe(isInJournal)
  expect(readdirSync(folder)).toHaveLength(isInJournal ? 0 : 1)
})

it.each([
  ['in the journal', 1 << 20],
  ['in a file', 0],
])('is read and kept with its holes, %s', async (_, room) => {
  const file = await dirty(100)
  await file.write(50_000, requestData(new Uint8Array(10).fill(8)))
  file.truncate(60_000)
  const wanted = new Uint8Array(60_000).fill(7, 0, 100).fill(8, 50_000, 50_010)
  const content = await saveContent(file, folder, room)
  const source = new SavedSource(content, folder, async () => new Uint8Array(0))
  const parts: Uint8Array[] = []
  // Two ends of one piece in different parts.
  for await (const part of source.parts(content.size, 50_005)) parts.push(part)
  expect(Buffer.compare(Buffer.concat(parts), wanted)).toBe(0)
  await keepContent(content, folder, join(folder, 'kept'))
  expect(Buffer.compare(readFileSync(join(folder, 'kept')), wanted)).toBe(0)
})
