export { CstructError, type CstructErrorCode } from './error.ts'
export { array, bytes, type Field, type FieldFault, i32, i64, n64, pad, u8, u16, u32, u64 } from './field.ts'
export { cFieldName, type FieldTable, type Infer, type Struct, type StructValue, struct } from './struct.ts'
