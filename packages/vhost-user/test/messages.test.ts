import { structArbitrary } from '@ovfs/cstruct/arbitrary'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PROTOCOL_FEATURE_BITS } from '../src/features.ts'
import {
  type AnyRequestRow,
  BACKEND_REQUESTS,
  FRONTEND_REQUESTS,
  frontendRequestName,
  MAX_PAYLOAD_SIZE,
} from '../src/messages.ts'
import * as payloads from '../src/payloads.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const fromHex = (text: string) => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'))
const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const rows: [string, AnyRequestRow][] = [
  ...Object.entries(FRONTEND_REQUESTS),
  ...Object.entries(BACKEND_REQUESTS).map(([name, row]): [string, AnyRequestRow] => [`BACKEND_${name}`, row]),
]

test('front-end requests are numbered 1 to 44 and back-end requests 1 to 10, without gaps', () => {
  expect(Object.values(FRONTEND_REQUESTS).map(row => row.id)).toEqual(
    Array.from({ length: 44 }, (_, i) => i + 1),
  )
  expect(Object.values(BACKEND_REQUESTS).map(row => row.id)).toEqual(
    Array.from({ length: 10 }, (_, i) => i + 1),
  )
  expect(frontendRequestName(11)).toBe('GET_VRING_BASE')
  expect(frontendRequestName(45)).toBeUndefined()
})

test('protocol features are numbered 0 to 22, without gaps', () => {
  expect(Object.values(PROTOCOL_FEATURE_BITS)).toEqual(Array.from({ length: 23 }, (_, i) => i))
})

test('every payload fits in a message', () => {
  for (const [name, row] of rows) expect(row.payload.maxSize, name).toBeLessThanOrEqual(MAX_PAYLOAD_SIZE)
})

test('payload sizes are those of the specification', () => {
  const sizes = (row: AnyRequestRow) => [row.payload.minSize, row.payload.maxSize]
  expect(sizes(FRONTEND_REQUESTS.GET_FEATURES)).toEqual([0, 0])
  expect(sizes(FRONTEND_REQUESTS.SET_FEATURES)).toEqual([8, 8])
  expect(sizes(FRONTEND_REQUESTS.SET_MEM_TABLE)).toEqual([8, 8 + 8 * 32])
  expect(sizes(FRONTEND_REQUESTS.SET_LOG_BASE)).toEqual([8, 16])
  expect(sizes(FRONTEND_REQUESTS.SET_VRING_NUM)).toEqual([8, 8])
  expect(sizes(FRONTEND_REQUESTS.SET_VRING_ADDR)).toEqual([40, 40])
  expect(sizes(FRONTEND_REQUESTS.SET_VRING_KICK)).toEqual([8, 8])
  expect(sizes(FRONTEND_REQUESTS.IOTLB_MSG)).toEqual([32, 32])
  expect(sizes(FRONTEND_REQUESTS.SET_CONFIG)).toEqual([0, 12 + 256])
  expect(sizes(FRONTEND_REQUESTS.GET_INFLIGHT_FD)).toEqual([24, 24])
  expect(sizes(FRONTEND_REQUESTS.ADD_MEM_REG)).toEqual([40, 40])
  expect(sizes(FRONTEND_REQUESTS.GET_SHARED_OBJECT)).toEqual([16, 16])
  expect(sizes(FRONTEND_REQUESTS.SET_DEVICE_STATE_FD)).toEqual([8, 8])
  expect(FRONTEND_REQUESTS.GET_SHMEM_CONFIG.reply?.maxSize).toBe(2056)
  expect(sizes(BACKEND_REQUESTS.VRING_HOST_NOTIFIER_MSG)).toEqual([24, 24])
  expect(sizes(BACKEND_REQUESTS.SHMEM_MAP)).toEqual([40, 40])
})

const region = { guestAddress: 0xc0000, size: 0x1ff40000, userAddress: 0x7f12_3400_0000, mmapOffset: 0xc0000 }
const REGION_HEX = '00000c0000000000 0000f41f00000000 00000034127f0000 00000c0000000000'

const golden: [string, payloads.Payload<never>, unknown, string][] = [
  ['u64', payloads.u64Payload as never, 0x1_7000_0000n, '00000070 01000000'],
  ['vring_state', payloads.vringState as never, { index: 1, num: 0x400 }, '01000000 00040000'],
  [
    'vring_addr',
    payloads.vringAddr as never,
    {
      index: 2,
      flags: 1,
      descAddress: 0x7f00_dead_b000,
      usedAddress: 0x7f00_dead_e000,
      availAddress: 0x7f00_dead_c000,
      logAddress: 0x1234_5678n,
    },
    '02000000 01000000 00b0adde007f0000 00e0adde007f0000 00c0adde007f0000 7856341200000000',
  ],
  ['vring_fd', payloads.vringFd as never, { index: 3, noFd: false }, '0300000000000000'],
  [
    'vring_fd without a descriptor',
    payloads.vringFd as never,
    { index: 255, noFd: true },
    'ff01000000000000',
  ],
  ['mem_table', payloads.memoryTable as never, [region], `01000000 00000000 ${REGION_HEX}`],
  ['mem_reg_msg', payloads.singleMemoryRegion as never, { region }, `0000000000000000 ${REGION_HEX}`],
  [
    'log',
    payloads.logBase as never,
    { mmapSize: 0x4000, mmapOffset: 0x1000 },
    '0040000000000000 0010000000000000',
  ],
  ['log without LOG_SHMFD', payloads.logBase as never, 0xdeadbeefn, 'efbeadde00000000'],
  [
    'config',
    payloads.config as never,
    { offset: 36, flags: 0, bytes: Uint8Array.of(1, 0, 0, 0) },
    '24000000 04000000 00000000 01000000',
  ],
  [
    'inflight',
    payloads.inflight as never,
    { mmapSize: 0x2000, mmapOffset: 0, numQueues: 2, queueSize: 256 },
    '0020000000000000 0000000000000000 0200 0001 00000000',
  ],
  ['device_state', payloads.deviceState as never, { direction: 1, phase: 0 }, '01000000 00000000'],
  [
    'iotlb',
    payloads.iotlb as never,
    { iova: 1n, size: 2n, userAddress: 3n, perm: 3, type: 2 },
    '0100000000000000 0200000000000000 0300000000000000 03 02 000000000000',
  ],
  [
    'mmap',
    payloads.shmemMap as never,
    { shmid: 7, fdOffset: 1, shmOffset: 2, size: 3, flags: 1n },
    '07 00000000000000 0100000000000000 0200000000000000 0300000000000000 0100000000000000',
  ],
]

describe('golden bytes', () => {
  test.each(golden)('%s', (_name, payload, value, bytes) => {
    expect(hex(payload.encode(value as never))).toBe(bytes.replaceAll(' ', ''))
    expect(payload.decode(viewOf(fromHex(bytes)))).toEqual(value)
  })
})

describe('a truncated payload is a typed error', () => {
  test.each(golden)('%s', (_name, payload, _value, bytes) => {
    const whole = fromHex(bytes)
    for (let size = 0; size < whole.byteLength; size++) {
      // A config of no bytes says that GET_CONFIG failed; 8 bytes are the log of a kernel back-end.
      if (payload.name === 'config' && size === 0) continue
      if (payload.name === 'log' && size === 8) continue
      expect(() => payload.decode(viewOf(whole.subarray(0, size))), `${size} bytes`).toThrow(
        expect.objectContaining({ name: 'VhostUserError', code: 'BAD_PAYLOAD' }),
      )
    }
  })
})

test('a payload with a byte too many is refused, except where any number of bytes is meant', () => {
  for (const [name, payload, , bytes] of golden) {
    const longer = Uint8Array.of(...fromHex(bytes), 0)
    expect(() => payload.decode(viewOf(longer)), name).toThrow(
      expect.objectContaining({ code: 'BAD_PAYLOAD' }),
    )
  }
})

test('an address above 2^53-1 is a typed error', () => {
  const bytes = fromHex(`0000000000000000 ${REGION_HEX}`)
  bytes[15] = 0xff
  expect(() => payloads.singleMemoryRegion.decode(viewOf(bytes))).toThrow(
    expect.objectContaining({
      code: 'BAD_PAYLOAD',
      cause: expect.objectContaining({ code: 'UNSAFE_INTEGER' }),
    }),
  )
})

test('reserved bits beside a ring index are refused', () => {
  expect(() => payloads.vringFd.decode(viewOf(fromHex('0002000000000000')))).toThrow(
    expect.objectContaining({ code: 'BAD_PAYLOAD' }),
  )
})

test('a memory table must hold exactly the regions that it counts', () => {
  const table = fromHex(`02000000 00000000 ${REGION_HEX}`)
  expect(() => payloads.memoryTable.decode(viewOf(table))).toThrow(
    expect.objectContaining({ code: 'BAD_PAYLOAD' }),
  )
})

describe('every structure survives encoding and decoding', () => {
  const tables = [
    payloads.VringState,
    payloads.VringAddr,
    payloads.MemoryRegion,
    payloads.SingleMemoryRegion,
    payloads.Log,
    payloads.Iotlb,
    payloads.VringArea,
    payloads.Inflight,
    payloads.DeviceState,
    payloads.SharedObject,
    payloads.ShmemMap,
  ]
  test.each(tables.map(table => [table.cName, table] as const))('%s', (_name, table) => {
    fc.assert(
      fc.property(structArbitrary(table as never), value => {
        expect(table.fromBytes(table.toBytes(value as never))).toEqual(value)
      }),
    )
  })

  test('a memory table', () => {
    fc.assert(
      fc.property(fc.array(structArbitrary(payloads.MemoryRegion), { maxLength: 8 }), regions => {
        expect(payloads.memoryTable.decode(viewOf(payloads.memoryTable.encode(regions)))).toEqual(regions)
      }),
    )
  })
})
