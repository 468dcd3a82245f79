// An HTTP proxy that stands before a storage service and spoils what passes: it refuses, resets, keeps silent, answers errors
// of its own, and ends answers early. Which request meets which fault is the test's choice.

import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Fault =
  /** The connection ends before any answer. */
  | { readonly kind: 'reset' }
  /** The request arrives and is done, but the connection ends before the answer. */
  | { readonly kind: 'lost answer' }
  /** No answer ever comes. */
  | { readonly kind: 'silence' }
  /** An answer of the proxy's own. */
  | { readonly kind: 'status'; readonly status: number; readonly code: string }
  /** The request is not done; the answer is 200 with an error in its body, as CopyObject of S3 may answer. */
  | { readonly kind: 'error in 200'; readonly code: string }
  /** The request is done, and answered when `until` settles. */
  | { readonly kind: 'late answer'; readonly until: () => Promise<unknown> }
  /** Half of the body, then the connection ends. */
  | { readonly kind: 'half body' }
  /** Half of the body, said to be all. */
  | { readonly kind: 'short body' }

export type FaultRule = (
  method: string,
  path: string,
  headers: IncomingMessage['headers'],
) => Fault | undefined

const healthy: FaultRule = () => undefined

export class FaultProxy {
  rule: FaultRule = healthy
  readonly #target: URL
  #server: Server | undefined
  #port = 0

  private constructor(target: string) {
    this.#target = new URL(target)
  }

  static async start(target: string): Promise<FaultProxy> {
    const proxy = new FaultProxy(target)
    await proxy.listen()
    return proxy
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** From now on connections are taken, on the same port as before. */
  async listen(): Promise<void> {
    const server = createServer((incoming, outgoing) => this.#serve(incoming, outgoing))
    this.#server = server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#port, '127.0.0.1', resolve)
    })
    this.#port = (server.address() as AddressInfo).port
  }

  /** From now on connections are refused; those that there are end. */
  async refuse(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    const closed = new Promise<void>(resolve => server.close(() => resolve()))
    server.closeAllConnections()
    await closed
  }

  heal(): void {
    this.rule = healthy
  }

  #serve(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const fault = this.rule(incoming.method ?? '', incoming.url ?? '', incoming.headers)
    if (fault?.kind === 'reset') {
      incoming.socket.resetAndDestroy()
      return
    }
    if (fault?.kind === 'silence' || fault?.kind === 'status' || fault?.kind === 'error in 200') {
      incoming.resume()
      if (fault.kind !== 'silence')
        answer(incoming, outgoing, fault.kind === 'status' ? fault.status : 200, fault.code)
      return
    }
    const { hostname, port } = this.#target
    // The host stays what the client signed.
    const { method, url, headers } = incoming
    const onward = request({ hostname, port, method, path: url, headers }, response =>
      deliver(response, outgoing, fault),
    )
    // Either side going away ends the other.
    onward.on('error', () => outgoing.destroy())
    outgoing.on('close', () => onward.destroy())
    incoming.pipe(onward)
  }
}

function answer(incoming: IncomingMessage, outgoing: ServerResponse, status: number, code: string): void {
  outgoing.writeHead(status, { 'content-type': 'application/xml' })
  outgoing.end(
    incoming.method === 'HEAD' ? undefined : `<Error><Code>${code}</Code><Message>no</Message></Error>`,
  )
}

function deliver(response: IncomingMessage, outgoing: ServerResponse, fault: Fault | undefined): void {
  const chunks: Buffer[] = []
  response.on('data', (chunk: Buffer) => chunks.push(chunk))
  response.on('error', () => outgoing.destroy())
  response.on('end', async () => {
    if (fault?.kind === 'late answer') await fault.until()
    const body = Buffer.concat(chunks)
    const half = body.subarray(0, Math.floor(body.byteLength / 2))
    switch (fault?.kind) {
      case 'lost answer':
        outgoing.socket?.resetAndDestroy()
        return
      case 'half body':
        outgoing.writeHead(response.statusCode ?? 502, response.headers)
        outgoing.write(half, () => outgoing.socket?.resetAndDestroy())
        return
      case 'short body':
        outgoing.writeHead(response.statusCode ?? 502, {
          ...response.headers,
          'content-length': half.byteLength,
        })
        outgoing.end(half)
        return
      default:
        outgoing.writeHead(response.statusCode ?? 502, response.headers)
        outgoing.end(body)
    }
  })
}
