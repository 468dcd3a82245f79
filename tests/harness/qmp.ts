// QEMU's monitor protocol, as much as tests need: one command at a time, its reply, and events that arrive between.

import type { Duplex } from 'node:stream'

interface QmpMessage {
  QMP?: object
  return?: unknown
  error?: { class: string; desc: string }
  event?: string
}

interface Waiting {
  resolve(value: unknown): void
  reject(error: Error): void
}

export class Qmp {
  readonly events: string[] = []
  #socket: Duplex
  #waiting: Waiting[] = []
  #ready: Promise<unknown> | undefined
  #closed = false

  constructor(socket: Duplex) {
    this.#socket = socket
    let text = ''
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => {
      const lines = (text + chunk).split('\n')
      text = lines.pop() ?? ''
      for (const line of lines) if (line.trim() !== '') this.#take(JSON.parse(line) as QmpMessage)
    })
    socket.on('error', () => this.#close())
    socket.on('close', () => this.#close())
  }

  /** Runs one command, for example `stop` or `cont`; rejects with QEMU's own words. */
  async execute(command: string, args: object = {}): Promise<unknown> {
    this.#ready ??= this.#send('qmp_capabilities', {})
    await this.#ready
    return this.#send(command, args)
  }

  #send(execute: string, args: object): Promise<unknown> {
    if (this.#closed) return Promise.reject(new Error(`${execute}: QEMU has gone`))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject: error => reject(new Error(`${execute}: ${error.message}`)) })
      this.#socket.write(`${JSON.stringify({ execute, arguments: args })}\n`)
    })
  }

  #take(message: QmpMessage): void {
    if (message.QMP !== undefined) return
    if (message.event !== undefined) {
      this.events.push(message.event)
      return
    }
    const waiting = this.#waiting.shift()
    if (message.error !== undefined) waiting?.reject(new Error(message.error.desc))
    else waiting?.resolve(message.return)
  }

  #close(): void {
    this.#closed = true
    for (const waiting of this.#waiting.splice(0)) waiting.reject(new Error('QEMU has gone'))
  }
}
