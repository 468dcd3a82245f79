// A back-end and a front-end in this process, with what tests look at: errors, disconnections, descriptors and mappings.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { BackendServer, type BackendServerOptions } from '../src/backend-server.ts'
import type { VhostUserError } from '../src/errors.ts'
import { FrontendMemory } from '../src/frontend-memory.ts'
import { FrontendSession } from '../src/frontend-session.ts'
import { foreignFdsClosed } from '../src/sys/foreign-fd.ts'
import { RecordingDevice } from './recording-device.ts'

export const MIB = 2 ** 20

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'vhost-user-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Resolves when the condition holds; the test's own time limit is the only one. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 1))
}

/** Everything that this process has open, as /proc shows it. */
export async function openDescriptors(): Promise<number> {
  await foreignFdsClosed()
  return readdirSync('/proc/self/fd').length
}

/** How many mappings of guest memory this process has. */
export function guestMappings(): number {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter(line => line.includes('memfd:guest-memory')).length
}

export interface Backend {
  readonly path: string
  readonly device: RecordingDevice
  readonly server: BackendServer
  readonly errors: VhostUserError[]
  readonly disconnects: (VhostUserError | undefined)[]
  connect(): FrontendSession
}

export function serve(options: Partial<BackendServerOptions> & { device?: RecordingDevice } = {}): Backend {
  const device = options.device ?? new RecordingDevice()
  const path = options.path ?? join(temporaryFolder(), 'socket')
  const errors: VhostUserError[] = []
  const disconnects: (VhostUserError | undefined)[] = []
  const server = new BackendServer({
    path,
    onDisconnect: error => disconnects.push(error),
    onError: error => errors.push(error),
    ...options,
    device,
  })
  onTestFinished(() => server.close())
  const connect = () => {
    const session = FrontendSession.connect(path)
    onTestFinished(() => session.close())
    return session
  }
  return { path, device, server, errors, disconnects, connect }
}

/** Guest memory with a hole, as a PC has it. */
export function guestMemory(): FrontendMemory {
  const memory = new FrontendMemory([
    { guestAddress: 0, size: MIB },
    { guestAddress: 0x1_0000_0000, size: 2 * MIB },
  ])
  onTestFinished(() => memory.close())
  return memory
}

/** A ring that lies in `guestMemory`. */
export const RING = {
  index: 1,
  size: 256,
  descAddress: 0x1_0000_1000,
  availAddress: 0x1_0000_3000,
  usedAddress: 0x1_0000_4000,
} as const
