// The daemons that the same tests run against: ours, in this process, and two that are not ours.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OpendalFs, type OpendalFsOptions, Operator } from '@ovfs/opendal-fs'
import { VirtioFs } from '@ovfs/virtio-fs'
import { startRustVirtiofsd, startVirtiofsd, type Virtiofsd } from '../harness/virtiofsd.ts'

export interface Daemon {
  readonly name: string
  readonly socketPath: string
  stop(): Promise<void>
}

/** Our daemon in this process, over any OpenDAL service. Trouble of any kind is collected. */
export async function ovfsInProcess(
  scheme: string,
  config: Record<string, string>,
  options: Partial<OpendalFsOptions> = {},
): Promise<Daemon & { readonly trouble: unknown[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'ovfs-stack-'))
  const socketPath = join(folder, 'socket')
  const trouble: unknown[] = []
  const handler = new OpendalFs(new Operator(scheme, config), {
    scheme,
    onError: error => trouble.push(error),
    ...options,
  })
  const server = new VirtioFs({
    handler,
    socketPath,
    onError: error => trouble.push(error),
    onRequestError: report => trouble.push(report),
  })
  server.listen()
  return {
    name: `ovfs on ${scheme}`,
    socketPath,
    trouble,
    async stop() {
      await server.close()
      await handler.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** The C virtiofsd over a new folder. */
export function foreignVirtiofsd(): Promise<Daemon> {
  return foreign('virtiofsd', startVirtiofsd)
}

/** The virtiofsd written in Rust, over a new folder. */
export function foreignRustVirtiofsd(): Promise<Daemon> {
  return foreign('virtiofsd in Rust', startRustVirtiofsd)
}

async function foreign(name: string, start: (folder: string) => Promise<Virtiofsd>): Promise<Daemon> {
  const folder = await mkdtemp(join(tmpdir(), 'ovfs-foreign-'))
  const daemon = await start(folder)
  return {
    name,
    socketPath: daemon.socketPath,
    async stop() {
      await daemon.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
