// The service manager's side of this process (sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3)): says how the service is,
// gives descriptors into its file-descriptor store, and finds those that it was started with. That is systemd, or anything
// that speaks its protocol: datagrams to the socket NOTIFY_SOCKET, descriptors from number 3 on.

import { VhostUserError } from '../errors.ts'
import { connectDatagrams } from '../sys/datagram-socket.ts'
import { FdPoll } from '../sys/fd-poll.ts'
import { closeFd, NativeBuffer, setCloseOnExec } from '../sys/libc.ts'
import { createPipe, writerHasClosed } from '../sys/pipe.ts'
import { send } from '../sys/unix-socket.ts'
import { DEFAULT_PREFIX, type FdStore } from './fd-store.ts'

const FIRST_FD = 3
/** Name of the descriptor whose fate tells whether those before it were stored. */
const PROBE = 'service-manager-probe'
/** Milliseconds after which a full queue of the manager is tried again. */
const RETRY_DELAY = 5
/** systemd.socket(5): how the descriptors of a socket unit end that says nothing else. */
const SOCKET_UNIT = '.socket'
const VARIABLES = [
  'NOTIFY_SOCKET',
  'LISTEN_PID',
  'LISTEN_FDS',
  'LISTEN_FDNAMES',
  'WATCHDOG_PID',
  'WATCHDOG_USEC',
] as const

type Environment = Record<string, string | undefined>

/** A socket that the manager listens on for its service, under the name of the unit that says so. */
export interface ListeningSocket {
  readonly unit: string
  readonly fd: number
}

export class ServiceManager implements FdStore {
  readonly #socket: number
  readonly #inherited: Map<string, number>
  /** Milliseconds from one `alive` to the next, at most, once the service is ready; undefined if nobody listens for it. */
  readonly watchdogMs: number | undefined
  /** One exchange after the other, so that the fate of a probe belongs to what was sent before it. */
  #turn: Promise<unknown> = Promise.resolve()

  /** Owns the socket from now on, and the descriptors. */
  private constructor(socket: number, inherited: Map<string, number>, watchdogMs: number | undefined) {
    this.#socket = socket
    this.#inherited = inherited
    this.watchdogMs = watchdogMs
  }

  /**
   * Whether this process was started with the session of a predecessor, which the manager gives up when it gives up the service.
   * Changes nothing; to be asked before `fromEnvironment`.
   */
  static hasSession(environment: Environment = process.env, prefix = DEFAULT_PREFIX): boolean {
    return inheritedNames(environment).some(name => name.startsWith(prefix))
  }

  /**
   * The manager that started this process; undefined if none did. Takes the variables of the protocol out of the environment:
   * they are meant for this process and not for its children. Throws if the manager cannot be reached.
   */
  static fromEnvironment(environment: Environment = process.env): ServiceManager | undefined {
    const address = environment.NOTIFY_SOCKET
    if (address === undefined || address === '') return undefined
    const inherited = inheritedFds(environment)
    const watchdogMs = watchdogInterval(environment)
    for (const name of VARIABLES) delete environment[name]
    const socket = connectDatagrams(address)
    // Of a process that died while it waited for the answer.
    const probe = inherited.get(PROBE)
    if (probe !== undefined) closeFd(probe)
    inherited.delete(PROBE)
    return new ServiceManager(socket, inherited, watchdogMs)
  }

  get inherited(): ReadonlyMap<string, number> {
    return this.#inherited
  }

  claim(name: string): number | undefined {
    const fd = this.#inherited.get(name)
    this.#inherited.delete(name)
    return fd
  }

  /** The socket of the socket unit that belongs to this service, if there is one; owned by the caller. The first, if it has several. */
  claimSocket(): ListeningSocket | undefined {
    const unit = [...this.#inherited.keys()].find(name => name.endsWith(SOCKET_UNIT))
    return unit === undefined ? undefined : { unit, fd: this.claim(unit)! }
  }

  /** The service does what it is for from now on. */
  ready(): Promise<void> {
    return this.#inTurn(() => this.#send('READY=1'))
  }

  /** What the service is doing, in one line, for a person who asks the manager. */
  status(text: string): Promise<void> {
    return this.#inTurn(() => this.#send(`STATUS=${text.replaceAll('\n', ' ')}`))
  }

  /** The event loop turns. */
  alive(): Promise<void> {
    return this.#inTurn(() => this.#send('WATCHDOG=1'))
  }

  /** The service is about to end by itself, within so many milliseconds, whatever the manager itself allows. */
  stopping(withinMs?: number): Promise<void> {
    const extended = withinMs === undefined ? '' : `\nEXTEND_TIMEOUT_USEC=${Math.ceil(withinMs) * 1000}`
    return this.#inTurn(() => this.#send(`STOPPING=1${extended}`))
  }

  put(fds: ReadonlyMap<string, number>): Promise<void> {
    return this.#inTurn(async () => {
      // A manager without room closes what it gets, and tells nobody. So the last that it gets is the write end of a pipe, and
      // whether that is still open once everything has been looked at is the answer for all.
      const probe = createPipe()
      try {
        // FDPOLL=0: that a peer has hung up is for this service to find out, in order.
        try {
          for (const [name, fd] of fds) await this.#send(`FDSTORE=1\nFDNAME=${name}\nFDPOLL=0`, fd)
          await this.#send(`FDSTORE=1\nFDNAME=${PROBE}\nFDPOLL=0`, probe.writeEnd)
        } finally {
          closeFd(probe.writeEnd)
        }
        await this.#barrier()
        if (!writerHasClosed(probe.readEnd)) {
          await this.#removeNow([PROBE])
          return
        }
      } finally {
        closeFd(probe.readEnd)
      }
      await this.#removeNow(fds.keys())
      await this.#barrier()
      throw new VhostUserError(
        'FD_STORE',
        'the service manager has no room for the descriptors of the session',
      )
    })
  }

  remove(names: Iterable<string>): Promise<void> {
    const all = [...names]
    return this.#inTurn(async () => {
      await this.#removeNow(all)
      await this.#barrier()
    })
  }

  /** For a service that does not want what a predecessor left: closes it, and removes it from the store. */
  async abandon(prefix = DEFAULT_PREFIX): Promise<void> {
    const names = [...this.#inherited.keys()].filter(name => name.startsWith(prefix))
    for (const name of names) closeFd(this.claim(name)!)
    if (names.length > 0) await this.remove(names)
  }

  async #removeNow(names: Iterable<string>): Promise<void> {
    for (const name of names) await this.#send(`FDSTOREREMOVE=1\nFDNAME=${name}`)
  }

  /** BARRIER=1: the manager closes the pipe when it comes to this message, and so has dealt with all before. */
  async #barrier(): Promise<void> {
    const pipe = createPipe()
    try {
      await this.#send('BARRIER=1', pipe.writeEnd)
    } finally {
      closeFd(pipe.writeEnd)
    }
    await new Promise<void>((resolve, reject) => {
      const finish = (end: () => void) => {
        poll.close()
        closeFd(pipe.readEnd)
        end()
      }
      const poll = new FdPoll(
        pipe.readEnd,
        { readable: true },
        { ready: () => finish(resolve), failed: error => finish(() => reject(error)) },
      )
    })
  }

  async #send(text: string, fd?: number): Promise<void> {
    const data = new NativeBuffer(Buffer.byteLength(text))
    data.bytes.write(text)
    while (send(this.#socket, data, 0, data.bytes.length, fd === undefined ? [] : [fd]) === undefined) {
      await new Promise(resolve => setTimeout(resolve, RETRY_DELAY))
    }
  }

  #inTurn(exchange: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(exchange)
    this.#turn = done.catch(() => undefined)
    return done
  }
}

/** sd_listen_fds(3): names of LISTEN_FDS descriptors from 3 on, if they are meant for this process. */
function inheritedNames({ LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES }: Environment): string[] {
  const count = Number(LISTEN_FDS)
  if (Number(LISTEN_PID) !== process.pid || !Number.isSafeInteger(count) || count < 0) return []
  const names = LISTEN_FDNAMES?.split(':') ?? []
  return Array.from({ length: count }, (_, i) => names[i] ?? 'unknown')
}

function inheritedFds(environment: Environment): Map<string, number> {
  const found = new Map<string, number>()
  for (const [i, name] of inheritedNames(environment).entries()) {
    const fd = FIRST_FD + i
    setCloseOnExec(fd)
    // Nothing of this package shares a name; of others that do, each can still be told from the next.
    found.set(found.has(name) ? `${name}:${i}` : name, fd)
  }
  return found
}

/** sd_watchdog_enabled(3): without a process it is meant for whoever reads it. */
function watchdogInterval({ WATCHDOG_PID, WATCHDOG_USEC }: Environment): number | undefined {
  const microseconds = Number(WATCHDOG_USEC)
  if (!Number.isSafeInteger(microseconds) || microseconds <= 0) return undefined
  if (WATCHDOG_PID !== undefined && Number(WATCHDOG_PID) !== process.pid) return undefined
  return microseconds / 1000
}
