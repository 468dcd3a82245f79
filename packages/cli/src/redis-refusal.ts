// Why a Redis server refuses: OpenDAL's connection pool tries a wrong password again and again, and says nothing. So it is asked
// once directly, in the server's own protocol: arrays of strings there, and a line that begins with a minus for an error.

import { connect } from 'node:net'
import { singleLine } from './error.ts'

const LONGEST_ANSWER = 4096

/**
 * Resolves to what the server says against these credentials, or against the database; to undefined if it has nothing against them, cannot be asked
 * in the clear, or does not say anything that is known.
 */
export function findRefusal(
  options: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { endpoint, username, password, db } = options
  const url = endpoint === undefined ? undefined : parse(endpoint)
  if (url === undefined || !/^(redis|tcp):$/.test(url.protocol)) return Promise.resolve(undefined)
  const auth =
    password === undefined ? [] : [['AUTH', ...(username === undefined ? [] : [username]), password]]
  const select = db === undefined ? [] : [['SELECT', db]]
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  return new Promise(resolve => {
    const socket = connect({ host, port: Number(url.port || 6379) })
    let said = ''
    const finish = (refusal: string | undefined) => {
      signal.removeEventListener('abort', onAbort)
      socket.destroy()
      resolve(refusal)
    }
    const onAbort = () => finish(undefined)
    socket.setEncoding('utf8')
    socket.once('connect', () => socket.write([...auth, ...select, ['PING']].map(encode).join('')))
    socket.on('data', (text: string) => {
      said += text
      const refusal = /^-(?:ERR )?(.*)\r\n/m.exec(said)?.[1]
      if (refusal !== undefined) finish(singleLine(refusal).slice(0, 200))
      else if (said.includes('+PONG\r\n') || said.length > LONGEST_ANSWER) finish(undefined)
    })
    // What stands in the way of a connection is found elsewhere.
    socket.once('error', () => finish(undefined))
    socket.once('close', () => finish(undefined))
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
}

function parse(endpoint: string): URL | undefined {
  try {
    return new URL(endpoint.includes('://') ? endpoint : `redis://${endpoint}`)
  } catch {
    return undefined
  }
}

function encode(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map(word => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`
}
