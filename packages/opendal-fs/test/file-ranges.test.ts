import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OpendalFs } from '../src/index.ts'
import { Faults, faulty } from './faulty-operator.ts'
import { ctx, type File, Guest, O_RDONLY, O_RDWR } from './guest.ts'
import { SCHEMES, type Service, service } from './services.ts'

const KEEP_SIZE = 1
const PUNCH_HOLE = 2
const ZERO_RANGE = 16
const SEEK_DATA = 3
const SEEK_HOLE = 4

describe.each(SCHEMES)('on %s', scheme => {
  let storage: Service
  let faults: Faults
  let fs: OpendalFs
  let guest: Guest

  beforeEach(async () => {
    storage = await service(scheme)
    faults = new Faults()
    fs = new OpendalFs(faulty(storage.operator, faults), { scheme })
    guest = new Guest(fs)
  })
  afterEach(async () => {
    await fs.close()
    await storage.close()
  })

  const outside = async (path: string) => (await storage.outside.read(path)).toString('latin1')
  const fallocate = async (file: File, mode: number, offset: number, length: number) =>
    fs.fallocate(ctx, file.node, file.fh, offset, length, mode)
  const seek = (file: File, offset: number, whence: number) =>
    fs.lseek(ctx, file.node, file.fh, offset, whence)
  const copy = (from: File, at: number, to: File, target: number, length: number) =>
    fs.copyFileRange(ctx, from.node, from.fh, at, to.node, to.fh, target, length)

  it('makes a file longer by allocating, and not with KEEP_SIZE', async () => {
    await storage.outside.write('f', Buffer.from('abc'))
    const file = await guest.open('f', O_RDWR)
    await fallocate(file, KEEP_SIZE, 0, 100)
    expect((await guest.stat('f')).size).toBe(3)
    await fallocate(file, 0, 1, 5)
    expect((await guest.stat('f')).size).toBe(6)
    await file.close()
    expect(await outside('f')).toBe('abc\0\0\0')
  })

  it('punches holes into published bytes and into unpublished ones', async () => {
    await storage.outside.write('f', Buffer.from('abcdefgh'))
    const file = await guest.open('f', O_RDWR)
    await file.write(4, 'XYZ')
    await fallocate(file, PUNCH_HOLE | KEEP_SIZE, 1, 4)
    await fallocate(file, PUNCH_HOLE | KEEP_SIZE, 7, 1000)
    await file.close()
    expect(await outside('f')).toBe('a\0\0\0\0YZ\0')
  })

  it('zeroes a range, with the file growing to its end unless KEEP_SIZE is given', async () => {
    await storage.outside.write('f', Buffer.from('abcd'))
    const file = await guest.open('f', O_RDWR)
    await fallocate(file, ZERO_RANGE | KEEP_SIZE, 3, 3)
    expect((await guest.stat('f')).size).toBe(4)
    await fallocate(file, ZERO_RANGE, 2, 4)
    await file.close()
    expect(await outside('f')).toBe('ab\0\0\0\0')
  })

  it('refuses other ways of allocating, no length, and what is larger than any file', async () => {
    await guest.put('f', 'abc')
    const file = await guest.open('f', O_RDWR)
    await expect(fallocate(file, 0x08, 0, 1)).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
    await expect(fallocate(file, PUNCH_HOLE, 0, 1)).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
    await expect(fallocate(file, 0, 0, 0)).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(fallocate(file, 0, 2 ** 52, 1)).rejects.toMatchObject({ code: 'EFBIG' })
    await file.close()
    const reader = await guest.open('f', O_RDONLY)
    await expect(fallocate(reader, 0, 0, 9)).rejects.toMatchObject({ code: 'EBADF' })
    await reader.close()
  })

  it('finds data and holes of a file that is being written, and takes a published one for data', async () => {
    const file = await guest.create('f')
    await file.write(100_000, 'x'.repeat(10))
    await file.truncate(300_000)
    expect(seek(file, 0, SEEK_DATA)).toBe(100_000)
    expect(seek(file, 0, SEEK_HOLE)).toBe(0)
    expect(seek(file, 100_004, SEEK_HOLE)).toBe(100_010)
    expect(() => seek(file, 100_010, SEEK_DATA)).toThrow(expect.objectContaining({ code: 'ENXIO' }))
    expect(() => seek(file, 300_000, SEEK_HOLE)).toThrow(expect.objectContaining({ code: 'ENXIO' }))
    await file.fsync()
    expect(seek(file, 0, SEEK_DATA)).toBe(0)
    expect(seek(file, 5, SEEK_HOLE)).toBe(300_000)
    await file.close()
  })

  it('copies a part of a file, over the unpublished state of both', async () => {
    await storage.outside.write('from', Buffer.from('0123456789'))
    const from = await guest.open('from', O_RDWR)
    await from.write(4, 'XX')
    const to = await guest.create('to')
    await to.write(0, 'abcdefgh')
    expect(await copy(from, 3, to, 2, 4)).toBe(4)
    expect(await copy(from, 8, to, 6, 100)).toBe(2)
    expect(await copy(from, 10, to, 0, 5)).toBe(0)
    await from.close()
    await to.close()
    expect(await outside('to')).toBe('ab3XX689')
  })

  it('copies a whole published file onto an empty one, by the service where that can', async () => {
    const bytes = Buffer.alloc(3 << 20, 'copy me ')
    await storage.outside.write('from', bytes)
    const from = await guest.open('from')
    const to = await guest.create('to')
    const copied = await copy(from, 0, to, 0, 2 ** 31)
    expect(copied).toBe(bytes.length)
    const { copy: canCopy } = storage.operator.capability()
    expect(faults.count('copy')).toBe(canCopy ? 1 : 0)
    expect(faults.count('read') > 0).toBe(!canCopy)
    expect((await guest.stat('to')).size).toBe(bytes.length)
    await to.write(0, 'NOT')
    await to.close()
    await from.close()
    const stored = await storage.outside.read('to')
    expect(stored.subarray(0, 8).toString()).toBe('NOTy me ')
    expect(stored.subarray(8).equals(bytes.subarray(8))).toBe(true)
  })

  it('copies through the staging what the service fails to copy', async () => {
    await storage.outside.write('from', Buffer.from('content'))
    faults.before = operation => {
      if (operation === 'copy') throw new Error('Unexpected (permanent) at copy, context: { } => too large')
      return undefined
    }
    const from = await guest.open('from')
    const to = await guest.create('to')
    expect(await copy(from, 0, to, 0, 100)).toBe(7)
    await to.close()
    await from.close()
    expect(await outside('to')).toBe('content')
  })
})
