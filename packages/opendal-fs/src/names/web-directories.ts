// Guesses which names on a web server are directories. A web server cannot be listed, and OpenDAL reports every name with a slash at
// its end as a directory. So ovfs requests the name without the slash. For a directory, a server answers 404 if it knows only whole
// paths, redirects to a page if it has an index, and answers 403 if it has no index.

import type { ObjectInfo, Storage } from '../storage/storage.ts'
import { StorageError } from '../storage/storage-error.ts'

const DIRECTORY: ObjectInfo = { kind: 'directory', size: 0, mtime: undefined, etag: undefined }

/** An extension begins with a letter: `v1.2` and `python3.11` have none. */
const EXTENSION = /\.[A-Za-z][A-Za-z0-9_~-]*$/

/** A file if the server has one. Every other name without an extension is a directory, so that files below it can be reached. */
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

/** The index page that a server generates for a directory has no ETag and no time, unlike a file. */
function isIndex({ contentType, etag, mtime }: ObjectInfo): boolean {
  return contentType?.startsWith('text/html') === true && etag === undefined && mtime === undefined
}
