// Why the socket cannot be listened on, and what to do.

import { dirname } from 'node:path'
import { VhostUserError } from '@ovfs/virtio-fs'
import { CliError } from './error.ts'
import type { Endpoint } from './settings.ts'

type Told = readonly [message: string, hint?: string | undefined]

/** A CliError for what a person can mend; any other error as it is. */
export function listenError(error: unknown, endpoint: Endpoint): unknown {
  if (!(error instanceof VhostUserError)) return error
  const [message, hint] =
    endpoint.kind === 'path' ? pathError(error, endpoint.path) : fdError(error, endpoint.fd)
  return new CliError('SOCKET', message, hint, { cause: error })
}

function pathError({ code, errno, message }: VhostUserError, path: string): Told {
  const folder = dirname(path)
  switch (code) {
    case 'SOCKET_IN_USE':
      return [`another process listens on ${path}`, 'end it, or choose another path']
    case 'NOT_A_SOCKET':
      return [`${path} exists and is not a socket`, 'remove it, or choose another path']
    case 'SYSTEM_CALL':
      return [`cannot listen on ${path} (${errno ?? message})`, pathHint(errno, folder)]
    default:
      return [message]
  }
}

function pathHint(errno: string | undefined, folder: string): string {
  if (errno === 'ENOENT') return `mkdir -p ${folder}`
  if (errno === 'EACCES' || errno === 'EPERM')
    return `this user may not make files in ${folder}: choose another path`
  return 'choose another path'
}

function fdError({ code, errno, message }: VhostUserError, fd: number): Told {
  const hint = `descriptor ${fd} has to be a Unix socket on which somebody has called listen`
  if (code === 'SYSTEM_CALL') return [`--fd ${fd} cannot be used (${errno ?? message})`, hint]
  return [message, code === 'NOT_A_SOCKET' ? hint : undefined]
}
