// rclone as a WebDAV server, over a temporary folder: the protocol as Go's x/net/webdav speaks it.

import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { startListening } from './listening-server.ts'
import type { WebdavServer } from './webdav.ts'

const PROGRAM = '/usr/bin/rclone'

/** Names what this server needs and the machine lacks. */
export function missingForRclone(): string | undefined {
  return existsSync(PROGRAM) ? undefined : `${PROGRAM} (rclone)`
}

export async function startRclone(): Promise<WebdavServer> {
  const dir = await mkdtemp(join(tmpdir(), 'ovfs-rclone-'))
  const served = join(dir, 'served')
  await mkdir(served)
  const port = await freePort()
  const args = ['serve', 'webdav', served, '--addr', `127.0.0.1:${port}`, '--config', join(dir, 'none')]
  // After a second it reads the names from the folder again, and spells some otherwise.
  const caches = ['--dir-cache-time', '1s', '--cache-dir', join(dir, 'cache')]
  const server = await startListening(port, PROGRAM, [...args, ...caches])
  return {
    options: { endpoint: `http://127.0.0.1:${port}` },
    stop: async () => {
      await server.stop()
      await rm(dir, { recursive: true, force: true })
    },
  }
}
