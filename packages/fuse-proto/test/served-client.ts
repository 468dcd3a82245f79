// A server with a session over a handler, and a client of it.

import {
  type ErrnoName,
  FsError,
  FuseClient,
  type FuseErrorReport,
  type FuseHandler,
  FuseServer,
} from '../src/index.ts'
import { memoryTransport } from './memory-transport.ts'

export const init: FuseHandler['init'] = () => ({ flags: 0xffff_ffff })

/** A server with a session, a client of it, and what the server reported. */
export async function serve(handler: Partial<FuseHandler>) {
  const reports: FuseErrorReport[] = []
  const server = new FuseServer({ init, ...handler }, { onError: report => reports.push(report) })
  const client = new FuseClient(
    memoryTransport(() => server),
    { uid: 7, gid: 8, pid: 9 },
  )
  await client.init()
  return { server, client, reports }
}

export async function errnoOf(promise: Promise<unknown>): Promise<ErrnoName | 'success'> {
  try {
    await promise
    return 'success'
  } catch (error) {
    if (error instanceof FsError) return error.code
    throw error
  }
}
