// Names that are stored in another spelling than new ones: as an earlier version escaped them.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { Guest } from './guest.ts'
import { SCHEMES, type Service, service } from './services.ts'

const EARLIER: readonly (readonly [name: string, segment: string])[] = [
  ['end ', '.ovfs-x-end%20'],
  ['.ovfs-own', '.ovfs-x-.ovfs-own'],
]

describe.each(SCHEMES)('on %s', scheme => {
  let storage: Service
  let mounted: OpendalFs[]

  beforeEach(async () => {
    storage = await service(scheme)
    mounted = []
  })
  afterEach(async () => {
    for (const fs of mounted) await fs.close()
    await storage.close()
  })

  const mount = () => {
    const fs = new OpendalFs(storage.operator, { scheme })
    mounted.push(fs)
    return new Guest(fs)
  }
  const keys = async (path = '/') => {
    const listed = await storage.outside.list(path)
    const names = listed.map(entry => entry.path()).filter(key => key !== path && key !== '/')
    return names.filter(key => !key.includes('.ovfs-attributes')).sort()
  }

  it.each(EARLIER)(
    'reads, changes, renames and removes %j, which an earlier version stored',
    async (name, segment) => {
      await storage.outside.write(segment, 'old')
      let guest = mount()
      // By name, before any listing.
      expect(await guest.text(name)).toBe('old')
      expect(await guest.names('/')).toEqual([name])
      await guest.put(name, 'changed')
      expect(await keys()).toEqual([segment])
      await guest.rename(name, `${name}2 `)
      expect(await guest.names('/')).toEqual([`${name}2 `])
      expect(await keys()).toEqual([expect.stringMatching(/^\.ovfs-y-[\w.-]+$/)])
      await guest.fs.close()
      guest = mount()
      expect(await guest.text(`${name}2 `)).toBe('changed')
      await guest.unlink(`${name}2 `)
      expect(await keys()).toEqual([])
    },
  )

  it.each(EARLIER)(
    'renames over %j, which an earlier version stored, and leaves one object',
    async (name, segment) => {
      await storage.outside.write(segment, 'old')
      const guest = mount()
      await guest.put('new', 'new')
      await guest.rename('new', name)
      expect(await guest.names('/')).toEqual([name])
      expect(await guest.text(name)).toBe('new')
      expect(await keys()).toHaveLength(1)
      await guest.fs.close()
      const again = mount()
      expect(await again.text(name)).toBe('new')
      await again.unlink(name)
      expect(await again.exists(name)).toBe(false)
      expect(await keys()).toEqual([])
    },
  )

  it.each(EARLIER)(
    'keeps the mode of the file and the directory %j, which an earlier version stored',
    async (name, segment) => {
      const entries = [
        [segment, { ctime: [1, 0], mode: 0o100600 }],
        ['.ovfs-x-d%20', { ctime: [1, 0], mode: 0o040700 }],
      ]
      const sidecar = JSON.stringify({ format: 'ovfs attributes', version: 1, entries })
      await storage.outside.write(segment, 'old')
      await storage.outside.write('.ovfs-x-d%20/f', 'below')
      await storage.outside.write('.ovfs-attributes', sidecar)
      let guest = mount()
      for (let round = 0; round < 2; round++) {
        expect((await guest.stat(name)).mode).toBe(0o100600)
        expect((await guest.stat('d ')).mode).toBe(0o040700)
        expect(await guest.text('d /f')).toBe('below')
        await guest.put('d /g', 'new')
        await guest.fs.close()
        guest = mount()
      }
      await guest.rename('d ', 'e ')
      expect((await guest.stat('e ')).mode).toBe(0o040700)
      expect(await guest.names('e ')).toEqual(['f', 'g'])
      expect(await guest.names('/')).toEqual([name, 'e '].sort())
    },
  )

  it('shows two objects of one name as two files, the new spelling under the name', async () => {
    await storage.outside.write('.ovfs-x-end%20', 'earlier')
    await storage.outside.write('.ovfs-y-end_20', 'new')
    const guest = mount()
    expect(await guest.text('end ')).toBe('new')
    const other = '.ovfs-k-.ovfs-x-end%2520'
    expect(await guest.names('/')).toEqual([other, 'end '])
    expect(await guest.text(other)).toBe('earlier')
    await guest.unlink('end ')
    expect(await mount().text('end ')).toBe('earlier')
  })

  it('refuses to make what is there in an earlier spelling', async () => {
    await storage.outside.write('.ovfs-x-end%20', 'earlier')
    await storage.outside.write('.ovfs-x-d%20/f', 'earlier')
    const guest = mount()
    await expect(guest.mkdir('end ')).rejects.toMatchObject({ code: 'EEXIST' })
    await expect(guest.mkdir('d ')).rejects.toMatchObject({ code: 'EEXIST' })
    await expect(guest.rmdir('d ')).rejects.toMatchObject({ code: 'ENOTEMPTY' })
    await guest.unlink('d /f')
    await guest.rmdir('d ')
    expect(await guest.names('/')).toEqual(['end '])
  })
})
