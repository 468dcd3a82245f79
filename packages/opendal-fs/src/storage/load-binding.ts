// Chooses the build of OpenDAL's Node binding. Its Linux binaries after 0.49.2 need glibc 2.38, so two builds are installed:
// the newer one is used where it loads, 0.49.2 elsewhere (Debian 12, Ubuntu 22.04).

import { dirname, isAbsolute, join } from 'node:path'

/** The last build whose Linux binary loads on a glibc before 2.38. */
export const OLD_VERSION = '0.49.2'
/** Names the build to use: `0.49.2`, `latest`, or the absolute path of a `.node` file. */
export const BINDING_VARIABLE = 'OVFS_OPENDAL'

/** What the loader needs from its environment; tests replace it. */
export interface LoadingHost {
  readonly require: NodeJS.Require
  readonly arch: string
  /** The value of BINDING_VARIABLE. */
  readonly wanted: string | undefined
}

export interface LoadedBinding<Native> {
  readonly native: Native
  /** Of the npm package, or the path that BINDING_VARIABLE names. */
  readonly version: string
  /** The newer build and why it is not used, if that is so. */
  readonly passedOver: { readonly version: string; readonly reason: string } | undefined
}

/** No build of OpenDAL's binding loads on this machine. */
export class BindingError extends Error {
  readonly code = 'BINDING'

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'BindingError'
  }
}

export function loadBinding<Native>(host: LoadingHost): LoadedBinding<Native> {
  const { wanted } = host
  if (wanted === undefined || wanted === '') return loadNewest(host)
  if (wanted === 'latest') return attempt(() => newest<Native>(host))
  if (wanted === OLD_VERSION) return attempt(() => old<Native>(host))
  if (!isAbsolute(wanted)) {
    const values = `${OLD_VERSION}, latest, or the absolute path of a .node file`
    throw new BindingError(`${BINDING_VARIABLE} must be ${values}, not ${JSON.stringify(wanted)}`)
  }
  return attempt(() => ({ native: host.require(wanted) as Native, version: wanted, passedOver: undefined }))
}

function loadNewest<Native>(host: LoadingHost): LoadedBinding<Native> {
  let failure: unknown
  try {
    return newest(host)
  } catch (error) {
    failure = error
  }
  try {
    const passedOver = { version: newestVersion(host), reason: reasonOf(failure) }
    return { ...old<Native>(host), passedOver }
  } catch (error) {
    // A missing fallback is no reason to report: it exists for glibc only.
    const cause = isAbsent(error) ? failure : error
    throw new BindingError(explanation(cause, host.arch), { cause: failure })
  }
}

function attempt<Native>(load: () => LoadedBinding<Native>): LoadedBinding<Native> {
  try {
    return load()
  } catch (error) {
    throw new BindingError(`${BINDING_VARIABLE}: ${explanation(error)}`, { cause: error })
  }
}

/** The package's CommonJS entry lacks most of the layers; generated.js has everything. */
function newest<Native>({ require }: LoadingHost): LoadedBinding<Native> {
  const manifest = require.resolve('opendal/package.json')
  const native = require(join(dirname(manifest), 'generated.js')) as Native
  return { native, version: versionOf(require, manifest), passedOver: undefined }
}

/** The binary alone: it exports what the newer build's generated.js does. */
function old<Native>({ require, arch }: LoadingHost): LoadedBinding<Native> {
  return {
    native: require(`opendal-for-old-glibc-${arch}`) as Native,
    version: OLD_VERSION,
    passedOver: undefined,
  }
}

function newestVersion({ require }: LoadingHost): string {
  return versionOf(require, 'opendal/package.json')
}

function versionOf(require: NodeJS.Require, manifest: string): string {
  return (require(manifest) as { version: string }).version
}

/** OpenDAL's loader tries several places and chains their errors in `cause`. The first one that is not "not found" is the reason. */
function attempts(error: unknown): readonly Error[] {
  const causes: unknown = error instanceof Error ? error.cause : undefined
  return Array.isArray(causes) ? causes.filter(cause => cause instanceof Error) : []
}

function reasonOf(error: unknown): string {
  const tried = attempts(error)
  const found = tried.find(cause => !isAbsent(cause))
  if (found !== undefined) return withoutPaths(found.message)
  return tried.length > 0 ? 'its native part is not installed' : withoutPaths(messageOf(error))
}

function explanation(error: unknown, arch: string = process.arch): string {
  const tried = attempts(error)
  const found = tried.find(cause => !isAbsent(cause))
  if (found !== undefined) return `OpenDAL cannot be loaded: ${firstLine(found.message)}`
  const name = tried.map(({ message }) => PACKAGE.exec(message)?.[1]).find(match => match !== undefined)
  if (name === undefined) return `OpenDAL cannot be loaded: ${firstLine(messageOf(error))}`
  return (
    `OpenDAL's native part for ${process.platform} on ${arch} is not installed: it is the npm package ${name}. ` +
    'If npm has none, ovfs cannot serve a storage on this machine; ' +
    'the packages below @ovfs/cli and @ovfs/opendal-fs work without it'
  )
}

const PACKAGE = /'(@opendal\/lib-[\w-]+)'/

function isAbsent(error: unknown): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND'
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text
}

/** `/lib/libc.so.6: version X not found (required by FILE)` → `version X not found`. */
function withoutPaths(text: string): string {
  return firstLine(text)
    .replace(/ \(required by .*\)$/, '')
    .replace(/^\/[^:]*: /, '')
}
