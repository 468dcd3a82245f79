// Seconds as a field: 64 bits that the header declares unsigned and Linux fills with a signed time.

import type { Field } from '@ovfs/cstruct'

/**
 * Seconds since the epoch, possibly negative. Beyond ±(2^53-1), some 285 million years, they are clamped, as a file
 * system clamps a time that it cannot hold; clamping never fails, so a strange clock in the guest makes no error.
 */
export const seconds: Field<number> = {
  type: 'u64',
  size: 8,
  align: 8,
  isPadding: false,
  range: [BigInt(Number.MIN_SAFE_INTEGER), BigInt(Number.MAX_SAFE_INTEGER)],
  decode: (view, offset) => secondsOf(view.getUint32(offset, true), view.getInt32(offset + 4, true)),
  encode: (value, view, offset) => {
    view.setUint32(offset, value >>> 0, true)
    view.setInt32(offset + 4, Math.floor(value / 0x1_0000_0000), true)
  },
  fault: value =>
    Number.isSafeInteger(value)
      ? undefined
      : { code: 'OUT_OF_RANGE', message: `${value} is not a count of seconds` },
}

/** The clamped value of a 64-bit two's complement number given as its low (unsigned) and high (signed) words. */
export function secondsOf(low: number, high: number): number {
  const value = high * 0x1_0000_0000 + low
  return Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, value))
}
