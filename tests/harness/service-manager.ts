// A service manager for one service, as systemd is one: keeps the descriptors that the service gives it, starts the service
// with them, and starts it again whenever it ends. Restart=always, RestartSec=0.

import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { NotifySocket } from '@ovfs/vhost-user/supervisor'
import { ended, ownProcess } from './process.ts'

export interface ServiceOptions {
  /** FileDescriptorStoreMax= */
  readonly limit?: number
  readonly env?: Readonly<Record<string, string>>
}

export class Service {
  /** What the service did wrong, as the manager saw it. */
  readonly complaints: unknown[] = []
  /** Exit status of the last process; null if a signal ended it. */
  exitCode: number | null = null
  readonly #command: readonly string[]
  readonly #env: Readonly<Record<string, string>>
  readonly #address = `@ovfs-test-${randomUUID()}`
  readonly #socket: NotifySocket
  #child: ChildProcess | undefined
  #said = ''
  #starts = 0
  #readied = 0
  #stopped = false

  /** Starts it at once. */
  constructor(command: readonly string[], { limit = 512, env = {} }: ServiceOptions = {}) {
    this.#command = command
    this.#env = env
    this.#socket = new NotifySocket({
      address: this.#address,
      limit,
      onState: assignment => {
        if (assignment === 'READY=1') this.#readied = this.#starts
      },
      onError: error => this.complaints.push(error),
    })
    this.#start()
  }

  /** All that it has written, in every life. */
  get said(): string {
    return this.#said
  }

  /** Of the present process. */
  get pid(): number {
    return this.#child!.pid!
  }

  /** How often it was started. */
  get starts(): number {
    return this.#starts
  }

  /** Names of the descriptors in the store. */
  get stored(): string[] {
    return this.#socket.stored.map(({ name }) => name)
  }

  /** Resolves when the present process has said READY=1. */
  async ready(): Promise<void> {
    await this.until(() => this.#readied === this.#starts)
  }

  /** Resolves when the condition holds; the test's own time limit is the only one. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await delay(1)
  }

  /** Ends the present process; resolves when the next one has been started. */
  async restart(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const starts = this.#starts
    this.#child!.kill(signal)
    await this.until(() => this.#starts > starts)
  }

  /** Ends it for good, and drops what it has stored. */
  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    const end = ended(this.#child!)
    this.#child!.kill('SIGTERM')
    await end
    this.#socket.close()
  }

  #start(): void {
    const { stored } = this.#socket
    this.#starts++
    // sd_listen_fds(3): the variables are for one process, which only the shell can name before it becomes it.
    const child = spawn('/bin/sh', ['-c', 'export LISTEN_PID=$$; exec "$@"', 'sh', ...this.#command], {
      stdio: ['ignore', 'pipe', 'pipe', ...stored.map(({ fd }) => fd)],
      env: {
        ...process.env,
        ...this.#env,
        NOTIFY_SOCKET: this.#address,
        LISTEN_FDS: String(stored.length),
        LISTEN_FDNAMES: stored.map(({ name }) => name).join(':'),
      },
    })
    ownProcess(child)
    this.#child = child
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#said += text
      })
    }
    child.once('close', code => {
      this.exitCode = code
      // What it sent last is still in the socket.
      this.#socket.catchUp()
      if (!this.#stopped) this.#start()
    })
  }
}
