import { describe, expect, test } from 'vitest'
import {
  FuseClient,
  type FuseErrorReport,
  type FuseHandler,
  FuseServer,
  InHeader,
  OPERATIONS,
  OutHeader,
} from '../src/index.ts'
import { bytesOf, GOLDEN } from './golden-messages.ts'
import { exchange, joined } from './memory-transport.ts'

const UNIQUE_ROW = '0200000000000000  unique'

function requestBytes(golden: (typeof GOLDEN)[string]): Uint8Array {
  const args = bytesOf(golden.request)
  const hex32 = (value: number) =>
    [0, 8, 16, 24].map(shift => ((value >>> shift) & 0xff).toString(16).padStart(2, '0')).join('')
  return joined([
    bytesOf(`
      ${hex32(40 + args.byteLength)}  len
      ${hex32(golden.opcode)}  opcode
      ${UNIQUE_ROW}
      ${hex32(golden.node)} ${hex32(Math.floor(golden.node / 2 ** 32))}  nodeid
      e8030000  uid
      e9030000  gid
      ea030000  pid
      0000      total_extlen
      0000      padding`),
    args,
  ])
}

function replyBytes(body: string): Uint8Array {
  const bytes = bytesOf(body)
  const header = OutHeader.toBytes({ len: 16 + bytes.byteLength, error: 0, unique: 2n })
  return joined([header, bytes])
}

const init: FuseHandler['init'] = () => ({ flags: 0 })
const client = (submit: (request: Uint8Array[]) => Uint8Array) =>
  new FuseClient({ submit: async request => submit(request) }, { uid: 1000, gid: 1001, pid: 1002 })

describe.each(Object.entries(GOLDEN))('%s', (_, golden) => {
  test('the client sends these bytes', async () => {
    let sent = new Uint8Array(0)
    const sender = client(request => {
      sent = Uint8Array.from(joined(request))
      return golden.reply === undefined ? new Uint8Array(0) : replyBytes(golden.reply)
    })
    await golden.send(sender)
    expect(sent).toEqual(requestBytes(golden))
  })

  test('the server decodes them and answers these bytes', async () => {
    const reports: FuseErrorReport[] = []
    const server = new FuseServer({ init, ...golden.handler }, { onError: report => reports.push(report) })
    await new FuseClient({
      submit: async (request, room) => exchange(server, joined(request), room).reply,
    }).init()
    const { written, reply } = exchange(server, requestBytes(golden), golden.reply === undefined ? 0 : 0x2000)
    expect(reports).toEqual([])
    expect(reply.subarray(0, written)).toEqual(
      golden.reply === undefined ? new Uint8Array(0) : replyBytes(golden.reply),
    )
  })

  test('the client decodes the answer', async () => {
    const sender = client(() => (golden.reply === undefined ? new Uint8Array(0) : replyBytes(golden.reply)))
    expect(await golden.send(sender)).toEqual(golden.result)
  })
})

test('every operation that is served has a golden message', () => {
  const served = OPERATIONS.filter(row => row.call !== undefined || row.name === 'DESTROY').map(
    row => row.name,
  )
  const golden = new Set(Object.keys(GOLDEN))
  // COPY_FILE_RANGE_64 has the request of COPY_FILE_RANGE and the reply of LSEEK.
  expect(served.filter(name => !golden.has(name))).toEqual(['COPY_FILE_RANGE_64'])
})

test('INIT and its answer', () => {
  const request = joined([
    InHeader.toBytes({ len: 104, opcode: 26, unique: 2n, nodeid: 0, uid: 0, gid: 0, pid: 0, totalExtlen: 0 }),
    bytesOf(`
      07000000  major
      26000000  minor
      00000200  max_readahead
      fbffff7b  flags
      0b000000  flags2
      ${'00'.repeat(44)}  unused`),
  ])
  const server = new FuseServer({
    init: () => ({ flags: 0x0044f029, maxWrite: 0x20000, timeGran: 0x64, maxBackground: 64 }),
    readdirplus: () => {},
  })
  const { written, reply } = exchange(server, request, 80)
  expect(written).toBe(80)
  expect(reply).toEqual(
    bytesOf(`
      50000000  len
      00000000  error
      ${UNIQUE_ROW}
      07000000  major
      26000000  minor
      00000200  max_readahead
      29f04400  flags
      4000      max_background
      3000      congestion_threshold
      00000200  max_write
      64000000  time_gran
      0001      max_pages
      0000      map_alignment
      00000000  flags2
      00000000  max_stack_depth
      0000      request_timeout
      ${'00'.repeat(22)}  unused`),
  )
})
