// What OpenDAL's errors say, in one safe line. They carry everything in their text: kind, context (URLs, headers, response
// parts: never printed) and message. Shape: `Kind (status) at operation, context: { .. } => message, source: ..`.

import { CliError, singleLine } from './error.ts'
import type { Service } from './services/service.ts'

export interface StorageFailure {
  /** OpenDAL's error kind, or `Unknown` for a text of another shape. */
  readonly kind: string
  readonly message: string
  /** Of the HTTP response, if there was one. */
  readonly status?: number
}

/**
 * True if the binding cannot make an operator for the service at all. From 0.49.3 on it takes Koofr's email from a URI only,
 * which would lose the other options.
 */
export function isUnavailable({ kind, message }: StorageFailure): boolean {
  return kind === 'Unsupported' || message.includes('uri path must contain email')
}

const SHAPE = /^(\w+) \((?:permanent|temporary|persistent)\) at /
const LONGEST_MESSAGE = 300

export function readFailure(error: unknown): StorageFailure {
  const text = error instanceof Error ? error.message : String(error)
  const kind = SHAPE.exec(text)?.[1] ?? 'Unknown'
  const status = /\bresponse: Parts \{ status: (\d{3})\b/.exec(text)?.[1]
  return { kind, message: messageOf(text, kind), ...(status !== undefined && { status: Number(status) }) }
}

function messageOf(text: string, kind: string): string {
  if (kind === 'Unknown') return shorten(withoutUrls(text))
  // The context ends at the first `} =>`: what stands in front of it is ours or the response's head.
  const context = text.indexOf(', context: {')
  const arrow = text.indexOf(context < 0 ? ' => ' : ' } => ', Math.max(context, 0))
  const after = arrow < 0 ? '' : text.slice(arrow + (context < 0 ? 4 : 6))
  // S3Error { code: "AccessDenied", message: "...", resource: ... } and its likes.
  const fields = /\bcode: "([^"]*)"(?:.*?\bmessage: "([^"]*)")?/s.exec(after)
  if (fields !== null) return shorten([fields[1], fields[2]].filter(Boolean).join(', '))
  // GcsErrorResponse { error: GcsError { code: 404, message: "...", .. } }
  const numbered = /\bcode: \d+, message: "([^"]+)"/.exec(after)
  if (numbered !== null) return shorten(numbered[1]!)
  // A body that OpenDAL cannot parse: XML with a code, or an HTML page.
  const element = /<Code>([^<]*)<\/Code>(?:\s*<Message>([^<]*)<\/Message>)?/s.exec(after)
  if (element !== null) return shorten([element[1], element[2]].filter(Boolean).join(', '))
  if (after !== '' && !/^\s*</.test(after)) return shorten(withoutUrls(after))
  const status = /\bstatus: (\d{3})\b/.exec(text)?.[1]
  return status === undefined ? kind : `HTTP status ${status}`
}

function withoutUrls(text: string): string {
  return text
    .replace(/ for url \([^)]*\)/g, '')
    .replace(/([a-z][a-z0-9+.-]*):\/\/[^\s"')]*/gi, (_, scheme: string) => `${scheme}://...`)
}

function shorten(text: string): string {
  const line = singleLine(text)
  return line.length <= LONGEST_MESSAGE ? line : `${line.slice(0, LONGEST_MESSAGE)}...`
}

type Options = Readonly<Record<string, string>>

interface Advice {
  readonly kind?: string
  readonly status?: number
  readonly text?: RegExp
  readonly hint: (service: Service, options: Options) => string | undefined
}

/** Which credentials to give; never the given values. */
function credentials({ credentials }: Service, { allow_anonymous }: Options): string | undefined {
  if (allow_anonymous !== 'true' || credentials === undefined) return credentials
  return `anonymous access is refused: ${credentials.replace(', or allow_anonymous=true', '')}`
}

function isWithoutScheme({ endpoint }: Options): boolean {
  return endpoint !== undefined && /^[^\s/?#]+(?:\/\S*)?$/.test(endpoint) && !endpoint.includes('://')
}

/** What to do if the root of the share does not exist. */
function missingRoot({ place }: Service, options: Options): string {
  if (place.kind !== 'bucket') return 'check the path and the endpoint: nothing is there'
  const noun = place.option === 'share_name' || place.option === 'repo_name' ? 'share' : place.option
  return `create the ${noun} ${options[place.option] ?? ''} first, or check its name and the endpoint`
}

/** Options that identify the caller. */
const KEYS = ['access_key_id', 'account_key', 'sas_token', 'credential', 'credential_path', 'token']

/** The first row that fits says what to do. */
const ADVICE: readonly Advice[] = [
  { text: /load(ing)? (the )?credential|credential is empty|no valid credential/i, hint: credentials },
  {
    text: /^(?:AccessDenied|Forbidden|AuthorizationPermissionMismatch)\b/,
    hint: (service, options) =>
      KEYS.some(name => options[name] !== undefined)
        ? 'the credentials are accepted, but lack this permission: grant it, or check the name of the storage'
        : credentials(service, options),
  },
  {
    kind: 'PermissionDenied',
    hint: (service, options) => credentials(service, options) ?? 'check the permissions',
  },
  { status: 401, hint: (service, options) => credentials(service, options) ?? 'check the permissions' },
  {
    text: /InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|status 40[13]|status: 40[13]/,
    hint: credentials,
  },
  { text: /authentication|AUTH|password/, hint: credentials },
  {
    text: /NoSuchBucket|bucket does not exist|ContainerNotFound|FilesystemNotFound|ShareNotFound/i,
    hint: missingRoot,
  },
  { kind: 'NotFound', status: 404, hint: missingRoot },
  {
    text: /PermanentRedirect|AuthorizationHeaderMalformed|status 301|IllegalLocationConstraint/,
    hint: () => 'the bucket is in another region: give region=NAME',
  },
  {
    text: /no such table|relation .* does not exist|Table .* doesn't exist/i,
    hint: ({ createTable }, options) => createTable && `create it first: ${createTable(options)}`,
  },
  {
    text: /unable to open database file/,
    hint: () => 'create the database first; its folder must be writable',
  },
  {
    text: /send http request|Connection refused|dns error/,
    hint: (_, options) => (isWithoutScheme(options) ? schemeAdvice(options) : 'check the endpoint'),
  },
  {
    text: /building http request|invalid uri|invalid format|endpoint is invalid/,
    hint: (_, options) =>
      isWithoutScheme(options) ? schemeAdvice(options) : 'check the endpoint: it is a URL',
  },
]

function schemeAdvice({ endpoint }: Options): string {
  return `give the endpoint with its scheme: endpoint=http://${endpoint} or endpoint=https://${endpoint}`
}

/** What to do about a failure, if it is one of those that are known. */
export function adviceFor(failure: StorageFailure, service: Service, options: Options): string | undefined {
  const row = ADVICE.find(
    ({ kind, status, text }) =>
      (kind === undefined || kind === failure.kind) &&
      (status === undefined || status === failure.status) &&
      (text === undefined || text.test(failure.message)),
  )
  return row?.hint(service, options)
}

/** Kinds whose name adds nothing to the message. */
const SILENT_KINDS: ReadonlySet<string> = new Set(['Unknown', 'Unexpected', 'ConfigInvalid'])

/**
 * The error to tell when the service refuses at the start.
 * @param finding the reason, where it is known better than OpenDAL says it
 */
export function startError(error: unknown, service: Service, options: Options, finding?: string): CliError {
  const failure = readFailure(error)
  const said = SILENT_KINDS.has(failure.kind) ? failure.message : `${failure.kind}, ${failure.message}`
  const hint = adviceFor(failure, service, options) ?? `see ovfs services ${service.name}`
  return new CliError('STORAGE', `${service.name} does not work: ${finding ?? said}`, hint, { cause: error })
}
