// The storages that the guest suite runs on. Each is served to the guest by a daemon and seen from the host through an
// OpenDAL operator of its own, so that what the guest wrote can be compared with what the storage holds.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OpendalFs, Operator } from '@ovfs/opendal-fs'
import { VirtioFs } from '@ovfs/virtio-fs'
import { missingForOvfs, type OvfsOptions, startOvfs } from '../harness/daemon.ts'
import { LONGEST_NAME, startS3 } from '../harness/s3.ts'
import { missingForVirtiofsd, startVirtiofsd } from '../harness/virtiofsd.ts'

export interface Served {
  readonly socketPath: string
  /** The same storage, from the host. */
  readonly host: Operator
  /** What the daemon has said. */
  log(): string
  stop(): Promise<void>
}

/** Whose daemon can be replaced by a fresh one on the same storage: the next guest connects to `socketPath` as it is then. */
export interface Restartable extends Served {
  restart(): Promise<void>
}

export interface Storage<S extends Served = Served> {
  readonly name: string
  /** Names what this storage needs and the machine lacks. */
  missing(): string | undefined
  /** Bytes of the longest name that it can hold; default 255. */
  readonly longestName?: number
  serve(): Promise<S>
}

export const fsStorage: Storage<Restartable> = {
  name: 'ovfs over a folder',
  missing: missingForOvfs,
  serve: serveFs,
}
export const s3Storage: Storage<Restartable> = {
  name: 'ovfs over S3',
  missing: missingForOvfs,
  longestName: LONGEST_NAME,
  serve: serveS3,
}
export const memoryStorage: Storage = {
  name: 'ovfs over memory',
  missing: () => undefined,
  serve: serveMemory,
}
/** The reference: what passes here is right about Linux, whatever our own daemon does. */
export const virtiofsdStorage: Storage = {
  name: 'the C virtiofsd',
  missing: missingForVirtiofsd,
  serve: serveVirtiofsd,
}

async function serveFs(): Promise<Restartable> {
  const dir = await folder()
  const host = new Operator('fs', { root: dir })
  return serveWithDaemon(`fs://${dir}`, {}, host, () => rm(dir, { recursive: true }))
}

async function serveS3(): Promise<Restartable> {
  const server = await startS3()
  const { bucket, access_key_id, secret_access_key, ...rest } = server.options
  const query = new URLSearchParams(rest).toString()
  const options = {
    args: ['-o', 'access_key_id=env:KEY', '-o', 'secret_access_key=env:SECRET'],
    env: { KEY: access_key_id, SECRET: secret_access_key },
  }
  return serveWithDaemon(`s3://${bucket}?${query}`, options, new Operator('s3', server.options), server.stop)
}

async function serveWithDaemon(
  uri: string,
  options: OvfsOptions,
  host: Operator,
  remove: () => Promise<void>,
): Promise<Restartable> {
  let daemon = await startOvfs(uri, options)
  let earlier = ''
  return {
    get socketPath() {
      return daemon.socketPath
    },
    host,
    log: () => earlier + daemon.stderr(),
    restart: async () => {
      await daemon.stop()
      earlier += daemon.stderr()
      daemon = await startOvfs(uri, options)
    },
    stop: async () => {
      await daemon.stop()
      await remove()
    },
  }
}

/** Memory can be seen by its own process only, so here the daemon is in this one: the packages as a program embeds them. */
async function serveMemory(): Promise<Served> {
  const dir = await folder()
  const socketPath = join(dir, 'socket')
  const host = new Operator('memory')
  const troubles: unknown[] = []
  const share = new VirtioFs({
    socketPath,
    handler: new OpendalFs(host, { scheme: 'memory' }),
    onError: error => troubles.push(error),
    onRequestError: report => troubles.push(report),
  })
  share.listen()
  return {
    socketPath,
    host,
    log: () => troubles.join('\n'),
    stop: async () => {
      await share.close()
      await rm(dir, { recursive: true })
      if (troubles.length > 0)
        throw new AggregateError(troubles, 'the guest broke a rule, or a request failed inside')
    },
  }
}

async function serveVirtiofsd(): Promise<Served> {
  const dir = await folder()
  const daemon = await startVirtiofsd(dir)
  return {
    socketPath: daemon.socketPath,
    host: new Operator('fs', { root: dir }),
    log: () => '',
    stop: async () => {
      await daemon.stop()
      await rm(dir, { recursive: true })
    },
  }
}

function folder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'ovfs-served-'))
}
