import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { Faults, faulty } from './faulty-operator.ts'
import { Guest } from './guest.ts'
import { KEY_VALUE_SCHEMES, keyValueService } from './key-value-services.ts'
import type { Service } from './services.ts'

describe.each(KEY_VALUE_SCHEMES)('on %s, which cannot list', scheme => {
  let storage: Service
  let mounted: OpendalFs[]

  beforeEach(async () => {
    storage = await keyValueService(scheme)
    mounted = []
  })
  afterEach(async () => {
    for (const fs of mounted) await fs.close()
    await storage.close()
  })

  const mount = (operator = storage.operator, attrs: 'sidecar' | 'none' = 'sidecar') => {
    const fs = new OpendalFs(operator, { scheme, attrs })
    mounted.push(fs)
    return new Guest(fs)
  }

  it('lists what was made, also from a fresh file system', async () => {
    const guest = mount()
    await guest.put('f', 'content')
    await guest.mkdir('d')
    await guest.mkdir('d/empty')
    await guest.put('d/g', 'x')
    await guest.symlink('d/link', 'g')
    expect(await guest.names('/')).toEqual(['d', 'f'])
    await guest.fs.close()
    const again = mount()
    expect(await again.names('/')).toEqual(['d', 'f'])
    expect(await again.names('d')).toEqual(['empty', 'g', 'link'])
    expect(await again.names('d/empty')).toEqual([])
    expect(await again.text('f')).toBe('content')
  })

  it('does not list what was removed', async () => {
    const guest = mount()
    await guest.put('f', 'x')
    await guest.mkdir('d')
    await guest.unlink('f')
    await guest.rmdir('d')
    await guest.fs.close()
    expect(await mount().names('/')).toEqual([])
  })

  it('refuses to remove a directory that is not empty', async () => {
    const guest = mount()
    await guest.mkdir('d')
    await guest.put('d/f', 'x')
    await expect(guest.rmdir('d')).rejects.toMatchObject({ code: 'ENOTEMPTY' })
    await guest.fs.close()
    await expect(mount().rmdir('d')).rejects.toMatchObject({ code: 'ENOTEMPTY' })
  })

  it('moves files and directories with everything in them', async () => {
    const guest = mount()
    await guest.mkdir('d')
    await guest.mkdir('d/sub')
    await guest.put('d/sub/f', 'deep')
    await guest.put('g', 'flat')
    await guest.rename('d', 'e')
    await guest.rename('g', 'e/h')
    await guest.fs.close()
    const again = mount()
    expect(await again.names('/')).toEqual(['e'])
    expect(await again.names('e')).toEqual(['h', 'sub'])
    expect(await again.text('e/sub/f')).toBe('deep')
    expect(await again.text('e/h')).toBe('flat')
  })

  it('has a name in the index before its object appears, so that no kill can hide a file', async () => {
    const faults = new Faults()
    faults.sidecars = true
    const guest = mount(faulty(storage.operator, faults))
    await guest.put('f', 'x')
    const writes = faults.calls.filter(call => call.startsWith('write '))
    expect(writes.indexOf('write .ovfs-attributes')).toBeLessThan(writes.indexOf('write f'))
    expect(writes).toContain('write f')
  })

  it('does not list a name whose object a kill has prevented', async () => {
    const faults = new Faults()
    const guest = mount(faulty(storage.operator, faults))
    await guest.put('f', 'x')
    faults.before = async (operation, key) => {
      if (operation === 'write' && key === 'never')
        throw new Error('Unexpected (permanent) at write => killed')
    }
    await expect(guest.put('never', 'x')).rejects.toMatchObject({ code: 'EIO' })
    const others = mount()
    expect(await others.names('/')).toEqual(['f'])
    faults.before = () => undefined
  })

  it('finds by name what others have put there', async () => {
    await storage.outside.write('theirs', Buffer.from('outside'))
    const guest = mount()
    await guest.put('ours', 'x')
    expect(await guest.names('/')).toEqual(['ours'])
    expect(await guest.text('theirs')).toBe('outside')
  })

  it('refuses to list, and to remove what may not be empty, without sidecars', async () => {
    const guest = mount(storage.operator, 'none')
    await guest.mkdir('d')
    await guest.put('d/f', 'x')
    await expect(guest.names('d')).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
    await expect(guest.rmdir('d')).rejects.toMatchObject({
      code: expect.stringMatching('ENOTEMPTY|EOPNOTSUPP'),
    })
    await expect(guest.rename('d', 'e')).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
    expect(await guest.text('d/f')).toBe('x')
  })
})
