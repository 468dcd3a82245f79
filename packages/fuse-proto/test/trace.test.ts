import { expect, test } from 'vitest'
import { FuseClient, FuseServer, formatMessage, formatReply, formatRequest } from '../src/index.ts'
import { bytesOf, GOLDEN } from './golden-messages.ts'
import { memoryTransport } from './memory-transport.ts'
import { TreeHandler } from './tree-handler.ts'

test('one line for each message, with the time that it took', async () => {
  const lines: string[] = []
  let now = 0
  const tree = new TreeHandler()
  const trace = { now: () => (now += 0.2), line: (text: string) => lines.push(text) }
  const server = new FuseServer(tree, { trace })
  const client = new FuseClient(
    memoryTransport(
      () => server,
      () => 9,
    ),
  )
  await client.init({ minor: 31, flags: 0x20, flags2: 0 })
  await client.lookup(1, 'a "b".txt').catch(() => {})
  const { entry, open } = await client.create(1, 'new\n', 0o640, 0x41)
  await client.write(entry.nodeid, open.fh, 5, new Uint8Array(3))
  await client.read(entry.nodeid, open.fh, 0, 100)
  await client.forget(entry.nodeid)
  await client.unlink(1, 'new\n')
  expect(lines).toEqual([
    'INIT #2 major=7 minor=31 maxReadahead=131072 flags=0x20 → major=7 minor=31 maxReadahead=131072 flags=0x20 maxBackground=128 congestionThreshold=96 maxWrite=65536 timeGran=1 0.2ms',
    'LOOKUP #4 parent=1 "a \\"b\\".txt" → ENOENT 0.2ms',
    'CREATE #6 parent=1 flags=0x41 mode=0100640 umask=022 "new\\n" → nodeid=2 entryValid=1 attrValid=1 ino=2 mode=0100640 nlink=1 blksize=4096 fh=1002 0.2ms',
    'WRITE #8 node=2 fh=1002 offset=5 size=3 flags=0x2 → size=3 0.2ms',
    'READ #10 node=2 fh=1002 size=100 → 8 bytes 0.2ms',
    'FORGET #12 node=2 nlookup=1 → no reply 0.2ms',
    'UNLINK #14 parent=1 "new\\n" → ok 0.2ms',
  ])
})

test('an opcode that is not known is shown by its number', () => {
  const request = bytesOf(`
    28000000 4d000000  opcode
    0300000000000000 0000000000000000 00000000 00000000 00000000 00000000  rest`)
  expect(formatRequest(request)).toBe('OPCODE77 #3')
})

test.each(Object.entries(GOLDEN))('%s can be cut anywhere without harm', (_, golden) => {
  const request = new Uint8Array(40 + bytesOf(golden.request).byteLength)
  request[4] = golden.opcode
  request.set(bytesOf(golden.request), 40)
  const reply = new Uint8Array(16 + bytesOf(golden.reply ?? '').byteLength)
  reply.set(bytesOf(golden.reply ?? ''), 16)
  for (let length = 0; length <= request.byteLength; length++) {
    expect(formatMessage(request.subarray(0, length), reply)).toContain(' → ')
  }
  for (let length = 0; length <= reply.byteLength; length++) {
    expect(formatReply(request, reply.subarray(0, length))).not.toBe('')
  }
})
