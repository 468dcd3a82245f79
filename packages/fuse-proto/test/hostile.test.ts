import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Errno, type FuseHandler, FuseProtocolError, FuseServer, OPERATIONS, Opcode } from '../src/index.ts'
import { bytesOf, ENTRY, FH, GOLDEN } from './golden-messages.ts'
import { cutSpans, exchange } from './memory-transport.ts'

interface RequestOptions {
  node?: bigint
  len?: number
  extlen?: number
}

function request(opcode: number, args: Uint8Array, options: RequestOptions = {}): Uint8Array {
  const bytes = new Uint8Array(40 + args.byteLength)
  bytes.set(args, 40)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, options.len ?? bytes.byteLength, true)
  view.setUint32(4, opcode, true)
  view.setBigUint64(8, 0x77n, true)
  view.setBigUint64(16, options.node ?? 1n, true)
  view.setUint16(36, options.extlen ?? 0, true)
  return bytes
}

/** A server in a session whose handler does everything, and the calls that it got. */
function everything() {
  const calls: string[] = []
  const errors: unknown[] = []
  const answers: Record<string, unknown> = {
    readlink: '',
    write: 0,
    lseek: 0,
    copyFileRange: 0,
    getxattr: new Uint8Array(0),
    listxattr: [],
    statfs: { blocks: 0, bfree: 0, bavail: 0, files: 0, ffree: 0, bsize: 0, namelen: 0, frsize: 0 },
    open: { fh: FH, openFlags: 0 },
    opendir: { fh: FH, openFlags: 0 },
    create: { entry: ENTRY, open: { fh: FH, openFlags: 0 } },
    getattr: { attrValid: 0, attrValidNsec: 0, attr: ENTRY.attr },
    setattr: { attrValid: 0, attrValidNsec: 0, attr: ENTRY.attr },
  }
  const entries = ['lookup', 'symlink', 'mknod', 'mkdir', 'link'].map(name => [name, ENTRY])
  const handler = new Proxy({ init: () => ({ flags: 0 }) } as FuseHandler, {
    get: (target, name: string) =>
      name === 'init'
        ? target.init
        : () => {
            calls.push(name)
            return { ...answers, ...Object.fromEntries(entries) }[name]
          },
  })
  const server = new FuseServer(handler, { onError: report => errors.push(report.error) })
  const init = new Uint8Array(64)
  new DataView(init.buffer).setUint32(0, 7, true)
  new DataView(init.buffer).setUint32(4, 38, true)
  expect(exchange(server, request(Opcode.INIT, init), 80).written).toBe(80)
  calls.length = 0
  return { server, calls, errors }
}

function errorOf(reply: Uint8Array): number {
  return new DataView(reply.buffer, reply.byteOffset).getInt32(4, true)
}

describe('every truncation of a valid request is refused and reaches no handler', () => {
  test.each(Object.entries(GOLDEN))('%s', (_, golden) => {
    const { server, calls, errors } = everything()
    const args = bytesOf(golden.request)
    const silent = golden.reply === undefined
    for (let length = 0; length < args.byteLength; length++) {
      const whole = request(golden.opcode, args.subarray(0, length))
      const { written, reply } = exchange(server, whole, 0x1000)
      // A shorter name is another name, and one that ends before its NUL is none.
      expect([length, calls]).toEqual([length, []])
      expect(written).toBe(silent ? 0 : 16)
      if (!silent)
        expect([length, errorOf(reply)]).toEqual([length, expect.toBeOneOf([-Errno.EINVAL, -Errno.ERANGE])])
    }
    const typed = errors.filter(error => error instanceof FuseProtocolError)
    expect(typed).toHaveLength(errors.length)
  })

  test.each(Object.entries(GOLDEN))('%s whose header promises more than there is', (_, golden) => {
    const { server, calls, errors } = everything()
    const args = bytesOf(golden.request)
    const bytes = request(golden.opcode, args)
    for (const len of [bytes.byteLength + 1, 0xffff_ffff]) {
      exchange(server, request(golden.opcode, args, { len }), 0x1000)
    }
    for (const len of [0, 39]) exchange(server, request(golden.opcode, args, { len }), 0x1000)
    expect(calls).toEqual([])
    expect(errors.map(error => (error as FuseProtocolError).code)).toEqual([
      'TRUNCATED',
      'TRUNCATED',
      'BAD_LENGTH',
      'BAD_LENGTH',
    ])
  })
})

test('a message too short for a header is given back with nothing written', () => {
  const { server, calls, errors } = everything()
  for (let length = 0; length < 40; length++) {
    const { written, reply } = exchange(server, new Uint8Array(length).fill(1), 100)
    expect(written).toBe(0)
    expect(reply).toEqual(new Uint8Array(100))
  }
  expect(calls).toEqual([])
  expect(errors).toHaveLength(40)
})

describe('names', () => {
  const lookup = (name: Uint8Array) => {
    const { server, calls } = everything()
    const { reply } = exchange(server, request(Opcode.LOOKUP, name), 144)
    return { errno: -errorOf(reply), calls }
  }
  const text = (name: string) => new TextEncoder().encode(name)

  test.each([
    ['empty', '\0', Errno.EINVAL],
    ['.', '.\0', Errno.EINVAL],
    ['..', '..\0', Errno.EINVAL],
    ['with a slash', 'a/b\0', Errno.EINVAL],
    ['a slash alone', '/\0', Errno.EINVAL],
    ['with a NUL inside', 'a\0b\0', Errno.EINVAL],
    ['without a NUL', 'abc', Errno.EINVAL],
    ['of 256 bytes', `${'x'.repeat(256)}\0`, Errno.ENAMETOOLONG],
    ['of 128 characters that are 256 bytes', `${'ü'.repeat(128)}\0`, Errno.ENAMETOOLONG],
    ['of 5000 bytes', `${'x'.repeat(5000)}\0`, Errno.ENAMETOOLONG],
    ['of a million bytes', `${'x'.repeat(1_000_000)}\0`, Errno.ENAMETOOLONG],
    ['too long and without a NUL', 'x'.repeat(300), Errno.ENAMETOOLONG],
  ])('%s is refused', (_, name, errno) => {
    expect(lookup(text(name))).toEqual({ errno, calls: [] })
  })

  test.each(['...', '.a', '..a', 'a.', ' ', '\\', '\x01', 'x'.repeat(255), 'ü'.repeat(127)])(
    '%j is a name',
    name => {
      expect(lookup(text(`${name}\0`))).toEqual({ errno: -0, calls: ['lookup'] })
    },
  )

  test('what is not UTF-8 reaches the handler and comes back as it was', () => {
    const names: string[] = []
    const server = new FuseServer({
      init: () => ({ flags: 0 }),
      lookup: (_, __, name) => {
        names.push(name)
        return ENTRY
      },
    })
    const init = new Uint8Array(64)
    init[0] = 7
    init[4] = 38
    exchange(server, request(Opcode.INIT, init), 80)
    exchange(server, request(Opcode.LOOKUP, Uint8Array.of(0xff, 0x61, 0xc3, 0)), 144)
    expect(names).toEqual(['\udcffa\udcc3'])
  })

  test('a second name is looked at as closely as the first', () => {
    const { server, calls } = everything()
    const rename = (names: string) => {
      const args = new Uint8Array(8 + names.length)
      args.set(text(names), 8)
      return errorOf(exchange(server, request(Opcode.RENAME, args), 16).reply)
    }
    expect(['a\0', 'a\0b', 'a\0\0', 'a\0..\0', 'a\0b/\0', 'a\0b\0c'].map(rename)).toEqual(
      new Array(6).fill(-Errno.EINVAL),
    )
    expect(calls).toEqual([])
    expect(rename('a\0b\0')).toBe(0)
  })
})

describe('numbers above 2^53-1', () => {
  const huge = Uint8Array.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
  const at = (size: number, offset: number) => {
    const args = new Uint8Array(size)
    args.set(huge, offset)
    return args
  }
  test.each([
    ['READ from a handle', Opcode.READ, at(40, 0), Errno.EBADF],
    ['WRITE at an offset', Opcode.WRITE, at(40, 8), Errno.EFBIG],
    ['READDIR from a cookie', Opcode.READDIR, at(40, 8), Errno.EINVAL],
    ['FALLOCATE of a length', Opcode.FALLOCATE, at(32, 16), Errno.EFBIG],
    ['COPY_FILE_RANGE to a node', Opcode.COPY_FILE_RANGE, at(56, 16), Errno.ESTALE],
  ])('%s', (_, opcode, args, errno) => {
    const { server, calls } = everything()
    expect(errorOf(exchange(server, request(opcode, args), 100).reply)).toBe(-errno)
    expect(calls).toEqual([])
  })

  test('a node', () => {
    const { server, calls } = everything()
    for (const node of [2n ** 53n, 2n ** 64n - 1n]) {
      const { reply } = exchange(server, request(Opcode.GETATTR, new Uint8Array(16), { node }), 120)
      expect(errorOf(reply)).toBe(-Errno.ESTALE)
    }
    const last = 2n ** 53n - 1n
    exchange(server, request(Opcode.GETATTR, new Uint8Array(16), { node: last }), 120)
    expect(calls).toEqual(['getattr'])
  })

  test('a length that may be answered in part counts as the greatest number', () => {
    const { server, calls } = everything()
    expect(errorOf(exchange(server, request(Opcode.COPY_FILE_RANGE, at(56, 40)), 24).reply)).toBe(0)
    exchange(server, request(Opcode.FORGET, huge, { node: 2n }), 0)
    expect(calls).toEqual(['copyFileRange', 'forget'])
  })

  test('so does a place that programs may look at behind the end of a file', () => {
    const { server, calls } = everything()
    for (const [opcode, args] of [
      [Opcode.READ, at(40, 8)],
      [Opcode.LSEEK, at(24, 8)],
      [Opcode.COPY_FILE_RANGE, at(56, 8)],
    ] as const) {
      expect(errorOf(exchange(server, request(opcode, args), 100).reply)).toBe(0)
    }
    expect(calls).toEqual(['read', 'lseek', 'copyFileRange'])
  })

  test('a file that a program wants to be so long is no broken rule, only too big', () => {
    const { server, errors } = everything()
    for (const [opcode, args] of [
      [Opcode.WRITE, at(40, 8)],
      [Opcode.FALLOCATE, at(32, 8)],
      [Opcode.COPY_FILE_RANGE, at(56, 32)],
    ] as const) {
      expect(errorOf(exchange(server, request(opcode, args), 100).reply)).toBe(-Errno.EFBIG)
    }
    expect(errors).toEqual([])
  })
})

describe('counts and lengths', () => {
  test('extensions end the arguments, and cannot be longer than the request', () => {
    const { server, calls } = everything()
    const withExtension = new Uint8Array(2 + 8)
    withExtension[0] = 0x61
    expect(errorOf(exchange(server, request(Opcode.UNLINK, withExtension, { extlen: 1 }), 16).reply)).toBe(0)
    expect(calls).toEqual(['unlink'])
    expect(errorOf(exchange(server, request(Opcode.UNLINK, withExtension, { extlen: 2 }), 16).reply)).toBe(
      -Errno.EINVAL,
    )
    expect(
      errorOf(exchange(server, request(Opcode.UNLINK, withExtension, { extlen: 65535 }), 16).reply),
    ).toBe(-Errno.EINVAL)
    expect(calls).toEqual(['unlink'])
  })

  test.each([0, 2, 4, 0xffff_ffff])('WRITE announces %i bytes and brings 3', size => {
    const { server, calls } = everything()
    const args = new Uint8Array(43)
    new DataView(args.buffer).setUint32(16, size, true)
    expect(errorOf(exchange(server, request(Opcode.WRITE, args), 24).reply)).toBe(-Errno.EINVAL)
    expect(calls).toEqual([])
  })

  test.each([3, 0xffff_ffff])('BATCH_FORGET announces %i forgets and brings 2', count => {
    const { server, calls, errors } = everything()
    const args = new Uint8Array(8 + 32).fill(2)
    new DataView(args.buffer).setUint32(0, count, true)
    expect(exchange(server, request(Opcode.BATCH_FORGET, args), 0).written).toBe(0)
    expect(calls).toEqual([])
    expect(errors[0]).toMatchObject({
      code: 'TRUNCATED',
      struct: 'fuse_forget_one',
      need: count * 16,
      have: 32,
    })
  })

  test('READ of more than any guest can take at once', () => {
    const { server, calls } = everything()
    const args = new Uint8Array(40)
    new DataView(args.buffer).setUint32(16, 0xffff_ffff, true)
    const { reply } = exchange(server, request(Opcode.READ, args), 16 + 64 * 1024 * 1024 + 1)
    expect(errorOf(reply)).toBe(-Errno.EINVAL)
    expect(calls).toEqual([])
  })

  test('SETXATTR whose value is longer or shorter than it says', () => {
    const { server, calls } = everything()
    for (const size of [2, 4, 65536, 0xffff_ffff]) {
      const args = new Uint8Array(8 + 2 + 3).fill(0x61)
      args[9] = 0
      new DataView(args.buffer).setUint32(0, size, true)
      const errno = size > 65536 ? Errno.E2BIG : Errno.EINVAL
      expect(errorOf(exchange(server, request(Opcode.SETXATTR, args), 16).reply)).toBe(-errno)
    }
    expect(calls).toEqual([])
  })

  test('nanoseconds that are none', () => {
    const { server, calls } = everything()
    const args = new Uint8Array(88)
    new DataView(args.buffer).setUint32(0, 0x10, true)
    new DataView(args.buffer).setUint32(56, 1_000_000_000, true)
    expect(errorOf(exchange(server, request(Opcode.SETATTR, args), 120).reply)).toBe(-Errno.EINVAL)
    expect(calls).toEqual([])
  })
})

test('any bytes in any pieces are answered once, within their room, with an errno that Linux accepts', () => {
  const { server } = everything()
  const opcodes = fc.oneof(
    {
      weight: 20,
      arbitrary: fc.constantFrom(...OPERATIONS.filter(row => row.name !== 'DESTROY').map(row => row.opcode)),
    },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 0xffff_ffff }) },
  )
  const words = fc.oneof(fc.constantFrom(0, 1, 2, 40, 0x61, 0x6100, 0xffff_ffff), fc.nat(0xffff))
  const argumentBytes = fc
    .array(words, { maxLength: 40 })
    .map(values => new Uint8Array(Uint32Array.from(values).buffer))
  fc.assert(
    fc.property(
      opcodes,
      argumentBytes,
      fc.option(fc.nat(300), { nil: undefined }),
      fc.constantFrom(0, 0, 0, 1, 9),
      fc.nat(400),
      fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 8 }),
      (opcode, args, len, extlen, room, cuts) => {
        const options = len === undefined ? { extlen } : { len, extlen }
        let next = 0
        const cut = () => cuts[next++ % cuts.length] as number
        const readable = cutSpans(request(opcode, args, options), cut)
        const writable = cutSpans(new Uint8Array(room), cut)
        const completions: number[] = []
        server.handle({
          readable: readable.spans,
          writable: writable.spans,
          complete: written => completions.push(written),
        })
        expect(completions).toHaveLength(1)
        const written = completions[0] as number
        expect(writable.surroundingsIntact()).toBe(true)
        expect(written === 0 || (written >= 16 && written <= room)).toBe(true)
        if (written > 0) {
          const reply = new DataView(writable.read(written).buffer)
          const error = reply.getInt32(4, true)
          expect([reply.getUint32(0, true), reply.getBigUint64(8, true)]).toEqual([written, 0x77n])
          expect(error).toBeLessThanOrEqual(0)
          expect(error).toBeGreaterThan(-512)
          if (error !== 0) expect(written).toBe(16)
        }
      },
    ),
    { numRuns: 1000 },
  )
})
