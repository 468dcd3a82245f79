// Why a server does not answer: OpenDAL says only that a request failed, and its connection pools retry in silence.

import { connect } from 'node:net'

const DEFAULT_PORTS: Readonly<Record<string, number>> = {
  'http:': 80,
  'https:': 443,
  'tcp:': 11211,
  'redis:': 6379,
  'rediss:': 6379,
  'postgresql:': 5432,
  'postgres:': 5432,
  'mysql:': 3306,
  'mongodb:': 27017,
}

export interface Server {
  readonly host: string
  readonly port: number
  /** Requests may go through a proxy: that this host cannot reach the server says nothing yet. */
  readonly viaHttp: boolean
}

/** The one server that these options name, or undefined if they name none, several, or in a way that is not known here. */
export function serverOf(options: Readonly<Record<string, string>>): Server | undefined {
  const text = options.endpoint ?? options.connection_string
  if (text === undefined) return undefined
  let url: URL
  try {
    url = new URL(text.includes('://') ? text : `https://${text}`)
  } catch {
    return undefined
  }
  const port = url.port === '' ? DEFAULT_PORTS[url.protocol] : Number(url.port)
  if (port === undefined || url.hostname === '') return undefined
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port, viaHttp: /^https?:$/.test(url.protocol) }
}

/** Connects once and hangs up. Resolves to what stands in the way, or to undefined if a connection could be made. */
export function findObstacle(server: Server, signal: AbortSignal): Promise<string | undefined> {
  const name = `${server.host}:${server.port}`
  return new Promise(resolve => {
    const socket = connect({ host: server.host, port: server.port })
    const finish = (obstacle: string | undefined) => {
      signal.removeEventListener('abort', onAbort)
      socket.destroy()
      resolve(obstacle)
    }
    const onAbort = () => finish(`no answer from ${name}`)
    socket.once('connect', () => finish(undefined))
    socket.once('error', (error: NodeJS.ErrnoException) => finish(describe(error.code, name, server.host)))
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
}

function describe(code: string | undefined, name: string, host: string): string {
  switch (code) {
    case 'ECONNREFUSED':
      return `nothing listens on ${name}`
    case 'ENOTFOUND':
      return `there is no host named ${host}`
    case 'EAI_AGAIN':
      return `the name ${host} cannot be resolved now`
    case 'ETIMEDOUT':
      return `no answer from ${name}`
    default:
      return `${name} cannot be reached (${code})`
  }
}
