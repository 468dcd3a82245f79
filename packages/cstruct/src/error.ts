// The one error of this package: what was being coded, where, and what was missing.

export type CstructErrorCode =
  /** The bytes end before the structure does. */
  | 'TRUNCATED'
  /** A 64-bit value is above 2^53-1 where the table says that it is a number. */
  | 'UNSAFE_INTEGER'
  /** A value does not fit its field. */
  | 'OUT_OF_RANGE'

export class CstructError extends Error {
  readonly code: CstructErrorCode
  /** C name of the structure. */
  readonly struct: string
  /** Field name, when one field is at fault. */
  readonly field: string | undefined
  /** Byte offset within the structure. */
  readonly offset: number
  /** Bytes needed and bytes there, for TRUNCATED. */
  readonly need: number | undefined
  readonly have: number | undefined

  constructor(
    code: CstructErrorCode,
    message: string,
    at: { struct: string; field?: string; offset: number; need?: number; have?: number },
  ) {
    super(message)
    this.name = 'CstructError'
    this.code = code
    this.struct = at.struct
    this.field = at.field
    this.offset = at.offset
    this.need = at.need
    this.have = at.have
  }
}
