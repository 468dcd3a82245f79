// Services that keep files as values of a database, on their real servers: the tables that the command advises to create, what
// it says of others, and what two hosts do to one value.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openStorage, parseStorage, processSources } from '@ovfs/cli'
import { Operator } from '@ovfs/opendal-fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { missingForMariadb, startMariadb } from '../harness/mariadb.ts'
import { missingForMemcached, startMemcached } from '../harness/memcached.ts'
import { missingForPostgresql, startPostgresql } from '../harness/postgresql.ts'
import { missingForService } from '../harness/services.ts'
import { Mounted } from '../model/mounted.ts'

interface Database {
  readonly options: { readonly connection_string: string }
  run(statement: string): void
  stop(): Promise<void>
}

async function sqlite(): Promise<Database> {
  const folder = mkdtempSync(join(tmpdir(), 'ovfs-sqlite-'))
  const file = join(folder, 'database')
  const run = (statement: string) => {
    const { status, stderr } = spawnSync('/usr/bin/sqlite3', [file, statement], { encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
  }
  run('PRAGMA user_version = 1')
  return {
    options: { connection_string: `sqlite://${file}` },
    run,
    stop: async () => rmSync(folder, { recursive: true, force: true }),
  }
}

interface Row {
  readonly scheme: string
  readonly missing: string | undefined
  readonly start: () => Promise<Database>
  /** Puts a statement into the database that the connection string names. */
  readonly into: string
  readonly bad: readonly (readonly [table: string, flaw: RegExp])[]
}

const ROWS: readonly Row[] = [
  {
    scheme: 'sqlite',
    missing: missingForService('sqlite'),
    start: sqlite,
    into: '',
    bad: [['(key TEXT COLLATE NOCASE PRIMARY KEY, value BLOB)', /differ only in case/]],
  },
  {
    scheme: 'postgresql',
    missing: missingForPostgresql(),
    start: startPostgresql,
    into: '',
    bad: [['(key VARCHAR(255) PRIMARY KEY, value BYTEA)', /refuses a name of 300 bytes/]],
  },
  {
    scheme: 'mysql',
    missing: missingForMariadb(),
    start: startMariadb,
    into: 'USE ovfs; ',
    bad: [
      ['(`key` VARCHAR(255) PRIMARY KEY, `value` BLOB)', /refuses a name of 300 bytes/],
      ['(`key` VARCHAR(700) PRIMARY KEY, `value` LONGBLOB)', /differ only in case/],
    ],
  },
]

describe.each(ROWS)('$scheme', ({ scheme, missing, start, into, bad }) => {
  describe.skipIf(missing !== undefined)(missing === undefined ? 'started' : `needs ${missing}`, () => {
    let database: Database

    beforeAll(async () => {
      database = await start()
    }, 60_000)

    afterAll(() => database.stop())

    const open = (table: string) => {
      const uri = `${scheme}://?table=${table}`
      const assignments = [`connection_string=${database.options.connection_string}`]
      return openStorage(parseStorage(uri, assignments, processSources), false, 20_000)
    }

    test('the table that the command advises to create holds every name and every value', async () => {
      const hint = await open('files').then(
        () => undefined,
        error => (error as { hint?: string }).hint,
      )
      const statement = /create it first: (CREATE TABLE .*)$/.exec(hint ?? '')?.[1]
      expect(statement).toBeDefined()
      database.run(into + statement)
      const { operator, warnings } = await open('files')
      expect(warnings).toEqual([])
      const share = await Mounted.mount(operator, { scheme, attrs: 'sidecar' })
      const long = 'n'.repeat(200)
      const files: [string, string][] = [
        ['/Case', 'upper'],
        ['/case', 'lower'],
        ['/large', 'x'.repeat(200_000)],
        [`/${long}`, 'long'],
        ['/end.', 'dot'],
        ['/naïve', 'accent'],
        ['/naive', 'plain'],
      ]
      for (const [path, content] of files) {
        const file = await share.create(path, 0o644)
        await share.client.write(file.node, file.fh, 0, Buffer.from(content))
        await file.close()
      }
      await share.client.mkdir(1, long.toUpperCase(), 0o755)
      await share.unmount()
      const again = await Mounted.mount(operator, { scheme, attrs: 'sidecar' })
      const seen = await again.everything(false)
      for (const [path, content] of files)
        expect(seen.find(file => `/${file.path}` === path)?.content).toBe(content)
      expect(seen).toHaveLength(files.length + 1)
      await again.unmount()
    })

    test.each(bad)('the start warns of a table %s', async (columns, flaw) => {
      const table = `bad${bad.findIndex(([other]) => other === columns)}`
      database.run(`${into}CREATE TABLE ${table} ${columns}`)
      const { warnings } = await open(table)
      expect(warnings.join('\n')).toMatch(flaw)
    })
  })
})

describe.skipIf(missingForMemcached() !== undefined)('memcached', () => {
  test('a value that another host shortens gives ESTALE or the new bytes, and the binding does not panic', async () => {
    const server = await startMemcached()
    const make = () => new Operator('memcached', { ...server.options })
    const outside = make()
    await outside.write('f', 'x'.repeat(10_000))
    const share = await Mounted.mount(make(), { scheme: 'memcached', attrTtlMs: 60_000, entryTtlMs: 60_000 })
    const file = await share.create('/f', 0o644)
    await outside.write('f', 'short')
    const outcome = await share.client.read(file.node, file.fh, 8_192, 4_096).then(
      bytes => bytes.byteLength,
      error => (error as { code?: string }).code,
    )
    expect(['ESTALE', 0]).toContain(outcome)
    await share.unmount()
    await server.stop()
  })
})
