import { describe, expect, test } from 'vitest'
import {
  FsError,
  FUSE_SETXATTR_ACL_KILL_SGID,
  FuseClient,
  type FuseHandler,
  FuseServer,
  type RequestData,
} from '../src/index.ts'
import { ENTRY } from './golden-messages.ts'
import { memoryTransport } from './memory-transport.ts'
import { errnoOf, init, serve } from './served-client.ts'

describe('reading', () => {
  const file = Uint8Array.from({ length: 1000 }, (_, i) => i % 251)

  test('a handler that writes more than it was asked for is cut off', async () => {
    const { client } = await serve({
      read: (_, __, ___, ____, size, out) => {
        expect(out.write(file)).toBe(size)
        expect(out.room).toBe(0)
        expect(out.write(file)).toBe(0)
        expect(out.fill(10)).toBe(0)
      },
    })
    expect(await client.read(1, 1, 0, 300)).toEqual(file.subarray(0, 300))
  })

  test('the answer is no longer than the room that the guest gave', async () => {
    const { client } = await serve({
      read: (_, __, ___, ____, size, out) => {
        expect(size).toBe(100)
        out.write(file)
      },
    })
    const args = new Uint8Array(40)
    new DataView(args.buffer).setUint32(16, 500, true)
    expect(await client.call('READ', { node: 1, args, room: 100 })).toEqual(file.subarray(0, 100))
  })

  test('an error after some bytes is an error, not a short file', async () => {
    const { client } = await serve({
      read: async (_, __, ___, ____, _____, out) => {
        out.write(file, 0, 10)
        throw new FsError('ETIMEDOUT')
      },
    })
    expect(await errnoOf(client.read(1, 1, 0, 300))).toBe('ETIMEDOUT')
  })

  test('a handler that keeps the data of a WRITE finds it empty afterwards', async () => {
    let kept: RequestData | undefined
    const { client } = await serve({
      write: (_, __, ___, ____, data) => {
        kept = data
        return data.byteLength
      },
    })
    expect(await client.write(1, 1, 0, file)).toBe(1000)
    expect(kept!.byteLength).toBe(0)
    expect(kept!.copyTo(new Uint8Array(10))).toBe(0)
  })

  test('a handler that claims to have taken more than there was is a failure', async () => {
    const { client, reports } = await serve({ write: () => 1001 })
    expect(await errnoOf(client.write(1, 1, 0, file))).toBe('EIO')
    expect(reports[0]!.error).toBeInstanceOf(RangeError)
  })

  test('a WRITE above the negotiated limit is refused', async () => {
    const { client } = await serve({ init: () => ({ flags: 0, maxWrite: 4096 }), write: () => 1 })
    expect(await errnoOf(client.write(1, 1, 0, new Uint8Array(4097)))).toBe('EINVAL')
  })
})

describe('listings', () => {
  const many = Array.from({ length: 100 }, (_, i) => `entry${i}`)
  const listing: Partial<FuseHandler> = {
    readdir: (_, __, ___, cookie, out) => {
      for (let i = cookie; i < many.length; i++) if (!out.add(many[i]!, i + 10, 8, i + 1)) return
    },
    readdirplus: (_, __, ___, cookie, out) => {
      for (let i = cookie; i < many.length; i++) if (!out.addEntry(many[i]!, ENTRY, i + 1)) return
    },
  }

  test.each(['readdir', 'readdirplus'] as const)('%s continues after the last whole record', async method => {
    const { client } = await serve(listing)
    const names: string[] = []
    for (let cookie = 0n; ; ) {
      const entries = await client[method](1, 1, cookie, 1000)
      if (entries.length === 0) break
      names.push(...entries.map(entry => entry.name))
      cookie = entries.at(-1)!.off
    }
    expect(names).toEqual(many)
  })

  test('when not even the first entry fits, the answer is EINVAL and not the end', async () => {
    const { client } = await serve(listing)
    expect(await errnoOf(client.readdir(1, 1, 0, 24))).toBe('EINVAL')
    expect(await errnoOf(client.readdirplus(1, 1, 0, 152))).toBe('EINVAL')
    expect(await client.readdir(1, 1, many.length, 24)).toEqual([])
  })

  test('a record that fits exactly is given', async () => {
    const { client } = await serve({ readdir: (_, __, ___, ____, out) => void out.add('12345678', 1, 8, 1) })
    expect(await client.readdir(1, 1, 0, 32)).toHaveLength(1)
  })

  test('READDIRPLUS of a handler that only lists gives entries without attributes', async () => {
    const { client } = await serve({ readdir: listing.readdir! })
    const [first] = await client.readdirplus(1, 1)
    expect(first).toMatchObject({ name: 'entry0', ino: 10, entry: { nodeid: 0 } })
  })

  test('a failure after some entries keeps them: their lookups were counted', async () => {
    const { client } = await serve({
      readdirplus: async (_, __, ___, cookie, out) => {
        if (cookie === 0) out.addEntry('counted', ENTRY, 1)
        throw new FsError('EACCES')
      },
    })
    expect(await client.readdirplus(1, 1)).toHaveLength(1)
    expect(await errnoOf(client.readdirplus(1, 1, 1))).toBe('EACCES')
  })

  test.each(['', 'a/b', 'a\0b', 'x'.repeat(1025), '\ud800'])(
    'a bad name from the handler is its error: %j',
    async name => {
      const { client, reports } = await serve({
        readdir: (_, __, ___, ____, out) => void out.add(name, 1, 8, 1),
      })
      expect(await errnoOf(client.readdir(1, 1))).toMatch(/^(EIO|EILSEQ)$/)
      expect(reports[0]!.error).toMatchObject({ code: 'BAD_NAME' })
    },
  )
})

describe('extended attributes', () => {
  const value = new Uint8Array(100).fill(3)

  test('a value longer than the buffer is ERANGE', async () => {
    const { client } = await serve({ getxattr: () => value, listxattr: () => ['user.a'] })
    expect(await errnoOf(client.getxattr(1, 'user.a', 99))).toBe('ERANGE')
    expect(await client.getxattr(1, 'user.a', 100)).toEqual(value)
    expect(await errnoOf(client.listxattr(1, 6))).toBe('ERANGE')
    expect(await client.listxattr(1, 7)).toEqual(['user.a'])
  })

  test('both forms of SETXATTR are understood, as negotiated', async () => {
    for (const features of [0, 0xffff_ffff]) {
      const { client } = await serve({
        init: () => ({ flags: features }),
        setxattr: (_, __, name, data, flags, setxattrFlags) => {
          const agreed = features === 0 ? 0 : FUSE_SETXATTR_ACL_KILL_SGID
          expect([name, data, flags, setxattrFlags]).toEqual(['user.a', value, 1, agreed])
        },
      })
      await client.setxattr(1, 'user.a', value, 1, FUSE_SETXATTR_ACL_KILL_SGID)
    }
  })

  test('a value of the greatest length arrives', async () => {
    const greatest = new Uint8Array(65536).fill(9)
    const server = new FuseServer({ init, setxattr: (_, __, ___, data) => expect(data).toEqual(greatest) })
    const client = new FuseClient(
      memoryTransport(
        () => server,
        () => 1000,
      ),
    )
    await client.init()
    await client.setxattr(1, 'x'.repeat(255), greatest)
  })
})
