// Folders of the host that have to be there and usable before anything is served from them or kept in them.

import { accessSync, constants, statSync } from 'node:fs'
import { CliError } from './error.ts'

/**
 * Throws a CliError unless `path` is a folder that this process may list and, if `writable`, change.
 * @param otherwise what to do if it is there and its permissions forbid it
 */
export function requireFolder(path: string, writable: boolean, otherwise: string): void {
  try {
    if (!statSync(path).isDirectory())
      throw new CliError('STORAGE', `${path} is not a folder`, 'give a folder')
    accessSync(path, constants.R_OK | constants.X_OK | (writable ? constants.W_OK : 0))
  } catch (error) {
    if (error instanceof CliError) throw error
    const [message, hint] = describe((error as NodeJS.ErrnoException).code, path, otherwise)
    throw new CliError('STORAGE', message, hint, { cause: error })
  }
}

function describe(errno: string | undefined, path: string, otherwise: string): readonly [string, string] {
  switch (errno) {
    case 'ENOENT':
      return [`the folder ${path} does not exist`, `mkdir -p ${path}`]
    case 'ENOTDIR':
      return [`${path} lies below a file`, 'give a folder']
    case 'EROFS':
      return [`${path} is on a read-only file system`, otherwise]
    default:
      return [`no permission on the folder ${path} (${errno})`, `check its permissions, or ${otherwise}`]
  }
}
