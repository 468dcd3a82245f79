// Microsoft's emulator of Azure Blob Storage, in memory. It checks signatures: of the account's key, and of shared access
// signatures (SAS), of which this gives one that allows everything.

import { createHmac } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { repository } from './initramfs.ts'
import { startListening } from './listening-server.ts'

const PROGRAM = join(repository, '.cache/servers/azurite/node_modules/azurite/dist/src/blob/main.js')
const ACCOUNT = 'ovfs'
const KEY = Buffer.from('the key of the account').toString('base64')
const VERSION = '2021-12-02'

/** Names what this server needs and the machine lacks. */
export function missingForAzurite(): string | undefined {
  return existsSync(PROGRAM) ? undefined : 'azurite (node scripts/prepare.mjs --tests)'
}

export interface AzuriteServer {
  /** What OpenDAL's `azblob` service needs besides the key or the signature. */
  readonly options: { readonly container: string; readonly endpoint: string; readonly account_name: string }
  readonly key: { readonly account_key: string }
  readonly sas: { readonly sas_token: string }
  stop(): Promise<void>
}

export async function startAzurite(container = 'ovfs'): Promise<AzuriteServer> {
  const dir = await mkdtemp(join(tmpdir(), 'ovfs-azurite-'))
  const port = await freePort()
  const args = ['--blobPort', String(port), '--silent', '--inMemoryPersistence', '--disableTelemetry']
  const server = await startListening(
    port,
    process.execPath,
    [PROGRAM, ...args, '--skipApiVersionCheck', '--blobKeepAliveTimeout', '600'],
    { cwd: dir, env: { ...process.env, AZURITE_ACCOUNTS: `${ACCOUNT}:${KEY}` } },
  )
  const endpoint = `http://127.0.0.1:${port}/${ACCOUNT}`
  const sas_token = accountSas()
  const { status } = await fetch(`${endpoint}/${container}?restype=container&${sas_token}`, {
    method: 'PUT',
    headers: { 'x-ms-version': VERSION },
  })
  if (status !== 201) throw new Error(`azurite answered ${status} to the making of a container`)
  return {
    options: { container, endpoint, account_name: ACCOUNT },
    key: { account_key: KEY },
    sas: { sas_token },
    stop: async () => {
      await server.stop()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

/** A shared access signature of the account, as the reference "Create an account SAS" builds it. */
function accountSas(): string {
  const expiry = new Date(Date.now() + 24 * 60 * 60 * 1000).toISOString().replace(/\.\d+Z$/, 'Z')
  const [permissions, services, types] = ['rwdlacx', 'b', 'sco']
  const lines = [ACCOUNT, permissions, services, types, '', expiry, '', 'https,http', VERSION, '', '']
  const signature = createHmac('sha256', Buffer.from(KEY, 'base64')).update(lines.join('\n')).digest('base64')
  return new URLSearchParams({
    sv: VERSION,
    ss: services!,
    srt: types!,
    sp: permissions!,
    se: expiry,
    spr: 'https,http',
    sig: signature,
  }).toString()
}
