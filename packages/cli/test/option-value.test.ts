import { describe, expect, it } from 'vitest'
import {
  duration,
  id,
  mode,
  oneOf,
  path,
  size,
  sizeFrom,
  socketPath,
  timeLimit,
  type ValueParser,
} from '../src/option-value.ts'

const ACCEPTED: readonly (readonly [string, ValueParser<unknown>, string, unknown])[] = [
  ['size', size, '0', 0],
  ['size', size, '4096', 4096],
  ['size', size, '256M', 2 ** 28],
  ['size', size, '1.5g', 1.5 * 2 ** 30],
  ['size', size, '4GiB', 2 ** 32],
  ['size', size, '2TB', 2 ** 41],
  ['sizeFrom', sizeFrom('16M'), '16M', 2 ** 24],
  ['duration', duration, '0', 0],
  ['duration', duration, '2', 2000],
  ['duration', duration, '500ms', 500],
  ['duration', duration, '1.5s', 1500],
  ['duration', duration, '5m', 300_000],
  ['duration', duration, '1h', 3_600_000],
  ['mode', mode, '0644', 0o644],
  ['mode', mode, '755', 0o755],
  ['id', id, '4294967294', 4294967294],
  ['path', path, '/a/../b', '/b'],
  ['oneOf', oneOf(['a', 'b']), 'b', 'b'],
]

const REFUSED: readonly (readonly [string, ValueParser<unknown>, string])[] = [
  ['size', size, ''],
  ['size', size, '-1'],
  ['size', size, '1X'],
  ['size', size, '9999999T'],
  ['size', size, '1e3'],
  ['sizeFrom', sizeFrom('16M'), '15M'],
  ['duration', duration, '1d'],
  ['duration', duration, 'soon'],
  ['duration', duration, '600h'],
  ['timeLimit', timeLimit, '0'],
  ['timeLimit', timeLimit, '0.1ms'],
  ['mode', mode, '0999'],
  ['mode', mode, '4755'],
  ['mode', mode, 'rw-r--r--'],
  ['id', id, '4294967295'],
  ['id', id, '1.5'],
  ['id', id, '0x10'],
  ['path', path, ''],
  ['path', path, 'a\0b'],
  ['socketPath', socketPath, `/${'x'.repeat(107)}`],
  ['oneOf', oneOf(['a', 'b']), 'c'],
]

describe('values of options', () => {
  it.each(ACCEPTED)('%s %# accepts %s', (_, parse, typed, value) => {
    expect(typeof parse === 'function' && parse(typed)).toBe(value)
  })

  it.each(REFUSED)('%s %# refuses %j and says what it expects', (_, parse, typed) => {
    expect(() => parse(typed)).toThrow(RangeError)
  })

  it('a socket path may have 107 bytes', () => {
    expect(socketPath(`/${'x'.repeat(106)}`)).toHaveLength(107)
  })
})
