// Each server of the tests, reached through OpenDAL.

import { Operator } from '@ovfs/opendal-fs'
import { describe, expect, test } from 'vitest'
import { missingForAzurite, startAzurite } from './azurite.ts'
import { missingForGcs, startGcs } from './gcs.ts'
import { missingForMariadb, startMariadb } from './mariadb.ts'
import { missingForMemcached, startMemcached } from './memcached.ts'
import { missingForMoto, startMoto } from './moto.ts'
import { missingForNginx, startNginx } from './nginx.ts'
import { missingForPostgresql, startPostgresql } from './postgresql.ts'
import { missingForRclone, startRclone } from './rclone.ts'
import { missingForVersitygw, startVersitygw } from './versitygw.ts'

interface Server {
  readonly options: object
  stop(): Promise<void>
}

const TABLE = { table: 'files', key_field: 'name', value_field: 'content' }

const SERVERS: readonly [name: string, scheme: string, missing: string | undefined, () => Promise<Server>][] =
  [
    ['versitygw', 's3', missingForVersitygw(), startVersitygw],
    ['moto', 's3', missingForMoto(), startMoto],
    [
      'azurite with a key',
      'azblob',
      missingForAzurite(),
      async () => {
        const { options, key, stop } = await startAzurite()
        return { options: { ...options, ...key }, stop }
      },
    ],
    [
      'azurite with a shared access signature',
      'azblob',
      missingForAzurite(),
      async () => {
        const { options, sas, stop } = await startAzurite()
        return { options: { ...options, ...sas }, stop }
      },
    ],
    ['fake-gcs-server', 'gcs', missingForGcs(), startGcs],
    ['nginx', 'webdav', missingForNginx(), startNginx],
    ['rclone', 'webdav', missingForRclone(), startRclone],
    [
      'PostgreSQL',
      'postgresql',
      missingForPostgresql(),
      async () => {
        const { options, run, stop } = await startPostgresql()
        run('CREATE TABLE files (name TEXT PRIMARY KEY, content BYTEA)')
        return { options: { ...options, ...TABLE }, stop }
      },
    ],
    [
      'MariaDB',
      'mysql',
      missingForMariadb(),
      async () => {
        const { options, run, stop } = await startMariadb()
        run('CREATE TABLE ovfs.files (name VARBINARY(3000) PRIMARY KEY, content LONGBLOB)')
        return { options: { ...options, ...TABLE }, stop }
      },
    ],
    ['memcached', 'memcached', missingForMemcached(), startMemcached],
  ]

for (const [name, scheme, missing, start] of SERVERS) {
  describe.skipIf(missing !== undefined)(
    `${name}${missing === undefined ? '' : `: needs ${missing}`}`,
    () => {
      test('keeps what OpenDAL writes', async () => {
        const server = await start()
        try {
          const operator = new Operator(scheme, {
            ...(server.options as Record<string, string>),
            root: '/share/',
          })
          await operator.write('folder/file', 'content')
          expect((await operator.read('folder/file')).toString()).toBe('content')
          expect((await operator.stat('folder/file')).contentLength).toBe(7n)
          await operator.delete('folder/file')
          expect(await operator.exists('folder/file')).toBe(false)
        } finally {
          await server.stop()
        }
      })
    },
  )
}
