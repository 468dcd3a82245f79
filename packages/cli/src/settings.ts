// What `ovfs serve` was told, checked as a whole.

import type { Invocation, Values } from './command.ts'
import type { serveCommand } from './commands.ts'
import { CliError } from './error.ts'
import type { LogFormat, LogLevel } from './log.ts'

export type Endpoint =
  | { readonly kind: 'path'; readonly path: string }
  /** With the name of its socket unit, if a service manager listens. */
  | { readonly kind: 'fd'; readonly fd: number; readonly unit?: string }

export interface ServeSettings {
  readonly uri: string
  readonly assignments: readonly string[]
  readonly endpoint: Endpoint
  readonly socketMode: number | undefined
  readonly socketGroup: string | undefined
  readonly once: boolean
  /** Leave the front-end to the next daemon, if there is a service manager that keeps it so long. */
  readonly keepsFrontend: boolean
  readonly tag: string | undefined
  readonly requestQueues: number
  readonly readOnly: boolean
  readonly timeoutMs: number
  readonly shutdownTimeoutMs: number
  readonly files: FileSettings
  readonly logLevel: LogLevel
  readonly logFormat: LogFormat
}

/** How files look in the guest and what they may cost on the host. */
export interface FileSettings {
  readonly uid: number
  readonly gid: number
  readonly fileMode: number
  readonly dirMode: number
  readonly attrs: 'sidecar' | 'none'
  readonly userMetadata: boolean
  readonly attrTtlMs: number
  readonly entryTtlMs: number
  readonly cacheBytes: number
  readonly stagingDir: string | undefined
  readonly stateDir: string | undefined
  readonly writeBack: boolean
  readonly capacityBytes: number | undefined
  readonly maxBytes: number | undefined
  readonly maxFiles: number | undefined
}

type ServeOptions = (typeof serveCommand)['options']

export function serveSettings(invocation: Invocation<ServeOptions>): ServeSettings {
  const { values } = invocation
  const endpoint = endpointOf(values)
  if (
    endpoint.kind === 'fd' &&
    (values['socket-mode'] !== undefined || values['socket-group'] !== undefined)
  ) {
    throw usage('--socket-mode and --socket-group are for --socket: who made the socket of --fd has set them')
  }
  if (values['write-back'] && values['state-dir'] === undefined) {
    throw usage('--write-back needs --state-dir, the folder that keeps closed data until it is published')
  }
  return {
    uri: invocation.argument!,
    assignments: values.option,
    endpoint,
    socketMode: values['socket-mode'] ?? (values['socket-group'] === undefined ? undefined : 0o660),
    socketGroup: values['socket-group'],
    once: values.once,
    keepsFrontend: values['state-dir'] !== undefined && !values['no-fd-store'],
    tag: values.tag,
    requestQueues: values.queues,
    readOnly: values['read-only'],
    timeoutMs: values.timeout,
    shutdownTimeoutMs: values['shutdown-timeout'],
    files: {
      uid: values.uid,
      gid: values.gid,
      fileMode: values['file-mode'],
      dirMode: values['dir-mode'],
      attrs: values.attrs,
      userMetadata: values['user-metadata'],
      attrTtlMs: values['attr-ttl'],
      entryTtlMs: values['entry-ttl'],
      cacheBytes: values['cache-size'],
      stagingDir: values['staging-dir'],
      stateDir: values['state-dir'],
      writeBack: values['write-back'],
      capacityBytes: values.capacity,
      maxBytes: values['max-bytes'],
      maxFiles: values['max-files'],
    },
    logLevel: values['log-level'],
    logFormat: values['log-format'],
  }
}

function endpointOf(values: Values<ServeOptions>): Endpoint {
  const given = [values.socket, values['socket-path'], values.fd].filter(value => value !== undefined)
  if (given.length > 1) throw usage('give only one of --socket, --socket-path and --fd')
  if (values.fd !== undefined) {
    if (values.fd <= 2) throw usage(`--fd ${values.fd} is a standard stream`)
    return { kind: 'fd', fd: values.fd }
  }
  const path = values.socket ?? values['socket-path']
  if (path === undefined) throw usage('--socket is missing, the path to which a front-end connects')
  return { kind: 'path', path }
}

function usage(message: string): CliError {
  return new CliError('USAGE', message, 'see ovfs help serve')
}
