// A driver that breaks the rules of the ring: its ring dies with a typed error, signals the err descriptor, and everything
// else lives on. The descriptors are written by hand, into real shared memory, over a real socket.

import { FuseClient, type FuseTransport } from '@ovfs/fuse-proto'
import { FrontendMemory, type FrontendRing, FrontendSession } from '@ovfs/vhost-user'
import { VirtioFsDriver } from '@ovfs/virtio-fs/driver'
import { VirtqueueError, type VirtqueueErrorCode } from '@ovfs/virtqueue'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { type Daemon, ovfsInProcess } from './daemons.ts'

const NEXT = 1
const WRITE = 2
const INDIRECT = 4
const SIZE = 8
const BASE = 0x10_0000
const AVAIL = BASE + 0x1000
const USED = BASE + 0x2000
const DATA = BASE + 0x3000
const TABLE = BASE + 0x5000
const MEMORY_SIZE = 0x8000

interface Descriptor {
  readonly address: number
  readonly length: number
  readonly flags: number
  readonly next?: number
}

interface RawRing {
  readonly ring: FrontendRing
  put(table: number, descriptors: readonly Descriptor[]): void
  makeAvailable(head: number): void
  usedIndex(): number
}

async function startRawRing(socketPath: string): Promise<RawRing> {
  const session = FrontendSession.connect(socketPath)
  const memory = new FrontendMemory([{ guestAddress: BASE, size: MEMORY_SIZE }])
  onTestFinished(() => {
    session.close()
    memory.close()
  })
  await session.handshake()
  await session.addMemory(memory)
  const view = new DataView(memory.regions[0]?.pieces[0] as ArrayBuffer)
  const ring = await session.startRing({
    index: 1,
    size: SIZE,
    descAddress: BASE,
    availAddress: AVAIL,
    usedAddress: USED,
  })
  return {
    ring,
    put(table, descriptors) {
      descriptors.forEach(({ address, length, flags, next = 0 }, i) => {
        const at = table - BASE + 16 * i
        view.setBigUint64(at, BigInt(address), true)
        view.setUint32(at + 8, length, true)
        view.setUint16(at + 12, flags, true)
        view.setUint16(at + 14, next, true)
      })
    },
    makeAvailable(head) {
      const index = view.getUint16(AVAIL - BASE + 2, true)
      view.setUint16(AVAIL - BASE + 4 + 2 * (index % SIZE), head, true)
      view.setUint16(AVAIL - BASE + 2, index + 1, true)
      ring.kick()
    },
    usedIndex: () => view.getUint16(USED - BASE + 2, true),
  }
}

const readable = (next?: number): Descriptor => ({
  address: DATA,
  length: 64,
  flags: next === undefined ? 0 : NEXT,
  ...(next !== undefined && { next }),
})

const cases: [string, VirtqueueErrorCode, (raw: RawRing) => void][] = [
  ['a loop', 'LOOP', raw => raw.put(BASE, [readable(1), readable(0)])],
  [
    'an address outside of memory',
    'OUT_OF_MEMORY_RANGE',
    raw => raw.put(BASE, [{ ...readable(), address: 0x7000_0000 }]),
  ],
  [
    'an address above 2^53',
    'OUT_OF_MEMORY_RANGE',
    raw => raw.put(BASE, [{ ...readable(), address: 2 ** 63 }]),
  ],
  [
    'a buffer that ends outside of memory',
    'OUT_OF_MEMORY_RANGE',
    raw => raw.put(BASE, [{ ...readable(), length: 2 ** 31 }]),
  ],
  ['a next outside of the table', 'BAD_NEXT', raw => raw.put(BASE, [readable(SIZE)])],
  [
    'nested indirect tables',
    'NESTED_INDIRECT',
    raw => {
      raw.put(BASE, [{ address: TABLE, length: 16, flags: INDIRECT }])
      raw.put(TABLE, [{ address: TABLE, length: 16, flags: INDIRECT }])
    },
  ],
  [
    'an indirect table of half a descriptor',
    'INDIRECT_LENGTH',
    raw => raw.put(BASE, [{ address: TABLE, length: 24, flags: INDIRECT }]),
  ],
  [
    'readable after writable',
    'READABLE_AFTER_WRITABLE',
    raw => raw.put(BASE, [{ address: DATA, length: 64, flags: WRITE | NEXT, next: 1 }, readable()]),
  ],
]

describe('a ring with', () => {
  let daemon: Daemon & { readonly trouble: unknown[] }
  beforeAll(async () => {
    daemon = await ovfsInProcess('memory', {})
  })
  afterAll(() => daemon.stop())

  test.each(cases)('%s dies with a typed error, and the daemon lives on', async (_what, code, prepare) => {
    daemon.trouble.length = 0
    const raw = await startRawRing(daemon.socketPath)
    prepare(raw)
    raw.makeAvailable(0)
    await expect.poll(() => raw.ring.broken).toBe(true)
    expect(raw.usedIndex()).toBe(0)
    const causes = daemon.trouble.map(error => (error as Error).cause)
    expect(causes).toEqual([expect.any(VirtqueueError)])
    expect((causes[0] as VirtqueueError).code).toBe(code)
  })

  test('a head that is no descriptor dies too', async () => {
    daemon.trouble.length = 0
    const raw = await startRawRing(daemon.socketPath)
    raw.makeAvailable(SIZE)
    await expect.poll(() => raw.ring.broken).toBe(true)
    expect(((daemon.trouble[0] as Error).cause as VirtqueueError).code).toBe('BAD_HEAD')
  })

  test('any fault leaves the next front-end served', async () => {
    const driver = await VirtioFsDriver.connect(daemon.socketPath)
    const transport: FuseTransport = { submit: (request, capacity) => driver.submit(request, capacity) }
    const client = new FuseClient(transport)
    await client.init()
    expect((await client.getattr(1)).attr.ino).toBe(1)
    await driver.close()
  })
})
