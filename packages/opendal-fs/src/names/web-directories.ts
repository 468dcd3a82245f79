// Directories of a web server, which cannot be listed and of which nothing is certain: OpenDAL takes every name with a slash behind
// it for a directory. What can be asked for is the name without the slash. Servers answer that with 404 if they know only whole
// paths, with a redirection to a page if they have an index, and with 403 if they have a directory but no index.

import type { ObjectInfo, Storage } from '../storage/storage.ts'
import { StorageError } from '../storage/storage-error.ts'

const DIRECTORY: ObjectInfo = { kind: 'directory', size: 0, mtime: undefined, etag: undefined }

/** An extension begins with a letter: `v1.2` and `python3.11` have none. */
const EXTENSION = /\.[A-Za-z][A-Za-z0-9_~-]*$/

/** A file if the server has one. Other names without an extension are directories, so that what lies below them can be reached. */
export async function statWeb(storage: Storage, key: string): Promise<ObjectInfo | undefined> {
  const mayBeDirectory = !EXTENSION.test(key.slice(key.lastIndexOf('/') + 1))
  let info: ObjectInfo | undefined
  try {
    info = await storage.stat(key)
  } catch (error) {
    if (mayBeDirectory && error instanceof StorageError && error.code === 'EACCES') return DIRECTORY
    throw error
  }
  if (!mayBeDirectory) return info
  return info === undefined || isIndex(info) ? DIRECTORY : info
}

/** The page that a server makes of a directory has no version, unlike a file. */
function isIndex({ contentType, etag, mtime }: ObjectInfo): boolean {
  return contentType?.startsWith('text/html') === true && etag === undefined && mtime === undefined
}
