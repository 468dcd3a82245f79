// The values that the options of the command line take, each with the words for what was expected.

import { resolve } from 'node:path'

/** Throws a RangeError that says what was expected. */
export type ValueParser<T> = (text: string) => T

export const text: ValueParser<string> = value => {
  if (value === '' || value.includes('\0')) throw new RangeError('a text that is not empty')
  return value
}

export const path: ValueParser<string> = value => {
  if (value === '' || value.includes('\0')) throw new RangeError('a path')
  return resolve(value)
}

/** virtio 1.2, 5.11.4: the field has 36 bytes. */
export const tag: ValueParser<string> = value => {
  if (value === '' || value.includes('\0') || Buffer.byteLength(value) > 36)
    throw new RangeError('a name of 1 to 36 bytes')
  return value
}

/** sun_path of sockaddr_un has 108 bytes, one of them for the NUL. */
export const socketPath: ValueParser<string> = value => {
  const absolute = path(value)
  if (Buffer.byteLength(absolute) > 107)
    throw new RangeError('a path of at most 107 bytes, as Unix sockets have')
  return absolute
}

export const wholeNumber =
  (least: number, most: number): ValueParser<number> =>
  value => {
    const number = /^\d+$/.test(value) ? Number(value) : Number.NaN
    if (!(number >= least && number <= most)) throw new RangeError(`a whole number from ${least} to ${most}`)
    return number
  }

/** uid_t and gid_t; the last value means "do not change". */
export const id = wholeNumber(0, 0xffff_fffe)

export const mode: ValueParser<number> = value => {
  if (!/^[0-7]{1,4}$/.test(value) || Number.parseInt(value, 8) > 0o777)
    throw new RangeError('permissions such as 0644')
  return Number.parseInt(value, 8)
}

const UNITS = ['', 'K', 'M', 'G', 'T']

/** Bytes: `268435456`, `256M`, `1.5GiB`; the units are powers of 1024. */
export const size: ValueParser<number> = value => {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$/i.exec(value)
  const bytes =
    match === null ? Number.NaN : Number(match[1]) * 1024 ** UNITS.indexOf(match[2]!.toUpperCase())
  if (!Number.isSafeInteger(Math.round(bytes))) throw new RangeError('a size such as 256M or 4G')
  return Math.round(bytes)
}

export const sizeFrom =
  (least: string): ValueParser<number> =>
  value => {
    const bytes = size(value)
    if (bytes < size(least)) throw new RangeError(`a size of at least ${least}`)
    return bytes
  }

const MILLISECONDS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** Longer ones overflow the timers of Node.js (setTimeout, 2^31 - 1 ms). */
const LONGEST = 2 ** 31 - 1

/** Milliseconds: `30s`, `500ms`, `5m`, `1h`; a number alone is seconds. */
export const duration: ValueParser<number> = value => {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)?$/.exec(value)
  const milliseconds =
    match === null ? Number.NaN : Math.round(Number(match[1]) * MILLISECONDS[match[2] ?? 's']!)
  if (!(milliseconds <= LONGEST)) throw new RangeError('a duration such as 500ms, 30s or 5m')
  return milliseconds
}

/** A duration in which something can happen. */
export const timeLimit: ValueParser<number> = value => {
  const milliseconds = duration(value)
  if (milliseconds === 0) throw new RangeError('a duration above zero, such as 30s')
  return milliseconds
}

export const oneOf =
  <const T extends string>(choices: readonly T[]): ValueParser<T> =>
  value => {
    const choice = choices.find(candidate => candidate === value)
    if (choice === undefined) throw new RangeError(`one of ${choices.join(', ')}`)
    return choice
  }
