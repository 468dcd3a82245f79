// A storage URI and its `-o` options → the service and the options that OpenDAL is given. Everything here is a person's
// typing: each mistake has its own message. Percent signs encode bytes in every part; `+` stands for itself.

import { CliError } from './error.ts'
import { nearest } from './nearest.ts'
import { resolveValue, type SecretSources } from './secret.ts'
import type { Service } from './services/service.ts'
import { FOREIGN_SCHEMES, SCHEME_ALIASES, SECRET_OPTIONS, SERVICES } from './services/table.ts'

export interface Storage {
  readonly service: Service
  readonly options: Readonly<Record<string, string>>
  /** What is served, for the log: the URI without its query and user. */
  readonly display: string
  /** Which storage this is among all, whatever the credentials: what belongs to it is not to be put into another one. */
  readonly place: string
  /** Values that must not be printed. */
  readonly secrets: readonly string[]
  /** Names of secret options whose value stands on the command line. */
  readonly exposed: readonly string[]
}

/** Options that say where a storage is. */
const PLACE_OPTIONS =
  /^(?:root|endpoint|bucket|container|share_name|account_name|operator|connection_string|database|db|table|collection|tree|segment|datadir|datafile|repo_(?:id|name|type)|revision)$/

const SHAPE = /^([A-Za-z][A-Za-z0-9+._-]*):\/\/([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/

interface Parts {
  readonly scheme: string
  readonly authority: string
  readonly path: string
  readonly query: readonly (readonly [string, string])[]
}

/**
 * @param assignments the `-o` options, as typed: `key=value`, `key=env:NAME`, `key=file:PATH`; they win over the URI
 */
export function parseStorage(uri: string, assignments: readonly string[], sources: SecretSources): Storage {
  const parts = split(uri)
  const alias = SCHEME_ALIASES.get(parts.scheme)
  const service = findService(alias?.service ?? parts.scheme)
  const options = new Map<string, string>()
  const exposed = new Set<string>()

  const own = new Map<string, string>()
  const foreign: string[] = []
  for (const [name, value] of parts.query) {
    if (service.options.includes(name)) own.set(name, value)
    else if (service.place.kind === 'connection') foreign.push(`${name}=${encodeURIComponent(value)}`)
    else own.set(checkedName(service, name), value)
  }
  place(service, parts, alias?.protocol, foreign, options)
  if (parts.authority.includes('@') && options.has('connection_string')) exposed.add('connection_string')
  if (options.has('password')) exposed.add('password')

  for (const [name, value] of own) {
    if (SECRET_OPTIONS.has(name)) {
      // SQLite has connection strings that begin so.
      if (/^(?:env|file):/.test(value) && name !== 'connection_string') {
        throw new CliError('OPTION', `?${name}= takes the value itself`, `write -o ${name}=${value} instead`)
      }
      exposed.add(name)
    }
    options.set(name, value)
  }
  const secrets = new Set<string>()
  for (const assignment of assignments) {
    const at = assignment.indexOf('=')
    if (at <= 0) throw new CliError('OPTION', 'the value of -o is not KEY=VALUE')
    const name = checkedName(service, assignment.slice(0, at))
    const { value, inClear } = resolveValue(name, assignment.slice(at + 1), sources)
    options.set(name, value)
    exposed.delete(name)
    if (!inClear) secrets.add(value)
    else if (SECRET_OPTIONS.has(name)) exposed.add(name)
  }
  // A connection string is a secret only if it holds one.
  if (!hasPassword(options.get('connection_string'))) exposed.delete('connection_string')

  fillIn(service, options)
  for (const [name, value] of options) {
    if (SECRET_OPTIONS.has(name) && (name !== 'connection_string' || hasPassword(value))) secrets.add(value)
  }
  return {
    service,
    options: Object.fromEntries(options),
    display: `${parts.scheme}://${parts.authority.replace(/^.*@/, '')}${parts.path}`,
    place: placeOf(service, options),
    secrets: [...secrets],
    exposed: [...exposed],
  }
}

function split(uri: string): Parts {
  const match = SHAPE.exec(uri)
  if (match === null) throw shapeError(uri)
  const [, scheme, authority, path, query] = match
  return {
    scheme: scheme!.toLowerCase().replaceAll('_', '-'),
    authority: authority!,
    path: decode(path ?? '', 'the path'),
    query: (query ?? '')
      .split('&')
      .filter(pair => pair !== '')
      .map(pair => {
        const at = pair.indexOf('=')
        if (at <= 0) throw new CliError('OPTION', 'an option in the query of the URI is not KEY=VALUE')
        const name = decode(pair.slice(0, at), 'an option name')
        return [name, decode(pair.slice(at + 1), `the value of ${name}`)] as const
      }),
  }
}

function shapeError(uri: string): CliError {
  if (/^(?:\/|\.\.?\/|~)/.test(uri)) {
    return new CliError('USAGE', 'a storage is given as a URI', 'a folder is fs:///absolute/path')
  }
  if (uri.includes('#')) return new CliError('USAGE', 'a URI of a storage has no fragment', 'write # as %23')
  const scheme = /^([A-Za-z][\w+.-]*):/.exec(uri)?.[1]
  if (scheme === undefined) {
    const service = SERVICES.has(uri) ? `${uri}://` : 'SERVICE://'
    return new CliError(
      'USAGE',
      'a storage is given as a URI',
      `it begins with ${service}; see ovfs services`,
    )
  }
  return new CliError('USAGE', `the URI does not have the form ${scheme}://HOST/PATH?KEY=VALUE`)
}

function findService(name: string): Service {
  const service = SERVICES.get(name)
  if (service !== undefined) return service
  const known = FOREIGN_SCHEMES.get(name)
  if (known !== undefined) throw new CliError('SERVICE', `unknown service ${JSON.stringify(name)}`, known)
  const near = nearest(name, [...SERVICES.keys(), ...SCHEME_ALIASES.keys()])
  const hint = near === undefined ? 'see ovfs services' : `did you mean ${near}://?`
  throw new CliError('SERVICE', `unknown service ${JSON.stringify(name)}`, hint)
}

function checkedName(service: Service, name: string): string {
  if (service.options.includes(name)) return name
  const near = nearest(name, service.options)
  const hint = near === undefined ? `it takes ${service.options.join(', ')}` : `did you mean ${near}?`
  throw new CliError('OPTION', `${service.name} has no option ${JSON.stringify(name)}`, hint)
}

function place(
  service: Service,
  parts: Parts,
  protocol: string | undefined,
  foreign: readonly string[],
  options: Map<string, string>,
): void {
  const { authority, path } = parts
  const setRoot = (root: string) => {
    if (/^\/*$/.test(root)) return
    // OpenDAL would resolve the dots outside the prefix: into another bucket.
    if (root.split('/').some(segment => segment === '.' || segment === '..')) {
      throw new CliError('OPTION', 'the path of the URI must not contain . or ..')
    }
    if (!service.options.includes('root')) throw new CliError('OPTION', `${service.name} takes no path`)
    options.set('root', root)
  }
  const noAuthority = () => {
    if (authority === '') return
    const hint = `write ${service.name}:///${authority}${path}`
    throw new CliError('OPTION', `${service.name}:// has no host: the path begins with a third slash`, hint)
  }
  switch (service.place.kind) {
    case 'root':
      noAuthority()
      setRoot(path)
      return
    case 'local':
      noAuthority()
      if (path !== '') options.set(service.place.option, `${service.place.prefix ?? ''}${path}`)
      return
    case 'bucket':
      setRoot(path)
      if (takeAzureAccount(service, authority, options)) return
      if (authority.includes('@'))
        throw new CliError('OPTION', `${service.name}:// takes no user`, service.credentials)
      if (authority !== '') options.set(service.place.option, decode(authority, 'the host'))
      return
    case 'repository': {
      const [repository, ...rest] = path.replace(/^\//, '').split('/')
      if (authority !== '')
        options.set(service.place.option, `${decode(authority, 'the host')}/${repository}`)
      setRoot(`/${rest.join('/')}`)
      return
    }
    case 'server': {
      if (authority !== '') {
        const at = authority.lastIndexOf('@')
        options.set('endpoint', `${protocol ?? service.place.protocol}://${authority.slice(at + 1)}`)
        if (at >= 0) takeUser(service, authority.slice(0, at), options)
      }
      const { database } = service.place
      const number = database === undefined ? null : /^\/(\d+)(?=\/|$)/.exec(path)
      if (database !== undefined && number !== null) options.set(database, number[1]!)
      setRoot(number === null ? path : path.slice(number[0].length))
      return
    }
    case 'connection': {
      if (authority === '') {
        if (path !== '' || foreign.length > 0)
          throw new CliError('OPTION', `${service.name}:// has no host`, service.form)
        return
      }
      const query = foreign.length === 0 ? '' : `?${foreign.join('&')}`
      const scheme = protocol ?? (service.name === 'gridfs' ? 'mongodb' : service.name)
      options.set('connection_string', `${scheme}://${authority}${encodeURI(path)}${query}`)
    }
  }
}

/** Hadoop's form for Azure: `abfss://FILESYSTEM@ACCOUNT.dfs.core.windows.net/PATH`. */
function takeAzureAccount(service: Service, authority: string, options: Map<string, string>): boolean {
  const match = /^([^@:]+)@(([^.@:]+)\.[^@]+)$/.exec(authority)
  if (match === null || service.place.kind !== 'bucket' || !service.name.startsWith('az')) return false
  const [, container, host, account] = match
  options.set(service.place.option, decode(container!, 'the host'))
  options.set('endpoint', `https://${host}`)
  options.set('account_name', account!)
  return true
}

function takeUser(service: Service, userInfo: string, options: Map<string, string>): void {
  const [user, ...rest] = userInfo.split(':')
  const name = service.options.find(option => option === 'username' || option === 'user_name')
  if (name === undefined) throw new CliError('OPTION', `${service.name} takes no user`)
  options.set(name, decode(user!, 'the user'))
  if (rest.length === 0) return
  if (!service.options.includes('password')) throw new CliError('OPTION', `${service.name} takes no password`)
  options.set('password', decode(rest.join(':'), 'the password'))
}

function fillIn(service: Service, options: Map<string, string>): void {
  for (const [name, template] of Object.entries(service.defaults ?? {})) {
    if (options.has(name)) continue
    const wanted = [...template.matchAll(/\{(\w+)\}/g)].map(match => match[1]!)
    if (!wanted.every(other => options.has(other))) continue
    options.set(
      name,
      template.replaceAll(/\{(\w+)\}/g, (_, other: string) => options.get(other)!),
    )
  }
  const { anonymous } = service
  if (anonymous !== undefined && options.get('allow_anonymous') === 'true') {
    if (!anonymous.unless.some(name => options.has(name))) {
      for (const [name, value] of Object.entries(anonymous.options))
        if (!options.has(name)) options.set(name, value)
    }
  }
  for (const name of service.required ?? []) {
    if (options.has(name)) continue
    const how = SECRET_OPTIONS.has(name) ? `give -o ${name}=env:NAME or -o ${name}=file:PATH` : service.form
    throw new CliError('OPTION', `${service.name} needs the option ${name}`, how)
  }
}

function placeOf(service: Service, options: ReadonlyMap<string, string>): string {
  const parts = [...options].filter(([name]) => PLACE_OPTIONS.test(name)).sort(([a], [b]) => (a < b ? -1 : 1))
  const place = parts.map(([name, value]) => {
    const isAddress = name === 'endpoint' || name === 'connection_string'
    // Users, passwords and parameters are how to get there.
    const plain = isAddress ? value.replace(/:\/\/[^/?#]*@/, '://').replace(/[?;].*$/s, '') : value
    return `${name}=${encodeURI(plain.replace(/(?<=.)\/+$/, ''))}`
  })
  return [service.name, ...place].join(' ')
}

function hasPassword(connectionString: string | undefined): boolean {
  return connectionString !== undefined && /:\/\/[^/?#@]*:[^/?#]+@|[?&;]password=/i.test(connectionString)
}

function decode(text: string, what: string): string {
  let decoded: string
  try {
    decoded = decodeURIComponent(text)
  } catch (error) {
    throw new CliError('USAGE', `${what} of the URI is not valid percent-encoding`, 'write % as %25', {
      cause: error,
    })
  }
  if (decoded.includes('\0')) throw new CliError('USAGE', `${what} of the URI contains a NUL`)
  return decoded
}
