// Extended attributes on each service, and what the storage itself says of a file in their form.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { ctx, Guest } from './guest.ts'
import { keyValueService } from './key-value-services.ts'
import { SCHEMES, type Service, service } from './services.ts'

describe.each([...SCHEMES, 'sqlite', 'redis'] as const)('on %s', scheme => {
  let storage: Service
  let guest: Guest

  const mount = () => new Guest(new OpendalFs(storage.operator, { scheme }))
  const remount = async () => {
    await guest.fs.close()
    guest = mount()
  }
  beforeEach(async () => {
    const keyValue = scheme === 'sqlite' || scheme === 'redis'
    storage = await (keyValue ? keyValueService(scheme) : service(scheme))
    guest = mount()
  })
  afterEach(async () => {
    await guest.fs.close()
    await storage.close()
  })

  it('keeps extended attributes of three kinds, binary and empty ones too', async () => {
    await guest.put('f', 'x')
    const binary = Uint8Array.from({ length: 300 }, (_, i) => i)
    await guest.setxattr('f', 'user.binary', binary)
    await guest.setxattr('f', 'trusted.empty', '')
    await guest.setxattr('f', 'security.x', 'y')
    await guest.setxattr('/', 'user.root', 'r')
    await remount()
    expect(await guest.fs.getxattr(ctx, await guest.node('f'), 'user.binary')).toEqual(binary)
    expect(await guest.getxattr('f', 'trusted.empty')).toBe('')
    expect([...(await guest.listxattr('f'))].sort()).toEqual(['security.x', 'trusted.empty', 'user.binary'])
    expect(await guest.listxattr('/')).toEqual(['user.root'])
    await guest.removexattr('f', 'security.x')
    await remount()
    expect(await guest.listxattr('f')).toEqual(['user.binary', 'trusted.empty'])
  })

  it.each([
    ['to create one that is there', (g: Guest) => g.setxattr('f', 'user.a', 'x', 1), 'EEXIST'],
    ['to replace one that is not', (g: Guest) => g.setxattr('f', 'user.b', 'x', 2), 'ENODATA'],
    ['to remove one that is not there', (g: Guest) => g.removexattr('f', 'user.b'), 'ENODATA'],
    ['to read one that is not there', (g: Guest) => g.getxattr('f', 'user.b'), 'ENODATA'],
    ['one of another kind', (g: Guest) => g.setxattr('f', 'system.posix_acl_access', 'x'), 'EOPNOTSUPP'],
    ['a namespace alone', (g: Guest) => g.setxattr('f', 'user.', 'x'), 'EINVAL'],
    ['to set what the storage says', (g: Guest) => g.setxattr('f', 'user.ovfs.etag', 'x'), 'EPERM'],
  ])('refuses an extended attribute: %s', async (_, act, code) => {
    await guest.put('f', 'x')
    await guest.setxattr('f', 'user.a', 'v')
    // Also synchronously thrown errors count.
    await expect((async () => act(guest))()).rejects.toMatchObject({ code })
  })

  it('has room for 64 KiB in one value, and not for any amount in one file', async () => {
    await guest.put('f', 'x')
    await guest.setxattr('f', 'user.large', new Uint8Array(65536))
    const more = async () => {
      for (let i = 0; i < 5; i++) await guest.setxattr('f', `user.${i}`, new Uint8Array(65536))
    }
    await expect(more()).rejects.toMatchObject({ code: 'ENOSPC' })
    await remount()
    expect((await guest.getxattr('f', 'user.large')).length).toBe(65536)
  })

  it('says what the storage knows of a file', async () => {
    await guest.put('f', 'x')
    const info = await storage.outside.stat('f')
    const known = { etag: info.etag, version: info.version, 'content-type': info.contentType }
    for (const [name, value] of Object.entries(known)) {
      const shown = guest.getxattr('f', `user.ovfs.${name}`)
      if (value === null) await expect(shown).rejects.toMatchObject({ code: 'ENODATA' })
      else expect(await shown).toBe(value)
    }
    if (scheme === 's3') expect(info.etag).not.toBe(null)
    expect(await guest.listxattr('f')).toEqual([])
  })
})
