// The life of `ovfs serve`: check the storage, listen, serve one front-end after the other, publish, end. What listens and
// serves stands behind `OpenShare` (share.ts), so that this order can be tested without a virtual machine.

import type { Capability, FoundTraits, Operator, ReplayReport } from '@ovfs/opendal-fs'
import type { FdStore } from '@ovfs/virtio-fs'
import { Credentials } from './credentials.ts'
import { CliError, oneLine } from './error.ts'
import { ExitCode, failureCode } from './exit-code.ts'
import { requireFolder } from './host-folder.ts'
import { Log, type LogFields } from './log.ts'
import { ManagedService, type Manager } from './managed-service.ts'
import { processSources, type Redactor } from './secret.ts'
import type { Endpoint, FileSettings, ServeSettings } from './settings.ts'
import { groupId, listenWith } from './socket-file.ts'
import { type ShareStatus, type StatusEmitter, tellStatusOnRequest } from './status.ts'
import { catchStopSignals, type SignalEmitter, type StopSignal } from './stop-signals.ts'
import { openStorage } from './storage-check.ts'
import { parseStorage, type Storage } from './uri.ts'

export interface ShareEvents {
  connected(): void
  /** The front-end of the last daemon is served again, and has not noticed. */
  takenOver(): void
  /** @param reason undefined if the front-end just closed its connection */
  disconnected(reason?: string): void
  /** What an earlier daemon left was brought into the storage, before anything is served. */
  replayed(report: ReplayReport): void
  /** The session of an earlier daemon's guest goes on: its front-end need only connect again. */
  resumed(): void
  /** It cannot go on: what there was of it is kept for a person to look at. */
  sessionLost(reason: string, kept: string): void
  /** A request failed, or a guest or front-end broke the rules. The share goes on. */
  trouble(message: string, fields: LogFields): void
  /** Called once for each feature that the server lacks, and for each right that the credentials lack. */
  warning(message: string): void
  /** One request and its answer; absent if nobody wants to know, because it costs more than most answers. */
  readonly request?: (line: string) => void
}

export interface ShareOptions {
  readonly operator: Operator
  /** What the test at the start has found out about the server. */
  readonly found: FoundTraits
  /** See Credentials.renew. */
  readonly renewOperator: (mayGuess: boolean) => Operator | undefined
  /** False if the credentials may not list. */
  readonly mayList: boolean
  readonly storage: Storage
  readonly endpoint: Endpoint
  readonly tag: string | undefined
  readonly requestQueues: number
  readonly files: FileSettings
  readonly readOnly: boolean
  readonly timeoutMs: number
  /** Keeps the front-end for the next daemon. */
  readonly store: FdStore | undefined
  readonly events: ShareEvents
}

export interface Share extends ShareStatus {
  /** Rejects with a CliError if the socket cannot be listened on. */
  listen(): Promise<void>
  /** Takes no new requests, answers what is in flight, publishes what is dirty. Rejects if something stays unpublished. */
  close(): Promise<void>
}

export interface ServeHost {
  readonly openShare: (options: ShareOptions) => Share | Promise<Share>
  readonly signals: SignalEmitter & StatusEmitter
  /** Who started this process as a service, if anybody did. Throws if it cannot be reached. */
  readonly serviceManager: () => Manager | undefined
  /** The service manager has kept a front-end for this process. */
  readonly frontendWaits: boolean
  readonly write: (line: string) => void
  /** Learns the secrets. */
  readonly redactor: Redactor
  /** The command line holds a secret: shows this in its place, where that is possible. */
  readonly hideCommandLine: (title: string) => void
}

/** Words that other programs wait for on stderr before they start a virtual machine. */
export const LISTENING = 'Waiting for vhost-user socket connection...'

/** For what an end takes besides publishing. */
const LAST_WORDS_MS = 10_000

export async function serve(settings: ServeSettings, host: ServeHost): Promise<ExitCode> {
  const log = new Log({
    level: settings.logLevel,
    format: settings.logFormat,
    redact: text => host.redactor.redact(text),
    write: host.write,
    now: () => new Date(),
  })
  const service = await ManagedService.open(host.serviceManager, settings.keepsFrontend, log)
  try {
    return await run(settings, host, log, service)
  } catch (error) {
    if (!(error instanceof CliError)) throw error
    log.failure(oneLine(error))
    service.status.failed(oneLine(error))
    return failureCode(error, host.frontendWaits)
  } finally {
    await service.close()
  }
}

async function run(
  settings: ServeSettings,
  host: ServeHost,
  log: Log,
  service: ManagedService,
): Promise<ExitCode> {
  const storage = parseStorage(settings.uri, settings.assignments, processSources)
  for (const secret of storage.secrets) host.redactor.add(secret)
  if (storage.exposed.length > 0) host.hideCommandLine(`ovfs serve ${storage.display}`)
  for (const name of storage.exposed) {
    log.warn(`${name} stood on the command line, where every user of this host could read it`, {
      instead: `-o ${name}=env:NAME or -o ${name}=file:PATH`,
    })
  }
  const { socketMode, socketGroup } = settings
  const endpoint = endpointOf(settings, service)
  const access = { mode: socketMode, gid: socketGroup === undefined ? undefined : groupId(socketGroup) }
  if (settings.files.stagingDir !== undefined)
    requireFolder(settings.files.stagingDir, true, 'give another --staging-dir')
  service.status.checking(storage.display)
  const { operator, capability, mayList, warnings, found } = await openStorage(
    storage,
    settings.readOnly,
    settings.timeoutMs,
  )
  for (const warning of warnings) log.warn(warning)
  const readOnly = settings.readOnly || !capability.write

  const visit = new FirstVisit(settings.once)
  if (settings.files.stateDir !== undefined) service.status.replaying()
  const credentials = new Credentials(settings, host.redactor, log, storage)
  const share = await host.openShare({
    operator,
    found,
    renewOperator: mayGuess => credentials.renew(mayGuess),
    mayList,
    storage,
    endpoint,
    tag: settings.tag,
    requestQueues: settings.requestQueues,
    files: settings.files,
    readOnly,
    timeoutMs: settings.timeoutMs,
    store: service.store,
    events: {
      connected: () => {
        log.info('front-end connected')
        service.status.frontend(true)
      },
      takenOver: () => {
        log.info('front-end taken over from the last daemon')
        service.status.frontend(true)
      },
      disconnected: reason => {
        service.status.frontend(false)
        log.info('front-end left', { reason })
        visit.end()
      },
      replayed: report => announceReplay(log, report),
      resumed: () =>
        log.info('the session of the guest goes on, with a front-end that reconnects or is taken over'),
      sessionLost: (reason, kept) => log.error('a session could not be gone on with', { reason, kept }),
      trouble: (message, fields) => log.error(message, fields),
      warning: message => log.warn(message),
      ...(settings.logLevel === 'debug' && { request: line => log.debug(line) }),
    },
  })
  const signals = catchStopSignals(host.signals)
  const keepQuiet = tellStatusOnRequest(host.signals, share, log)
  try {
    try {
      if (endpoint.kind === 'path') await listenWith(endpoint.path, access, () => share.listen())
      else await share.listen()
    } catch (error) {
      // It may listen already, with permissions that could not be set: no socket file stays behind.
      await share.close()
      throw error
    }
    log.info('serving', {
      storage: storage.display,
      socket: endpoint.kind === 'path' ? endpoint.path : (endpoint.unit ?? `fd ${endpoint.fd}`),
      access: readOnly ? 'read-only' : 'read-write',
    })
    announceLimits(log, storage, capability, settings.files.attrs)
    log.status(LISTENING)
    service.status.serving(readOnly ? `${storage.display} read-only` : storage.display)
    await service.ready()
    const signal = await Promise.race([signals.first, visit.over])
    log.info('ending', signal === undefined ? { because: '--once' } : { because: signal })
    service.status.ending(share.unpublished()?.length)
    await service.stopping(settings.shutdownTimeoutMs + LAST_WORDS_MS)
    await publish(share, settings.shutdownTimeoutMs, signals.second)
    log.info('ended')
    return ExitCode.OK
  } finally {
    keepQuiet()
    signals.release()
  }
}

/** Where a service manager listens on the socket, it has made it. */
function endpointOf({ endpoint, socketMode, socketGroup }: ServeSettings, service: ManagedService): Endpoint {
  if (endpoint.kind !== 'path') return endpoint
  const socket = service.claimSocket()
  if (socket === undefined) return endpoint
  if (socketMode !== undefined || socketGroup !== undefined) {
    const hint = `set SocketMode= and SocketGroup= in ${socket.unit}`
    throw new CliError('USAGE', '--socket-mode and --socket-group are for a socket that ovfs makes', hint)
  }
  return { kind: 'fd', ...socket }
}

/** Ends, with --once, when the first front-end has left. */
class FirstVisit {
  readonly over: Promise<undefined>
  #resolve: () => void = () => {}

  constructor(once: boolean) {
    this.over = new Promise(resolve => {
      if (once) this.#resolve = () => resolve(undefined)
    })
  }

  end(): void {
    this.#resolve()
  }
}

function announceReplay(log: Log, report: ReplayReport): void {
  const { published, finished, attributes, conflicts, cut, unnoted } = report
  if (cut > 0) log.warn('the journal ended in the middle of a record, which was cut', { bytes: cut })
  if (published + finished + attributes > 0)
    log.info('replayed the journal', { published, finished, attributes })
  if (unnoted !== undefined)
    log.warn('the journal cannot say so, and is replayed again at the next start', { error: unnoted.message })
  for (const { key, keptAs } of conflicts) {
    log.warn('somebody else has changed what had unpublished data, and was not overwritten', {
      path: key,
      kept: keptAs ?? 'where it was',
    })
  }
}

function announceLimits(
  log: Log,
  storage: Storage,
  capability: Capability,
  attrs: FileSettings['attrs'],
): void {
  const { service } = storage
  if (!capability.write) log.warn(`${service.name} cannot write: the share is read-only`)
  else if (!capability.delete) log.warn(`${service.name} cannot delete: removing a file fails`)
  if (!capability.list)
    log.warn(
      attrs === 'none'
        ? `${service.name} cannot list: the guest sees only names that it asks for`
        : `${service.name} cannot list: what others have put there is found by name only`,
    )
  if (service.volatile) log.warn(`${service.name} is ${service.summary}`)
}

async function publish(share: Share, timeoutMs: number, second: Promise<StopSignal>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const hurry = Promise.race([
    second.then(signal => `stopped by a second ${signal}`),
    new Promise<string>(resolve => {
      timer = setTimeout(() => resolve(`not done within ${timeoutMs / 1000} s`), timeoutMs)
    }),
  ])
  try {
    await Promise.race([
      share.close(),
      hurry.then(reason => {
        throw new CliError('SHUTDOWN', `${reason}, ${unpublishedText(share)}`)
      }),
    ])
  } catch (error) {
    if (error instanceof CliError) throw error
    const message = error instanceof Error ? error.message : String(error)
    throw new CliError('SHUTDOWN', `publishing failed, ${unpublishedText(share)}: ${message}`, undefined, {
      cause: error,
    })
  } finally {
    clearTimeout(timer)
  }
}

const MOST_NAMED = 10

function unpublishedText(share: Share): string {
  const paths = share.unpublished()
  if (paths === undefined) return 'some of the latest writes may not be in the storage'
  if (paths.length === 0) return 'nothing is unpublished'
  const named = paths
    .slice(0, MOST_NAMED)
    .map(path => JSON.stringify(path))
    .join(', ')
  const more = paths.length > MOST_NAMED ? ` and ${paths.length - MOST_NAMED} more` : ''
  return `not published: ${named}${more}`
}
