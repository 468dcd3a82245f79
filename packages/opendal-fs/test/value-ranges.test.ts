// Services whose binding fetches a value whole and cuts the asked range out of it: another host may have made it shorter.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Operator } from '../src/storage/binding.ts'
import { Storage } from '../src/storage/storage.ts'

const SERVICES: readonly [scheme: string, options: (dir: string) => Record<string, string>][] = [
  ['memory', () => ({})],
  ['dashmap', () => ({})],
  ['moka', () => ({})],
  ['redb', dir => ({ datadir: join(dir, 'db'), table: 'files' })],
  ['sled', dir => ({ datadir: join(dir, 'db') })],
  ['persy', dir => ({ datafile: join(dir, 'db'), segment: 'files', index: 'files' })],
  ['cacache', dir => ({ datadir: join(dir, 'db') })],
]

describe.each(SERVICES)('on %s', (scheme, options) => {
  it('a read beyond the end of a value that became shorter is a lost version, not a panic', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'ovfs-test-'))
    try {
      const operator = new Operator(scheme, options(dir))
      const storage = new Storage(operator, {
        scheme,
        timeoutMs: 5_000,
        readOnly: false,
        onError: () => undefined,
      })
      await operator.write('f', '0123456789')
      expect(String(Buffer.from(await storage.read('f', 2, 3)))).toBe('234')
      await operator.write('f', '012')
      for (const [offset, length] of [
        [0, 10],
        [2, 3],
        [5, 2],
      ] as const) {
        const failure = await storage.read('f', offset, length).catch(error => error)
        expect(failure).toMatchObject({ kind: 'RangeNotSatisfied', code: 'ESTALE' })
        expect(failure.cause?.message ?? failure.message).not.toContain('Panic')
      }
      expect(String(Buffer.from(await storage.read('f', 1, 2)))).toBe('12')
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })
})
