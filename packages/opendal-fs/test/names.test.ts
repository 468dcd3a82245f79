import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { Guest } from './guest.ts'
import { type Service, service } from './services.ts'

describe.each(['memory', 's3'] as const)('names that others have made, on %s', scheme => {
  // The test's S3 server keeps objects in a folder, which cannot hold such names.
  const itWithoutFolder = (name: string, test: () => Promise<void>) => scheme === 'memory' && it(name, test)

  let storage: Service
  let fs: OpendalFs
  let guest: Guest

  beforeEach(async () => {
    storage = await service(scheme)
    fs = new OpendalFs(storage.operator, { scheme })
    guest = new Guest(fs)
  })
  afterEach(async () => {
    await fs.close()
    await storage.close()
  })

  itWithoutFolder('shows a file and a directory of the same name, both with what is in them', async () => {
    await storage.outside.write('d', Buffer.from('a file'))
    await storage.outside.write('d/f', Buffer.from('below'))
    const twin = '.ovfs-k-d%2F'
    expect(await guest.names('/')).toEqual([twin, 'd'])
    expect(await guest.text('d')).toBe('a file')
    expect(await guest.text(`${twin}/f`)).toBe('below')
    await guest.put(`${twin}/g`, 'new')
    await guest.setattr(twin, { mode: 0o700 })
    expect((await storage.outside.read('d/g')).toString()).toBe('new')
    expect((await guest.stat(twin)).mode).toBe(0o040700)
    expect((await guest.stat('d')).mode).toBe(0o100644)
    await guest.rename(twin, 'e')
    expect(await guest.names('/')).toEqual(['d', 'e'])
    expect(await guest.names('e')).toEqual(['f', 'g'])
  })

  it('finds the directory by its own name once the file of that name is gone', async () => {
    await storage.outside.write('d/f', Buffer.from('below'))
    expect(await guest.exists('.ovfs-k-d%2F')).toBe(false)
    expect(await guest.text('d/f')).toBe('below')
  })

  it('shows and opens objects whose names are like our own and no name could have made', async () => {
    await storage.outside.write('.ovfs-x-plain', Buffer.from('theirs'))
    await storage.outside.write('.ovfs-other', Buffer.from('too'))
    expect(await guest.names('/')).toEqual(['.ovfs-k-.ovfs-other', '.ovfs-k-.ovfs-x-plain'])
    expect(await guest.text('.ovfs-k-.ovfs-x-plain')).toBe('theirs')
    await guest.put('.ovfs-k-.ovfs-other', 'changed')
    expect((await storage.outside.read('.ovfs-other')).toString()).toBe('changed')
    await guest.unlink('.ovfs-k-.ovfs-other')
    expect(await storage.outside.exists('.ovfs-other')).toBe(false)
  })

  it('gives a guest names like those that are shown for others', async () => {
    await guest.put('.ovfs-k-mine', 'x')
    await guest.mkdir('.ovfs-k-d%2F')
    await fs.close()
    fs = new OpendalFs(storage.operator, { scheme })
    guest = new Guest(fs)
    expect(await guest.names('/')).toEqual(['.ovfs-k-d%2F', '.ovfs-k-mine'])
    expect(await guest.text('.ovfs-k-mine')).toBe('x')
  })

  itWithoutFolder(
    'shows and opens objects whose names are too long for Linux, once they were listed',
    async () => {
      const long = 'n'.repeat(400)
      await storage.outside.write(long, Buffer.from('content'))
      const [name] = await guest.names('/')
      expect(name!.length).toBeLessThanOrEqual(255)
      expect(await guest.text(name!)).toBe('content')
      expect((await guest.stat(name!)).size).toBe(7)
    },
  )

  itWithoutFolder(
    'shows what OpenDAL cannot reach, and says EIO of it instead of opening something else',
    async () => {
      await storage.outside.write('d/../secret', Buffer.from('x'))
      const listed = await guest.names('d')
      expect(listed).toEqual(['.ovfs-k-%2E.'])
      await expect(guest.text('d/.ovfs-k-%2E.')).rejects.toMatchObject({ code: 'EIO' })
    },
  )
})

describe('names that are longer in the storage than the storage allows, in a folder', () => {
  it.each([
    ['a backslash', '\\'.repeat(100)],
    ['bytes that are not UTF-8', '\udc80'.repeat(100)],
    ['white space at the end', `${'n'.repeat(254)} `],
  ])('are ENAMETOOLONG, and so is looking for them: %s', async (_, name) => {
    const storage = await service('fs')
    const guest = new Guest(new OpendalFs(storage.operator, { scheme: 'fs' }))
    await expect(guest.create(name)).rejects.toMatchObject({ code: 'ENAMETOOLONG' })
    await expect(guest.mkdir(name)).rejects.toMatchObject({ code: 'ENAMETOOLONG' })
    await expect(guest.stat(name)).rejects.toMatchObject({ code: 'ENAMETOOLONG' })
    await guest.put('f', 'x')
    await expect(guest.rename('f', name)).rejects.toMatchObject({ code: 'ENAMETOOLONG' })
    expect(await guest.names('/')).toEqual(['f'])
    await guest.fs.close()
    await storage.close()
  })
})
