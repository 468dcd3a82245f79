// The kinds of field that a C struct table is made of. All integers are little-endian: the byte order of the hosts and
// guests that this project serves (x86-64, arm64).

/** Tells the surrounding struct's codec what is wrong with a value; it adds the struct and the field. */
export type FieldFault = { code: 'UNSAFE_INTEGER' | 'OUT_OF_RANGE'; message: string }

export interface Field<T> {
  /** The kind as C would say it, for messages and tables. */
  readonly type: string
  /** Bytes. */
  readonly size: number
  /** Natural alignment in bytes. */
  readonly align: number
  /** Padding has no value: it is skipped in decoding and zeroed in encoding. */
  readonly isPadding: boolean
  decode(view: DataView, offset: number): T
  encode(value: T, view: DataView, offset: number): void
  /** Whether the value can be encoded; undefined if so. */
  fault(value: T): FieldFault | undefined
  /** Range of an integer field, both ends included. */
  readonly range?: readonly [bigint, bigint]
  /** Element kind and count of an array field. */
  readonly element?: Field<unknown>
  readonly count?: number
}

/** Thrown inside decode by a field that finds a value it cannot represent; the struct's codec turns it into a CstructError. */
export class FaultSignal extends Error {
  readonly fault: FieldFault
  constructor(fault: FieldFault) {
    super(fault.message)
    this.fault = fault
  }
}

function integer(
  type: string,
  size: number,
  range: readonly [number, number],
  read: (view: DataView, offset: number) => number,
  write: (view: DataView, offset: number, value: number) => void,
): Field<number> {
  const [min, max] = range
  return {
    type,
    size,
    align: size,
    isPadding: false,
    range: [BigInt(min), BigInt(max)],
    decode: read,
    encode: (value, view, offset) => write(view, offset, value),
    fault: value =>
      Number.isInteger(value) && value >= min && value <= max
        ? undefined
        : { code: 'OUT_OF_RANGE', message: `${value} does not fit ${type}` },
  }
}

function bigInteger(
  type: string,
  range: readonly [bigint, bigint],
  read: (view: DataView, offset: number) => bigint,
  write: (view: DataView, offset: number, value: bigint) => void,
): Field<bigint> {
  const [min, max] = range
  return {
    type,
    size: 8,
    align: 8,
    isPadding: false,
    range,
    decode: read,
    encode: (value, view, offset) => write(view, offset, value),
    fault: value =>
      typeof value === 'bigint' && value >= min && value <= max
        ? undefined
        : { code: 'OUT_OF_RANGE', message: `${value} does not fit ${type}` },
  }
}

export const u8 = integer(
  'u8',
  1,
  [0, 0xff],
  (view, offset) => view.getUint8(offset),
  (view, offset, value) => view.setUint8(offset, value),
)
export const u16 = integer(
  'u16',
  2,
  [0, 0xffff],
  (view, offset) => view.getUint16(offset, true),
  (view, offset, value) => view.setUint16(offset, value, true),
)
export const u32 = integer(
  'u32',
  4,
  [0, 0xffff_ffff],
  (view, offset) => view.getUint32(offset, true),
  (view, offset, value) => view.setUint32(offset, value, true),
)
export const i32 = integer(
  'i32',
  4,
  [-0x8000_0000, 0x7fff_ffff],
  (view, offset) => view.getInt32(offset, true),
  (view, offset, value) => view.setInt32(offset, value, true),
)

/** A 64-bit value that is opaque or uses all its bits. */
export const u64 = bigInteger(
  'u64',
  [0n, 2n ** 64n - 1n],
  (view, offset) => view.getBigUint64(offset, true),
  (view, offset, value) => view.setBigUint64(offset, value, true),
)
export const i64 = bigInteger(
  'i64',
  [-(2n ** 63n), 2n ** 63n - 1n],
  (view, offset) => view.getBigInt64(offset, true),
  (view, offset, value) => view.setBigInt64(offset, value, true),
)

const MAX_SAFE_HIGH_WORD = 0x1f_ffff

/** A u64 that is a size, an offset or an id: a plain number, at most 2^53-1. */
export const n64: Field<number> = {
  ...integer(
    'u64',
    8,
    [0, Number.MAX_SAFE_INTEGER],
    (view, offset) => {
      const high = view.getUint32(offset + 4, true)
      if (high > MAX_SAFE_HIGH_WORD) {
        const value = view.getBigUint64(offset, true)
        throw new FaultSignal({ code: 'UNSAFE_INTEGER', message: `${value} is above 2^53-1` })
      }
      return high * 0x1_0000_0000 + view.getUint32(offset, true)
    },
    (view, offset, value) => {
      view.setUint32(offset, value % 0x1_0000_0000, true)
      view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true)
    },
  ),
}

/** `count` raw bytes; decoding copies them. */
export function bytes(count: number): Field<Uint8Array> {
  return {
    type: `u8[${count}]`,
    size: count,
    align: 1,
    isPadding: false,
    count,
    decode: (view, offset) =>
      new Uint8Array(view.buffer.slice(view.byteOffset + offset, view.byteOffset + offset + count)),
    encode: (value, view, offset) => new Uint8Array(view.buffer, view.byteOffset + offset, count).set(value),
    fault: value =>
      value.byteLength === count
        ? undefined
        : { code: 'OUT_OF_RANGE', message: `${value.byteLength} bytes given for ${count}` },
  }
}

/** `count` values of one kind. */
export function array<T>(element: Field<T>, count: number): Field<T[]> {
  return {
    type: `${element.type}[${count}]`,
    size: element.size * count,
    align: element.align,
    isPadding: false,
    element: element as Field<unknown>,
    count,
    decode: (view, offset) =>
      Array.from({ length: count }, (_, i) => element.decode(view, offset + i * element.size)),
    encode: (value, view, offset) => {
      for (let i = 0; i < count; i++) element.encode(value[i] as T, view, offset + i * element.size)
    },
    fault: value => {
      if (value.length !== count) {
        return { code: 'OUT_OF_RANGE', message: `${value.length} elements given for ${count}` }
      }
      for (const item of value) {
        const fault = element.fault(item)
        if (fault) return fault
      }
      return undefined
    },
  }
}

/** `count` bytes without meaning. */
export function pad(count: number): Field<undefined> {
  return {
    type: `pad[${count}]`,
    size: count,
    align: 1,
    isPadding: true,
    decode: () => undefined,
    encode: (_value, view, offset) => {
      for (let i = 0; i < count; i++) view.setUint8(offset + i, 0)
    },
    fault: () => undefined,
  }
}
