// An HTTP proxy whose lines are slow: it passes the bodies of chosen requests and answers at a rate, delays answers, or keeps
// silent from some byte on. Which request meets what is the test's choice.

import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Slowness {
  /** Of the body, in both directions. */
  readonly bytesPerSecond?: number
  /** Before the answer begins. */
  readonly delayMs?: number
  /** The proxy's own answer, to a request that the service does not get. */
  readonly answer?: string
  /** Nothing comes after so many bytes of the request or of its answer. */
  readonly silentAfter?: number
}

export type SlowRule = (
  method: string,
  path: string,
  headers: IncomingMessage['headers'],
) => Slowness | undefined

const STEP_MS = 20

export class SlowLine {
  rule: SlowRule = () => undefined
  /** Requests that have arrived, as `METHOD url`. */
  readonly requests: string[] = []
  readonly #target: URL
  readonly #server = createServer((incoming, outgoing) => {
    this.#serve(incoming, outgoing).catch(() => outgoing.destroy())
  })

  private constructor(target: string) {
    this.#target = new URL(target)
  }

  static async start(target: string): Promise<SlowLine> {
    const line = new SlowLine(target)
    await new Promise<void>(resolve => line.#server.listen(0, '127.0.0.1', resolve))
    return line
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    const closed = new Promise<void>(resolve => this.#server.close(() => resolve()))
    this.#server.closeAllConnections()
    await closed
  }

  async #serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const { hostname, port } = this.#target
    const { method = '', url = '', headers } = incoming
    this.requests.push(`${method} ${url}`)
    const slowness = this.rule(method, url, headers) ?? {}
    const body = await read(incoming)
    if (slowness.silentAfter !== undefined && body.byteLength >= slowness.silentAfter && body.byteLength > 0)
      return
    if (slowness.bytesPerSecond !== undefined) await sleep((body.byteLength / slowness.bytesPerSecond) * 1000)
    if (slowness.answer !== undefined) {
      if (slowness.delayMs !== undefined) await sleep(slowness.delayMs)
      outgoing.writeHead(200, { 'content-type': 'application/xml' }).end(slowness.answer)
      return
    }
    // The host stays what the client signed.
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      request({ hostname, port, method, path: url, headers }, resolve).on('error', reject).end(body)
    })
    const content = await read(answer)
    if (slowness.delayMs !== undefined) await sleep(slowness.delayMs)
    const { 'transfer-encoding': _, ...kept } = answer.headers
    outgoing.writeHead(answer.statusCode ?? 502, {
      ...kept,
      ...(method === 'HEAD' ? {} : { 'content-length': String(content.byteLength) }),
    })
    const end = Math.min(content.byteLength, slowness.silentAfter ?? content.byteLength)
    const begun = performance.now()
    const due = () =>
      ((performance.now() - begun) * (slowness.bytesPerSecond ?? Number.POSITIVE_INFINITY)) / 1000
    for (let at = 0; at < end && !outgoing.destroyed; ) {
      await sleep(slowness.bytesPerSecond === undefined ? 0 : STEP_MS)
      const until = Math.min(end, Math.floor(due()))
      if (until > at) outgoing.write(content.subarray(at, until))
      at = until
    }
    if (end === content.byteLength) outgoing.end()
  }
}

async function read(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}
