// What is served: the file system on the operator, behind a virtio-fs device that listens. The only file that knows how the
// layers below are put together.

import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConflictError, OpendalFs, StateError, type StateFolder } from '@ovfs/opendal-fs'
import { type KeptSession, VirtioFs } from '@ovfs/virtio-fs'
import { listenError } from './listen-error.ts'
import type { Share, ShareOptions } from './serve.ts'
import { damagedSession, openSession, openState, replayError } from './state.ts'
import { type LostFile, MOST_LOST } from './status.ts'
import { fileSystemTrouble, frontendTrouble, otherTrouble, TroubleLimit } from './trouble.ts'

export async function openShare(options: ShareOptions): Promise<Share> {
  const { endpoint, tag, requestQueues, files, store, events } = options
  const troubles = new TroubleLimit(({ message, fields }) => events.trouble(message, fields), Date.now)
  const lost: LostFile[] = []
  const state =
    files.stateDir === undefined ? undefined : await openState(files.stateDir, options.storage.place)
  const open = async (): Promise<{ fs: OpendalFs; device: VirtioFs }> => {
    const { fs, session } = openFileSystem(
      options,
      state,
      error => {
        if (error instanceof ConflictError && lost.push(error) > MOST_LOST) lost.shift()
        troubles.report(fileSystemTrouble(error, options.storage))
      },
      troubles,
    )
    const device = new VirtioFs({
      ...(endpoint.kind === 'path' ? { socketPath: endpoint.path } : { listenFd: endpoint.fd }),
      handler: fs,
      requestQueues,
      ...(tag !== undefined && { tag }),
      ...(session !== undefined && { log: session.log }),
      ...(store && { store }),
      onConnect: events.connected,
      onTakeOver: events.takenOver,
      onDisconnect: error => events.disconnected(error?.message),
      onError: error => troubles.report(frontendTrouble(error)),
      onRequestError: ({ operation, node, name, error }) =>
        troubles.report(otherTrouble('a request failed', error, { operation, node, name })),
      ...(events.request && { onTrace: events.request }),
    })
    const report = await fs.replay()
    if (report !== undefined) events.replayed(report)
    if (session !== undefined && (await device.resume().catch(damagedSession))) events.resumed()
    return { fs, device }
  }
  const { fs, device } = await open()
    .catch(async error => {
      if (!(error instanceof StateError) || error.reason !== 'DAMAGED' || state === undefined) throw error
      events.sessionLost(error.message, await state.keepSession())
      return open()
    })
    .catch(async error => {
      // A file system that could not begin has nothing to end: what an earlier daemon left stays for the next.
      await state?.close()
      throw replayError(error, files.stateDir)
    })
  return {
    listen: async () => {
      try {
        device.listen()
      } catch (error) {
        throw listenError(error, endpoint)
      }
    },
    close: async () => {
      await device.close()
      try {
        await fs.close()
      } finally {
        await state?.close()
      }
    },
    unpublished: () => fs.unpublished(),
    lost: () => lost,
  }
}

/** One folder for each storage and user, so that the operator of one share does not see the bytes of another. */
export function recoveryFolder(place: string): string {
  const readable = place.replace(/[^A-Za-z0-9.-]+/g, '_').slice(0, 60)
  const digest = createHash('sha256').update(`${process.getuid?.()} ${place}`).digest('hex')
  return `ovfs-recovery-${readable}-${digest.slice(0, 12)}`
}

function openFileSystem(
  { operator, found, renewOperator, mayList, storage, files, readOnly, timeoutMs, events }: ShareOptions,
  state: StateFolder | undefined,
  onError: (error: Error) => void,
  troubles: TroubleLimit,
): { fs: OpendalFs; session: KeptSession | undefined } {
  const { stagingDir, stateDir: _, capacityBytes, maxBytes, maxFiles, entryTtlMs, ...settings } = files
  const onSessionError = (error: Error) =>
    troubles.report(otherTrouble('the session will not survive this daemon', error))
  const session = state && openSession(state, storage.place, onSessionError)
  const fs = new OpendalFs(operator, {
    ...settings,
    renewOperator,
    scheme: storage.service.name,
    found,
    entryTtlMs,
    negativeTtlMs: entryTtlMs,
    readOnly,
    timeoutMs,
    ...(stagingDir !== undefined && { stagingDir }),
    ...(state === undefined
      ? { recoveryDir: join(stagingDir ?? tmpdir(), recoveryFolder(storage.place)) }
      : { state }),
    ...(session !== undefined && { session }),
    ...(capacityBytes !== undefined && { capacityBytes }),
    ...(maxBytes !== undefined && { maxBytes }),
    ...(maxFiles !== undefined && { maxFiles }),
    onError,
    mayList,
    onWarning: events.warning,
  })
  return { fs, session }
}
