// The limits of a share hold for a session that goes on in another process.

import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { empty } from './crash-rig.ts'
import { File, O_RDWR } from './guest.ts'
import { type Service, service } from './services.ts'
import { SessionRig } from './session-rig.ts'

let storage: Service
let rig: SessionRig

beforeAll(async () => {
  storage = await service('fs')
})
afterAll(() => storage.close())
beforeEach(() => {
  rig = new SessionRig('fs', storage.operator, { maxBytes: 10, maxFiles: 2 })
})
afterEach(async () => {
  await rig.close()
  rig.remove()
  await empty(storage.outside)
})

it('counts what an earlier process has not published', async () => {
  let guest = await rig.start()
  await guest.put('old', '12')
  const old = await guest.open('old', O_RDWR)
  await old.write(2, '345')
  const { node, fh } = await guest.create('new')
  await new File(rig.fs, node, fh, 0).write(0, 'abc')
  guest = await rig.restart()
  const file = new File(rig.fs, node, fh, 0)
  await expect(file.write(3, 'def')).rejects.toMatchObject({ code: 'EDQUOT' })
  await expect(guest.create('third')).rejects.toMatchObject({ code: 'EDQUOT' })
  await file.write(3, 'de')
  await file.close()
  await new File(rig.fs, old.node, old.fh, 0).close()
  await guest.unlink('old')
  await guest.put('third', '12345')
  await expect(guest.put('third', '123456')).rejects.toMatchObject({ code: 'EDQUOT' })
})
