// The journal: what was acknowledged is there again, whatever the end of the log looks like.

import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Journal } from '../src/journal/journal.ts'
import { encodeHeader, encodeRecord } from '../src/journal/journal-record.ts'
import { StateError } from '../src/journal/state-error.ts'
import { fileHandlePrototype } from './file-handles.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ovfs-journal-'))
})

afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

const logs = () => readdirSync(folder).filter(name => name.startsWith('journal-'))
const log = () => join(folder, logs()[0]!)

async function reopened(): Promise<Record<string, unknown>> {
  const journal = await Journal.open(folder)
  const entries = Object.fromEntries(journal.entries)
  await journal.close()
  return entries
}

describe('the journal', () => {
  test('gives back what was committed and not removed', async () => {
    const journal = await Journal.open(folder)
    await journal.commit([
      { key: 'a', value: { n: 1 } },
      { key: 'b', value: [2] },
    ])
    await journal.commit([{ key: 'a' }, { key: 'c', value: '\ud800 é' }])
    await journal.close()
    expect(await reopened()).toEqual({ b: [2], c: '\ud800 é' })
  })

  test('keeps the order of commits that were not waited for', async () => {
    const journal = await Journal.open(folder)
    await Promise.all(Array.from({ length: 100 }, (_, i) => journal.commit([{ key: 'k', value: i }])))
    await journal.close()
    expect(await reopened()).toEqual({ k: 99 })
  })

  test('shares a sync among the commits that wait together', async () => {
    const journal = await Journal.open(folder)
    const { FileHandle } = await fileHandlePrototype()
    const { datasync } = FileHandle
    let syncs = 0
    FileHandle.datasync = function (this: unknown) {
      syncs++
      return datasync.call(this)
    }
    try {
      await Promise.all(Array.from({ length: 100 }, (_, i) => journal.commit([{ key: `${i}`, value: i }])))
    } finally {
      FileHandle.datasync = datasync
    }
    await journal.close()
    expect(syncs).toBe(1)
  })

  test('takes what is concluded though the disk does not, and writes it with the next commit', async () => {
    const journal = await Journal.open(folder)
    await journal.commit([{ key: 'a', value: 1 }])
    const { FileHandle } = await fileHandlePrototype()
    const { datasync } = FileHandle
    FileHandle.datasync = async () => {
      throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
    }
    try {
      const [concluded, committed] = await Promise.allSettled([
        journal.conclude([{ key: 'a' }, { key: 'b', value: 2 }]),
        journal.commit([{ key: 'c', value: 3 }]),
      ])
      expect(concluded).toMatchObject({ status: 'fulfilled', value: { code: 'ENOSPC' } })
      expect(committed).toMatchObject({ status: 'rejected', reason: { code: 'ENOSPC' } })
    } finally {
      FileHandle.datasync = datasync
    }
    expect(Object.fromEntries(journal.entries)).toEqual({ b: 2 })
    await journal.commit([{ key: 'd', value: 4 }])
    await journal.close()
    expect(await reopened()).toEqual({ b: 2, d: 4 })
  })

  test('needs no room to say that nothing is left', async () => {
    const journal = await Journal.open(folder)
    await journal.commit([{ key: 'a', value: 1 }])
    await journal.commit([{ key: 'b', value: 2 }])
    const { FileHandle } = await fileHandlePrototype()
    const { write } = FileHandle
    FileHandle.write = async () => {
      throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
    }
    try {
      expect(await journal.conclude([{ key: 'a' }])).toMatchObject({ code: 'ENOSPC' })
      expect(journal.behind).toBe(true)
      expect(await journal.conclude([{ key: 'b' }])).toBeUndefined()
      expect(journal.behind).toBe(false)
      expect(await reopened()).toEqual({})
    } finally {
      FileHandle.write = write
    }
    await journal.commit([{ key: 'c', value: 3 }])
    await journal.close()
    expect(await reopened()).toEqual({ c: 3 })
  })

  test('refuses commits once it is closed', async () => {
    const journal = await Journal.open(folder)
    await journal.close()
    await expect(journal.commit([{ key: 'a', value: 1 }])).rejects.toThrow(StateError)
  })

  test('is written anew when it has grown far beyond its entries, and nothing is lost by that', async () => {
    const journal = await Journal.open(folder, { compactAbove: 1000 })
    for (let i = 0; i < 300; i++) await journal.commit([{ key: `k${i % 3}`, value: i }])
    expect(journal.size).toBeLessThan(1200)
    await journal.close()
    expect(logs()).toHaveLength(1)
    expect(await reopened()).toEqual({ k0: 297, k1: 298, k2: 299 })
  })

  test('reads the newest log where a kill left two', async () => {
    const journal = await Journal.open(folder)
    await journal.commit([{ key: 'a', value: 'new' }])
    await journal.close()
    const old = Buffer.concat([encodeHeader(), encodeRecord([{ key: 'a', value: 'old' }])])
    writeFileSync(join(folder, 'journal-00000000'), old)
    writeFileSync(join(folder, 'journal-00000009.new'), 'half')
    expect(await reopened()).toEqual({ a: 'new' })
    expect(logs()).toEqual(['journal-00000001', 'journal-00000009.new'])
  })

  test('is not opened if it is of another version or of something else, and is left as it is', async () => {
    writeFileSync(join(folder, 'journal-00000007'), 'ovfs journal 2\n\0 and more')
    await expect(Journal.open(folder)).rejects.toMatchObject({ reason: 'FOREIGN' })
    expect(readFileSync(log(), 'utf8')).toBe('ovfs journal 2\n\0 and more')
  })
})

describe('a damaged end of the journal', () => {
  async function written(): Promise<{ good: number; size: number }> {
    const journal = await Journal.open(folder)
    await journal.commit([{ key: 'kept', value: 'acknowledged' }])
    const good = journal.size
    await journal.commit([{ key: 'last', value: { of: 'the records' } }])
    const { size } = journal
    await journal.close()
    return { good, size }
  }

  test('is cut wherever the last record was torn off, and the journal goes on from there', async () => {
    const { good, size } = await written()
    const whole = readFileSync(log())
    for (let end = good; end < size; end++) {
      writeFileSync(log(), whole.subarray(0, end))
      const journal = await Journal.open(folder)
      expect(journal.cut).toBe(end - good)
      expect(Object.fromEntries(journal.entries)).toEqual({ kept: 'acknowledged' })
      await journal.commit([{ key: 'next', value: end }])
      await journal.close()
      expect(await reopened()).toEqual({ kept: 'acknowledged', next: end })
    }
  })

  test('is cut whichever byte of the last record is another one', async () => {
    const { good, size } = await written()
    const whole = readFileSync(log())
    for (let at = good; at < size; at++) {
      const damaged = Buffer.from(whole)
      damaged[at] = damaged[at]! ^ 0x41
      writeFileSync(log(), damaged)
      const journal = await Journal.open(folder)
      expect(journal.cut).toBe(size - good)
      expect(Object.fromEntries(journal.entries)).toEqual({ kept: 'acknowledged' })
      await journal.close()
    }
  })

  test('is cut if a file system has left zeros there', async () => {
    const { size } = await written()
    truncateSync(log(), size + 4096)
    const journal = await Journal.open(folder)
    expect(journal.cut).toBe(4096)
    expect(journal.entries.size).toBe(2)
    await journal.close()
  })

  test('is never more than what follows the last whole record, whatever stands there', async () => {
    await written()
    const whole = readFileSync(log())
    const copy = join(folder, 'copy')
    copyFileSync(log(), copy)
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 64 }), async noise => {
        writeFileSync(log(), Buffer.concat([whole, noise]))
        const journal = await Journal.open(folder)
        expect(journal.cut).toBe(noise.byteLength)
        expect(journal.entries.size).toBe(2)
        await journal.close()
      }),
      { numRuns: 200 },
    )
  })
})

describe('a journal that cannot be written', () => {
  test('tells ENOSPC, forgets what it refused, and works again when there is room', async () => {
    const journal = await Journal.open(folder)
    await journal.commit([{ key: 'a', value: 1 }])
    const { FileHandle } = await fileHandlePrototype()
    const { write } = FileHandle
    FileHandle.write = async function (
      this: unknown,
      bytes: Uint8Array,
      offset: number,
      length: number,
      at: number,
    ) {
      // Half of it, as a disk does that gets full.
      await write.call(this, bytes, offset, Math.floor(length / 2), at)
      throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
    }
    try {
      await expect(journal.commit([{ key: 'b', value: 2 }])).rejects.toMatchObject({ code: 'ENOSPC' })
      await expect(journal.commit([{ key: 'c', value: 3 }])).rejects.toMatchObject({ code: 'ENOSPC' })
    } finally {
      FileHandle.write = write
    }
    await journal.commit([{ key: 'd', value: 4 }])
    expect(Object.fromEntries(journal.entries)).toEqual({ a: 1, d: 4 })
    await journal.close()
    expect(await reopened()).toEqual({ a: 1, d: 4 })
  })

  test('is not trusted after a sync that failed: the entries go to a new log', async () => {
    const journal = await Journal.open(folder)
    await journal.commit([{ key: 'a', value: 1 }])
    const before = logs()
    const { FileHandle } = await fileHandlePrototype()
    const { datasync } = FileHandle
    FileHandle.datasync = async () => {
      throw Object.assign(new Error('i/o error'), { code: 'EIO' })
    }
    try {
      await expect(journal.commit([{ key: 'b', value: 2 }])).rejects.toMatchObject({ code: 'EIO' })
    } finally {
      FileHandle.datasync = datasync
    }
    await journal.commit([{ key: 'c', value: 3 }])
    await journal.close()
    expect(logs()).not.toEqual(before)
    expect(await reopened()).toEqual({ a: 1, c: 3 })
  })
})
