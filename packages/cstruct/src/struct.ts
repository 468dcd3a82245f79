// A C struct as a table: fields in declaration order, laid out by the natural-alignment rule of the System V ABI, with a
// codec made from the same table. Code on a hot path takes the offsets and reads the fields it needs by itself.

import { CstructError } from './error.ts'
import { FaultSignal, type Field } from './field.ts'

// biome-ignore lint/suspicious/noExplicitAny: a table holds fields of any value type
export type FieldTable = Record<string, Field<any>>

type PaddingKeys<F extends FieldTable> = {
  [K in keyof F]: F[K] extends Field<infer T> ? ([T] extends [undefined] ? K : never) : never
}[keyof F]

/** The decoded value: every field but padding. */
export type StructValue<F extends FieldTable> = {
  [K in Exclude<keyof F, PaddingKeys<F>>]: F[K] extends Field<infer T> ? T : never
}

/** The value type of a struct table. */
export type Infer<S> = S extends Struct<infer F> ? StructValue<F> : never

export interface Struct<F extends FieldTable> extends Field<StructValue<F>> {
  /** The C name, such as `fuse_read_in`. */
  readonly cName: string
  readonly fields: F
  /** Byte offset of each field. */
  readonly offsets: { readonly [K in keyof F]: number }
  /** Decodes the struct at `offset` of the view. Throws CstructError. */
  decode(view: DataView, offset?: number): StructValue<F>
  /** Encodes the value at `offset` of the view, padding zeroed. Throws CstructError. */
  encode(value: StructValue<F>, view: DataView, offset?: number): void
  /** Decodes from the start of the bytes; more bytes may follow. Throws CstructError. */
  fromBytes(bytes: Uint8Array): StructValue<F>
  /** Encodes into fresh bytes. Throws CstructError. */
  toBytes(value: StructValue<F>): Uint8Array<ArrayBuffer>
}

const alignUp = (value: number, align: number) => Math.ceil(value / align) * align

/** Declares a C struct. Fields lie as a C compiler lays them; state explicit padding members with `pad`. */
export function struct<const F extends FieldTable>(cName: string, fields: F): Struct<F> {
  const offsets: Record<string, number> = {}
  let end = 0
  let align = 1
  for (const [name, field] of Object.entries(fields)) {
    end = alignUp(end, field.align)
    offsets[name] = end
    end += field.size
    align = Math.max(align, field.align)
  }
  const size = alignUp(end, align)
  const rows = Object.entries(fields).map(([name, field]) => ({
    name,
    field,
    offset: offsets[name] as number,
  }))

  const requireRoom = (view: DataView, offset: number) => {
    const have = view.byteLength - offset
    if (have < size) {
      throw new CstructError('TRUNCATED', `${cName}: needs ${size} bytes, has ${Math.max(0, have)}`, {
        struct: cName,
        offset: 0,
        need: size,
        have: Math.max(0, have),
      })
    }
  }
  const faulty = (
    name: string,
    offset: number,
    fault: { code: 'UNSAFE_INTEGER' | 'OUT_OF_RANGE'; message: string },
  ) =>
    new CstructError(fault.code, `${cName}.${name} at offset ${offset}: ${fault.message}`, {
      struct: cName,
      field: name,
      offset,
    })

  const decode = (view: DataView, offset = 0) => {
    requireRoom(view, offset)
    const value: Record<string, unknown> = {}
    for (const row of rows) {
      if (row.field.isPadding) continue
      try {
        value[row.name] = row.field.decode(view, offset + row.offset)
      } catch (error) {
        if (error instanceof FaultSignal) throw faulty(row.name, row.offset, error.fault)
        throw error
      }
    }
    return value as StructValue<F>
  }
  const faultOf = (value: StructValue<F>) => {
    for (const row of rows) {
      const fault = row.field.fault((value as Record<string, unknown>)[row.name])
      if (fault) return { ...fault, name: row.name, offset: row.offset }
    }
    return undefined
  }
  const encode = (value: StructValue<F>, view: DataView, offset = 0) => {
    requireRoom(view, offset)
    const fault = faultOf(value)
    if (fault) throw faulty(fault.name, fault.offset, fault)
    for (let i = 0; i < size; i++) view.setUint8(offset + i, 0)
    for (const row of rows) {
      row.field.encode((value as Record<string, unknown>)[row.name], view, offset + row.offset)
    }
  }

  return Object.freeze({
    cName,
    type: `struct ${cName}`,
    fields,
    offsets: Object.freeze(offsets) as { readonly [K in keyof F]: number },
    size,
    align,
    isPadding: false,
    decode,
    encode,
    fault: faultOf,
    fromBytes: (bytes: Uint8Array) => decode(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)),
    toBytes: (value: StructValue<F>) => {
      const bytes = new Uint8Array(size)
      encode(value, new DataView(bytes.buffer))
      return bytes
    },
  })
}

/** The C spelling of a field name: `lockOwner` → `lock_owner`. */
export function cFieldName(name: string): string {
  return name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
}
