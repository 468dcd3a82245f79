// What other tests rely on in each storage service that the harness starts.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { missingForService, SCHEMES, type Service, startService } from './services.ts'

describe.each(SCHEMES)('%s', scheme => {
  const lacks = missingForService(scheme)
  describe.skipIf(lacks !== undefined)(lacks === undefined ? 'started' : `needs ${lacks}`, () => {
    let service: Service

    beforeAll(async () => {
      service = await startService(scheme)
    })

    afterAll(() => service.stop())

    test('what is written is read, from outside too, and other storages stay empty', async () => {
      const { operator, outside } = await service.empty()
      const other = await service.empty()
      await operator.write('folder/a name', 'content')
      expect(String(await outside.read('folder/a name'))).toBe('content')
      expect(await other.operator.exists('folder/a name')).toBe(false)
      if (operator.capability().list) {
        const names = (await outside.list('folder/')).map(entry => entry.path())
        expect(names).toContain('folder/a name')
      }
    })
  })
})
