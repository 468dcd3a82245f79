// A WebDAV server for tests: Apache with mod_dav over a temporary folder, in one process of its own. Started as root it
// gives up root, so the folder belongs to the user that it becomes.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { freePort } from './free-port.ts'
import { accepts, nobody } from './listening-server.ts'
import { EndedEarly, ended, ownProcess } from './process.ts'

const PROGRAM = '/usr/sbin/apache2'
const MODULES = '/usr/lib/apache2/modules'

/** Names what this server needs and the machine lacks. */
export function missingForWebdav(): string | undefined {
  return existsSync(PROGRAM) ? undefined : `${PROGRAM} (apache2-bin)`
}

export interface WebdavServer {
  /** What OpenDAL's `webdav` service needs. */
  readonly options: { readonly endpoint: string }
  stop(): Promise<void>
}

export async function startWebdav(): Promise<WebdavServer> {
  const dir = await mkdtemp(join(tmpdir(), 'ovfs-webdav-'))
  const served = join(dir, 'served')
  await mkdir(served)
  const asRoot = process.getuid?.() === 0
  const { uid, gid } = nobody()
  if (asRoot) for (const path of [dir, served]) await chown(path, uid, gid)
  const port = await freePort()
  await writeFile(join(dir, 'apache.conf'), configuration(dir, served, port, asRoot))
  // -X is one process, so that none is left when it is killed.
  const args = ['-X', '-d', dir, '-f', join(dir, 'apache.conf')]
  const child = ownProcess(spawn(PROGRAM, args, { stdio: 'ignore' }))
  const end = ended(child)
  while (!(await accepts(port))) {
    if (child.exitCode !== null)
      throw new EndedEarly(PROGRAM, await readFile(join(dir, 'errors'), 'utf8').catch(() => ''))
    await setTimeout(20)
  }
  return {
    options: { endpoint: `http://127.0.0.1:${port}` },
    stop: async () => {
      child.kill('SIGKILL')
      await end
      await rm(dir, { recursive: true, force: true })
    },
  }
}

const USER = 'nobody'

function configuration(dir: string, served: string, port: number, asRoot: boolean): string {
  const modules = ['mpm_event', 'authz_core', 'dav', 'dav_fs']
  return `
ServerName 127.0.0.1
Listen 127.0.0.1:${port}
${asRoot ? `User ${USER}\nGroup #${nobody().gid}` : ''}
PidFile ${dir}/pid
Mutex file:${dir} default
ErrorLog ${dir}/errors
${modules.map(name => `LoadModule ${name}_module ${MODULES}/mod_${name}.so`).join('\n')}
DavLockDB ${dir}/locks
DocumentRoot ${served}
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 600
AllowEncodedSlashes NoDecode
<Directory ${served}>
  Dav On
  Require all granted
</Directory>
`
}
