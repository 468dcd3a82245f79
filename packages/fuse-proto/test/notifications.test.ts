// Notifications: bytes both ways for each code, and what is refused.

import { describe, expect, test } from 'vitest'
import {
  decodeNotification,
  encodeNotification,
  formatNotification,
  NOTIFICATIONS,
  type Notification,
} from '../src/index.ts'
import { bytesOf } from './golden-messages.ts'

const HEADER = (len: string, code: string) => `${len}000000 ${code}000000 0000000000000000  header`
const GOLDEN: readonly [Notification, rows: string, line: string][] = [
  [
    { code: 'POLL', kh: 0xff00_0000_0000_0001n },
    `${HEADER('18', '01')}
    01000000000000ff  kh`,
    'NOTIFY POLL kh=18374686479671623681',
  ],
  [
    { code: 'INVAL_INODE', ino: 5, off: -1n, len: 0x10n },
    `${HEADER('28', '02')}
    0500000000000000  ino
    ffffffffffffffff  off
    1000000000000000  len`,
    'NOTIFY INVAL_INODE ino=5 off=-1 len=16',
  ],
  [
    { code: 'INVAL_ENTRY', parent: 1, flags: 1, name: 'gone' },
    `${HEADER('25', '03')}
    0100000000000000  parent
    04000000  namelen
    01000000  flags
    676f6e6500  name`,
    'NOTIFY INVAL_ENTRY parent=1 flags=1 "gone"',
  ],
  [
    { code: 'STORE', nodeid: 5, offset: 0x2000, data: Uint8Array.of(1, 2, 3) },
    `${HEADER('2b', '04')}
    0500000000000000  nodeid
    0020000000000000  offset
    03000000  size
    00000000  padding
    010203  data`,
    'NOTIFY STORE nodeid=5 offset=8192 3 bytes',
  ],
  [
    { code: 'RETRIEVE', notifyUnique: 0x77n, nodeid: 5, offset: 0x2000, size: 0x1000 },
    `${HEADER('30', '05')}
    7700000000000000  notify_unique
    0500000000000000  nodeid
    0020000000000000  offset
    00100000  size
    00000000  padding`,
    'NOTIFY RETRIEVE notifyUnique=119 nodeid=5 offset=8192 size=4096',
  ],
  [
    { code: 'DELETE', parent: 1, child: 5, name: 'x' },
    `${HEADER('2a', '06')}
    0100000000000000  parent
    0500000000000000  child
    01000000  namelen
    00000000  padding
    7800  name`,
    'NOTIFY DELETE parent=1 child=5 "x"',
  ],
  [{ code: 'RESEND' }, HEADER('10', '07'), 'NOTIFY RESEND'],
  [{ code: 'INC_EPOCH' }, HEADER('10', '08'), 'NOTIFY INC_EPOCH'],
  [
    { code: 'PRUNE', nodes: [5, 0x1_0000_0006] },
    `${HEADER('30', '09')}
    02000000  count
    00000000  padding
    0000000000000000  spare
    0500000000000000  nodeid
    0600000001000000  nodeid`,
    'NOTIFY PRUNE nodes=5,4294967302',
  ],
]

describe.each(GOLDEN)('$code', (notification, rows, line) => {
  const bytes = bytesOf(rows)

  test('is encoded as the header says, and decoded again', () => {
    expect(encodeNotification(notification)).toEqual(bytes)
    expect(decodeNotification(bytes)).toEqual(notification)
  })

  test('has a line for traces', () => {
    expect(formatNotification(bytes)).toBe(line)
  })

  test('is refused when it is cut, when its length lies, and when bytes follow', () => {
    for (let length = 0; length < bytes.byteLength; length++) {
      const cut = bytes.slice(0, length)
      expect(() => decodeNotification(cut)).toThrow(/needs|len is/)
      if (length >= 16) {
        cut[0] = length
        expect(() => decodeNotification(cut)).toThrow(/needs|announced/)
      }
    }
    const longer = new Uint8Array(bytes.byteLength + 1)
    longer.set(bytes)
    longer[0]!++
    expect(() => decodeNotification(longer)).toThrow(/announced|follow/)
  })
})

test('every code has a golden message', () => {
  expect(GOLDEN.map(([{ code }]) => code)).toEqual(Object.keys(NOTIFICATIONS))
})

test('a reply to a request, and a code that is not known, are no notifications', () => {
  expect(() => decodeNotification(bytesOf('10000000 07000000 0200000000000000  header'))).toThrow(
    'reply to a request',
  )
  expect(() => decodeNotification(bytesOf(HEADER('10', '0a')))).toThrow('code 10 is not known')
  expect(formatNotification(new Uint8Array(3))).toMatch(/^NOTIFY that makes no sense/)
})

test('a name with a NUL inside is refused', () => {
  const bytes = bytesOf(GOLDEN[2]![1])
  bytes[33] = 0
  expect(() => decodeNotification(bytes)).toThrow('does not end where it says')
})
