// Servers one after the other, of which each finds in its store what the last one has left there.

import { onTestFinished } from 'vitest'
import { BackendServer, type BackendServerOptions } from '../src/backend-server.ts'
import type { DirtyLogArea } from '../src/device.ts'
import type { VhostUserError } from '../src/errors.ts'
import { FrontendSession, type HandshakeOptions } from '../src/frontend-session.ts'
import { InProcessFdStore } from '../src/takeover/in-process-store.ts'
import { temporaryFolder } from './peers.ts'
import { RecordingDevice } from './recording-device.ts'

export class KeepingDevice extends RecordingDevice {
  area: DirtyLogArea | undefined

  inflightBytes(size: number): number {
    return 64 + 16 * size
  }

  connectFrontend(): void {}

  setLog(area: DirtyLogArea | undefined): void {
    this.area = area
  }
}

export interface Life {
  readonly device: KeepingDevice
  readonly server: BackendServer
  readonly errors: VhostUserError[]
  readonly takeovers: string[]
  readonly disconnects: unknown[]
}

export function live(
  path: string,
  store: InProcessFdStore,
  options: Partial<BackendServerOptions> = {},
): Life {
  const device = new KeepingDevice()
  const errors: VhostUserError[] = []
  const takeovers: string[] = []
  const disconnects: unknown[] = []
  const server = new BackendServer({
    path,
    device,
    store,
    onError: error => errors.push(error),
    onTakeOver: () => takeovers.push('taken over'),
    onDisconnect: error => disconnects.push(error),
    ...options,
  })
  onTestFinished(() => server.close())
  return { device, server, errors, takeovers, disconnects }
}

export interface Scene {
  readonly path: string
  readonly store: InProcessFdStore
  readonly first: Life
  readonly session: FrontendSession
}

/** A front-end that has shaken hands with a server whose sessions are kept. */
export async function scene(limit?: number, options: HandshakeOptions = {}): Promise<Scene> {
  const path = `${temporaryFolder()}/socket`
  const store = new InProcessFdStore(limit)
  onTestFinished(() => store.close())
  const first = live(path, store)
  const session = FrontendSession.connect(path)
  onTestFinished(() => session.close())
  await session.handshake(options)
  return { path, store, first, session }
}

export function succeed(store: InProcessFdStore): InProcessFdStore {
  const next = store.succeed()
  onTestFinished(() => next.close())
  return next
}
