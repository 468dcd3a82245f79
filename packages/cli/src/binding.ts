// OpenDAL's native part, which npm installs as a package of its own for each kind of machine. Where it is missing or cannot be
// loaded, OpenDAL's own message is a stack trace that advises to install again; this says what is missing.

import { singleLine } from './error.ts'

const PACKAGE = /'(@opendal\/lib-[\w-]+)'/

/** What to tell the user when importing OpenDAL has failed. */
export function bindingFailure(error: unknown, platform = `${process.platform} on ${process.arch}`): string {
  // The loader tries several places, and keeps the error of each.
  const causes: unknown = error instanceof Error ? error.cause : undefined
  const tried = Array.isArray(causes) ? causes.filter(cause => cause instanceof Error) : []
  const found = tried.find(cause => !isAbsent(cause))
  if (found !== undefined) return `OpenDAL cannot be loaded: ${singleLine(found.message)}`
  const name = tried.map(({ message }) => PACKAGE.exec(message)?.[1]).find(match => match !== undefined)
  if (name === undefined)
    return `OpenDAL cannot be loaded: ${singleLine(error instanceof Error ? error.message : String(error))}`
  return (
    `OpenDAL's native part for ${platform} is not installed: it is the npm package ${name}. If npm has none, ` +
    'ovfs cannot serve a storage on this machine; the packages below @ovfs/cli and @ovfs/opendal-fs work without it'
  )
}

function isAbsent(error: Error): boolean {
  return (error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND'
}
