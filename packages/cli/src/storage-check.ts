// Builds the operator and tests the storage, so that a wrong endpoint, bucket, folder or key is reported before a guest can
// connect. One cheap call tests every service; SQL tables and WebDAV servers are tested further.

import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  bindingBuild,
  type Capability,
  capabilityOf,
  type FoundTraits,
  findTraits,
  Operator,
  refusalOf,
  untestedTraits,
} from '@ovfs/opendal-fs'
import { CliError } from './error.ts'
import { requireFolder } from './host-folder.ts'
import { findObstacle, serverOf } from './reachability.ts'
import { findRefusal } from './redis-refusal.ts'
import type { Service } from './services/service.ts'
import { isUnavailable, readFailure, startError } from './storage-failure.ts'
import { tableFlaws } from './table-check.ts'
import type { Storage } from './uri.ts'

export interface CheckedStorage {
  readonly operator: Operator
  readonly capability: Capability
  /** Limits of this storage that the operator should know; one line each. */
  readonly warnings: readonly string[]
  readonly found: FoundTraits
  /** False if the service can list but the credentials may not. */
  readonly mayList: boolean
}

const HIDES_DOTS =
  'this server lists no names that begin with a dot (as nginx does): rmdir fails, because it would also delete such files of other programs, ' +
  'and moving a directory may fail; names that begin with a dot are stored as ovfs-y-... on this share'

const MAY_HIDE_DOTS =
  'could not test whether the server lists names that begin with a dot: rmdir fails, and moving a directory may fail, because they could ' +
  'delete such files; start ovfs again when the server answers'

/** No file of a guest has this key: names that begin with `.ovfs-` are reserved. */
const PROBE_KEY = '.ovfs-start-check'

export async function openStorage(
  storage: Storage,
  readOnly: boolean,
  timeoutMs: number,
): Promise<CheckedStorage> {
  const { service } = storage
  const options = service.name === 'fs' ? checkedFolder(storage.options, readOnly) : storage.options
  const operator = buildOperator(service, options)
  const capability = capabilityOf(operator, service.name)
  if (!capability.read) {
    throw new CliError(
      'SERVICE',
      `${service.name} cannot read in this version of OpenDAL`,
      'see ovfs services',
    )
  }
  const mayList = await check(operator, capability, service, options, timeoutMs)
  const checksTable = service.createTable !== undefined && capability.write && !readOnly
  const warnings = checksTable ? [...(await tableFlaws(operator, service, options, PROBE_KEY))] : []
  const found =
    capability.write && !readOnly ? await within(timeoutMs, findTraits(operator, service.name), service) : {}
  if (found.hidesDots) warnings.push(HIDES_DOTS)
  if (found.mayHideDots) warnings.push(MAY_HIDE_DOTS)
  if (!mayList) warnings.push(unlistable(service))
  return { operator, capability, mayList, warnings, found }
}

/** Resolves to the traits of an untested server if the server does not answer in time; the start does not fail for that. */
async function within(
  timeoutMs: number,
  finding: Promise<FoundTraits>,
  { name }: Service,
): Promise<FoundTraits> {
  const over = new AbortController()
  const untested = untestedTraits(name)
  const silence = sleep(timeoutMs, untested, { signal: over.signal }).catch(() => untested)
  try {
    return await Promise.race([finding, silence])
  } finally {
    over.abort()
  }
}

function unlistable({ name }: Service): string {
  return `${name} does not let the credentials list: ls shows only names that were created through ovfs without that right; other files can be opened by name, and directories that other programs made are missing. Grant the permission to list; if all files are missing, check the name of the storage`
}

/** Throws a CliError if the service is not there or refuses the options. Nothing is asked of a server yet. */
export function buildOperator(service: Service, options: Readonly<Record<string, string>>): Operator {
  try {
    return new Operator(service.name, { ...options })
  } catch (error) {
    const { fallback } = service
    const failure = readFailure(error)
    if (isUnavailable(failure)) {
      const { version } = bindingBuild
      throw new CliError('SERVICE', `OpenDAL ${version} has no ${service.name}`, 'see ovfs services', {
        cause: error,
      })
    }
    if (
      fallback !== undefined &&
      options[fallback.option] === undefined &&
      failure.message.includes(fallback.refusal)
    ) {
      return buildOperator(service, { ...options, [fallback.option]: fallback.value })
    }
    throw badValue(failure.message, service) ?? startError(error, service, options)
  }
}

/** The deserializer's words for a value that is no number, boolean or duration. */
function badValue(message: string, service: Service): CliError | undefined {
  const match = /parse config '(\w+)' with value '(.*)' failed for (.*)$/.exec(message)
  if (match === null) return undefined
  const expected = match[3]!.includes('bool')
    ? 'true or false'
    : match[3]!.includes('Int')
      ? 'a whole number'
      : 'another value'
  return new CliError('OPTION', `${service.name} cannot take the value of ${match[1]}`, `give ${expected}`)
}

/** OpenDAL would make a root that does not exist, and its stat('/') succeeds on one that has gone. */
function checkedFolder(
  options: Readonly<Record<string, string>>,
  readOnly: boolean,
): Readonly<Record<string, string>> {
  const root = resolve(options.root!)
  requireFolder(root, !readOnly, 'serve it with --read-only')
  return { ...options, root }
}

async function check(
  operator: Operator,
  capability: Capability,
  service: Service,
  options: Readonly<Record<string, string>>,
  timeoutMs: number,
): Promise<boolean> {
  const over = new AbortController()
  const server = serverOf(options)
  const obstacle = server === undefined ? Promise.resolve(undefined) : findObstacle(server, over.signal)

  const answered = async () => {
    try {
      return await probe(operator, capability)
    } catch (error) {
      // Only a request that got no answer has an obstacle for its reason.
      const unanswered = /send http request|connect/i.test(readFailure(error).message)
      throw startError(error, service, options, unanswered ? await obstacle : undefined)
    }
  }
  /** Connection pools go on trying for as long as they are let. */
  const refused = async (): Promise<never> => {
    const found = await obstacle
    if (found !== undefined && server?.viaHttp === false) throw unreachable(service, found)
    const refusal = service.name === 'redis' ? await findRefusal(options, over.signal) : undefined
    if (refusal !== undefined) throw startError(new Error(refusal), service, options)
    return new Promise<never>(() => {})
  }
  const late = async (): Promise<never> => {
    await sleep(timeoutMs, undefined, { signal: over.signal })
    over.abort()
    const found = await obstacle
    throw found === undefined ? silent(service, timeoutMs) : unreachable(service, found)
  }
  try {
    return await Promise.race([answered(), refused(), late()])
  } finally {
    over.abort()
  }
}

function unreachable(service: Service, obstacle: string): CliError {
  return new CliError(
    'STORAGE',
    `${service.name} does not work: ${obstacle}`,
    'check the endpoint and the network',
  )
}

/** The server can be reached, or none is known: a wrong password makes some services silent. */
function silent(service: Service, timeoutMs: number): CliError {
  const { credentials } = service
  const hint =
    credentials === undefined ? 'check the network' : `check the network and the credentials: ${credentials}`
  return new CliError(
    'STORAGE',
    `${service.name} does not work: no answer within ${timeoutMs / 1000} s`,
    hint,
  )
}

/** False if the credentials may not list. */
async function probe(operator: Operator, capability: Capability): Promise<boolean> {
  if (capability.list) {
    try {
      const lister = await operator.lister('/', { limit: 1 })
      await lister.next()
      return true
    } catch (error) {
      if (refusalOf(error) !== 'access') throw error
    }
    // The service knows the caller. A 403 is no error here: a caller that may not list gets it for an absent key too.
    try {
      await operator.read(PROBE_KEY, { offset: 0n, size: 1n })
    } catch (error) {
      if (readFailure(error).kind !== 'NotFound' && refusalOf(error) !== 'access') throw error
    }
    return false
  }
  try {
    await operator.stat(PROBE_KEY)
  } catch (error) {
    if (readFailure(error).kind !== 'NotFound') throw error
  }
  return true
}
