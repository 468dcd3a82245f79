// nginx as a WebDAV server: its own dav module with Debian's dav-ext module, which adds PROPFIND. It hides names that begin with
// a dot, and its DELETE of a directory is recursive.

import { existsSync } from 'node:fs'
import { chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { nobody, startListening } from './listening-server.ts'
import type { WebdavServer } from './webdav.ts'

const PROGRAM = '/usr/sbin/nginx'
const MODULE = '/usr/lib/nginx/modules/ngx_http_dav_ext_module.so'

/** Names what this server needs and the machine lacks. */
export function missingForNginx(): string | undefined {
  if (!existsSync(PROGRAM)) return `${PROGRAM} (nginx-light)`
  return existsSync(MODULE) ? undefined : `${MODULE} (libnginx-mod-http-dav-ext)`
}

export async function startNginx(): Promise<WebdavServer & { readonly folder: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'ovfs-nginx-'))
  const served = join(dir, 'served')
  await mkdir(served)
  const asRoot = process.getuid?.() === 0
  const { uid, gid } = nobody()
  if (asRoot) for (const path of [dir, served]) await chown(path, uid, gid)
  const port = await freePort()
  const file = join(dir, 'nginx.conf')
  await writeFile(file, configuration(dir, served, port))
  const args = ['-p', dir, '-c', file, '-e', join(dir, 'errors')]
  const server = await startListening(port, PROGRAM, args, asRoot ? { uid, gid } : {})
  return {
    folder: served,
    options: { endpoint: `http://127.0.0.1:${port}` },
    stop: async () => {
      await server.stop()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

/** One process that stays in the foreground, so that none is left when it is killed. */
function configuration(dir: string, served: string, port: number): string {
  return `
load_module ${MODULE};
daemon off;
master_process off;
pid ${dir}/pid;
events {}
http {
  access_log off;
  client_max_body_size 0;
  client_body_temp_path ${dir}/bodies;
  proxy_temp_path ${dir}/proxy;
  fastcgi_temp_path ${dir}/fastcgi;
  uwsgi_temp_path ${dir}/uwsgi;
  scgi_temp_path ${dir}/scgi;
  keepalive_requests 1000000;
  dav_ext_lock_zone zone=locks:1m;
  server {
    listen 127.0.0.1:${port};
    location / {
      root ${served};
      create_full_put_path on;
      dav_methods PUT DELETE MKCOL COPY MOVE;
      dav_ext_methods PROPFIND OPTIONS LOCK UNLOCK;
      dav_ext_lock zone=locks;
    }
  }
}
`
}
