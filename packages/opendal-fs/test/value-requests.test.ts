// How many requests a new file takes where every look fetches a whole value: memcached takes some 100 ms for each, since the
// binding sends it in two pieces without TCP_NODELAY.

import { expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { Faults, faulty } from './faulty-operator.ts'
import { Guest } from './guest.ts'
import { keyValueService } from './key-value-services.ts'

it('a new file takes six looks and two writes besides those of the index on a timer, however many there are', async () => {
  const storage = await keyValueService('redb')
  const faults = new Faults()
  faults.sidecars = true
  const ttl = { entryTtlMs: 60_000, attrTtlMs: 60_000, negativeTtlMs: 60_000 }
  const fs = new OpendalFs(faulty(storage.operator, faults), { scheme: 'redb', ...ttl })
  const guest = new Guest(fs)
  await guest.mkdir('d')
  await guest.put('d/first', 'x')
  const files = 30
  faults.calls.length = 0
  for (let i = 0; i < files; i++) await guest.put(`d/f${i}`, 'x')
  const looks = faults.count('stat') + faults.count('exists') + faults.count('read')
  expect(looks).toBeLessThanOrEqual(6 * files)
  // One more index write for each second that this takes.
  expect(faults.calls.filter(call => call === 'write d/.ovfs-attributes').length).toBeGreaterThanOrEqual(
    files,
  )
  expect(faults.calls.filter(call => /^write d\/f/.test(call))).toHaveLength(files)
  await fs.close()
  await storage.close()
})
