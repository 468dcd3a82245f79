// A share in a MySQL table with the columns that ovfs advises, with the build of OpenDAL's binding that this process loads.

import { OpendalFs, Operator } from '@ovfs/opendal-fs'
import { expect, test } from 'vitest'
import { Guest } from '../../packages/opendal-fs/test/guest.ts'
import { missingForMariadb, startMariadb } from '../harness/mariadb.ts'

const missing = missingForMariadb()

test.skipIf(missing !== undefined)(
  `directories of a MySQL table with VARBINARY names are found, moved and removed${missing === undefined ? '' : `: needs ${missing}`}`,
  async () => {
    const server = await startMariadb()
    try {
      server.run('CREATE TABLE ovfs.files (name VARBINARY(3000) PRIMARY KEY, content LONGBLOB)')
      const options = { ...server.options, table: 'files', key_field: 'name', value_field: 'content' }
      const mount = () => new Guest(new OpendalFs(new Operator('mysql', options), { scheme: 'mysql' }))
      const guest = mount()
      await guest.mkdir('d')
      await guest.put('d/file', 'bytes')
      await guest.mkdir('D')
      await guest.rename('d', 'e')
      const other = mount()
      expect((await other.names('')).sort()).toEqual(['D', 'e'])
      expect(await other.text('e/file')).toBe('bytes')
      await other.unlink('e/file')
      await other.rmdir('e')
      expect(await mount().names('')).toEqual(['D'])
    } finally {
      await server.stop()
    }
  },
  60_000,
)
