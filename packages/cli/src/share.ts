// What is served: the file system on the operator, behind a virtio-fs device that listens. The only file that knows how the
// layers below are put together.

import { OpendalFs } from '@ovfs/opendal-fs'
import { VirtioFs } from '@ovfs/virtio-fs'
import { listenError } from './listen-error.ts'
import type { Share, ShareOptions } from './serve.ts'
import { openState, replayError } from './state.ts'
import { fileSystemTrouble, otherTrouble, TroubleLimit } from './trouble.ts'

export async function openShare({
  operator,
  storage,
  endpoint,
  tag,
  requestQueues,
  files,
  readOnly,
  timeoutMs,
  events,
}: ShareOptions): Promise<Share> {
  const troubles = new TroubleLimit(({ message, fields }) => events.trouble(message, fields), Date.now)
  const { stagingDir, stateDir, capacityBytes, maxBytes, maxFiles, entryTtlMs, ...settings } = files
  const state = stateDir === undefined ? undefined : await openState(stateDir)
  const fs = new OpendalFs(operator, {
    ...settings,
    scheme: storage.service.name,
    entryTtlMs,
    negativeTtlMs: entryTtlMs,
    readOnly,
    timeoutMs,
    ...(stagingDir !== undefined && { stagingDir }),
    ...(state !== undefined && { state }),
    ...(capacityBytes !== undefined && { capacityBytes }),
    ...(maxBytes !== undefined && { maxBytes }),
    ...(maxFiles !== undefined && { maxFiles }),
    onError: error => troubles.report(fileSystemTrouble(error, storage)),
  })
  try {
    const report = await fs.replay()
    if (report !== undefined) events.replayed(report)
  } catch (error) {
    await fs.close()
    await state?.close()
    throw replayError(error, stateDir)
  }
  const device = new VirtioFs({
    ...(endpoint.kind === 'path' ? { socketPath: endpoint.path } : { listenFd: endpoint.fd }),
    handler: fs,
    requestQueues,
    ...(tag !== undefined && { tag }),
    onConnect: events.connected,
    onDisconnect: error => events.disconnected(error?.message),
    onError: error => troubles.report(otherTrouble('the front-end or its driver broke a rule', error)),
    onRequestError: ({ operation, node, name, error }) =>
      troubles.report(otherTrouble('a request failed', error, { operation, node, name })),
    ...(events.request && { onTrace: events.request }),
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
  }
}
