import { spawnSync } from 'node:child_process'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { MappedFolder } from '../src/index.ts'
import { temporaryFolder } from './peers.ts'

const PACKAGE = fileURLToPath(new URL('../dist/index.js', import.meta.url))

test('what was stored before a SIGKILL is there for the next process', () => {
  const path = temporaryFolder()
  const program = `
    import { MappedFolder } from ${JSON.stringify(PACKAGE)}
    const { buffer } = new MappedFolder(${JSON.stringify(path)}).create('kept', 8192)
    new Uint8Array(buffer)[8191] = 42
    process.kill(process.pid, 'SIGKILL')
  `
  const { signal } = spawnSync(process.execPath, ['--input-type=module', '--eval', program])
  expect(signal).toBe('SIGKILL')
  const file = new MappedFolder(path).open('kept')!
  expect(file.buffer.byteLength).toBe(8192)
  expect(new Uint8Array(file.buffer)[8191]).toBe(42)
  file.release()
})

test('a new file takes the place of an old one, whose mapping stays what it was', () => {
  const folder = new MappedFolder(temporaryFolder())
  const old = folder.create('file', 4096)
  const bytes = new Uint8Array(old.buffer).fill(1)
  folder.create('file.new', 4096).release()
  folder.rename('file.new', 'file')
  const next = folder.open('file')!
  expect([bytes[0], new Uint8Array(next.buffer)[0]]).toEqual([1, 0])
  next.release()
  old.release()
  folder.remove('file')
  folder.remove('file')
  expect(folder.open('file')).toBeUndefined()
})

test('a file that cannot be one of these is an error', () => {
  const folder = new MappedFolder(temporaryFolder())
  writeFileSync(join(folder.path, 'empty'), '')
  writeFileSync(join(folder.path, 'odd'), 'abc')
  writeFileSync(join(folder.path, 'zeros'), Buffer.alloc(8192))
  for (const name of ['empty', 'odd', 'zeros']) expect(() => folder.open(name), name).toThrow(TypeError)
  expect(() => folder.create('none', 100)).toThrow(RangeError)
})

/** What is left of 8192 bytes and the page behind them, and whether the file is made as long again afterwards. */
const CUTS = [0, 1, 4096, 5000, 8192].flatMap(left => [[left, false] as const, [left, true] as const])

test.each(CUTS)(
  'a file that somebody cuts to %i bytes is lost, also if it grows again: %s',
  (left, grows) => {
    const folder = new MappedFolder(temporaryFolder())
    const file = folder.create('cut', 8192)
    const path = join(folder.path, 'cut')
    const bytes = new Uint8Array(file.buffer).fill(42)
    expect(file.isLost).toBe(false)
    truncateSync(path, left)
    if (grows) truncateSync(path, 8192 + 4096)
    // No signal for the zeros on the page of the new end, nor for a file that is as long again.
    bytes.fill(43, 8000)
    expect(file.isLost).toBe(true)
    expect(() => folder.open('cut')).toThrow(TypeError)
    file.release()
  },
)
