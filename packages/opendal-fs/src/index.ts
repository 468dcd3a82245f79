export { ConflictError } from './conflict.ts'
export { OpendalFs } from './opendal-fs.ts'
export type { OpendalFsOptions } from './options.ts'
export { StorageError, type StorageErrorKind } from './storage-error.ts'
