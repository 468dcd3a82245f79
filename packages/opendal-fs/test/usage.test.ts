import type { KstatfsOut } from '@ovfs/fuse-proto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OpendalFs, type OpendalFsOptions } from '../src/index.ts'
import { Faults, faulty } from './faulty-operator.ts'
import { ctx, Guest, O_RDWR } from './guest.ts'
import { SCHEMES, type Service, service } from './services.ts'

const MIB = 1 << 20

describe.each(SCHEMES)('on %s', scheme => {
  let storage: Service
  let faults: Faults
  const mounted: OpendalFs[] = []

  beforeEach(async () => {
    storage = await service(scheme)
    faults = new Faults()
    await storage.outside.write('d/one', Buffer.alloc(MIB))
    await storage.outside.write('two', Buffer.alloc(MIB / 2))
  })
  afterEach(async () => {
    for (const fs of mounted.splice(0)) await fs.close()
    await storage.close()
  })

  function mount(options: Partial<OpendalFsOptions>): Guest {
    const fs = new OpendalFs(faulty(storage.operator, faults), { scheme, ...options })
    mounted.push(fs)
    return new Guest(fs)
  }
  const statfs = async ({ fs }: Guest): Promise<KstatfsOut> => fs.statfs()
  const used = async (guest: Guest) => {
    const { blocks, bfree, files, ffree } = await statfs(guest)
    return [(blocks - bfree) * 4096, files - ffree]
  }

  it('claims the size that the user gave, all of it free, without asking the storage', async () => {
    const guest = mount({ capacityBytes: 100 * MIB })
    expect(await statfs(guest)).toMatchObject({ blocks: 25_600, bfree: 25_600, bavail: 25_600, bsize: 4096 })
    expect(faults.calls).toEqual([])
  })

  it('counts what is there already, and then each change', async () => {
    const guest = mount({ maxBytes: 4 * MIB, maxFiles: 10 })
    expect(await statfs(guest)).toMatchObject({ blocks: 1024, files: 10 })
    expect(await used(guest)).toEqual([1.5 * MIB, 3])
    await guest.put('three', new Uint8Array(MIB))
    await guest.mkdir('e')
    expect(await used(guest)).toEqual([2.5 * MIB, 5])
    await guest.truncate('three', MIB / 4)
    await guest.rename('three', 'two')
    await guest.rmdir('e')
    await guest.unlink('d/one')
    expect(await used(guest)).toEqual([MIB / 4, 2])
    expect(await used(mount({ maxBytes: 4 * MIB }))).toEqual([MIB / 4, 2])
  })

  it('refuses with EDQUOT what would make the files hold more than is allowed, in every way of growing', async () => {
    const guest = mount({ maxBytes: 2 * MIB })
    const file = await guest.open('two', O_RDWR)
    await file.write(MIB - 1, 'x')
    const { node, fh } = file
    for (const growth of [
      async () => file.write(MIB - 1, 'xy'),
      async () => file.write(5 * MIB, 'x'),
      () => file.truncate(MIB + 1),
      () => guest.truncate('two', MIB + 1),
      async () => guest.fs.fallocate(ctx, node, fh, 0, 2 * MIB, 0),
      async () => guest.fs.fallocate(ctx, node, fh, MIB, 1, 16),
      () => guest.put('more', 'x'),
    ]) {
      await expect(growth()).rejects.toMatchObject({ code: 'EDQUOT' })
    }
    const more = await guest.open('more', O_RDWR)
    const one = await guest.open('d/one')
    const copied = guest.fs.copyFileRange(ctx, one.node, one.fh, 0, more.node, more.fh, 0, MIB)
    await expect(copied).rejects.toMatchObject({ code: 'EDQUOT' })
    await one.close()
    await more.close()
    await file.write(0, 'over what is there')
    await file.truncate(10)
    await file.close()
    await guest.put('more', 'now there is room')
  })

  it('refuses with EDQUOT to make more files and directories than are allowed', async () => {
    const guest = mount({ maxFiles: 4 })
    await guest.put('new', '1')
    await expect(guest.put('newer', '1')).rejects.toMatchObject({ code: 'EDQUOT' })
    await expect(guest.mkdir('newer')).rejects.toMatchObject({ code: 'EDQUOT' })
    await guest.put('new', 'again')
    await guest.rename('new', 'two')
    await guest.mkdir('newer')
  })

  it('lets what is unlinked but open grow, because it will not be stored', async () => {
    const guest = mount({ maxBytes: 2 * MIB })
    const file = await guest.open('two', O_RDWR)
    await guest.unlink('two')
    await file.write(0, new Uint8Array(2 * MIB))
    expect(await used(guest)).toEqual([MIB, 2])
    await file.close()
  })

  it('does not count from nothing if the storage cannot be counted', async () => {
    faults.before = operation => {
      if (operation === 'list') throw new Error('PermissionDenied (permanent) at list, context: { } => no')
      return undefined
    }
    const guest = mount({ maxBytes: 2 * MIB })
    await expect(statfs(guest)).rejects.toMatchObject({ code: 'EACCES' })
    await expect(guest.put('new', 'x')).rejects.toMatchObject({ code: 'EACCES' })
    faults.before = () => undefined
    await guest.put('new', 'x')
  })
})
