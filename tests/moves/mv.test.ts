// `mv` of real programs on a mount of the compiled daemon, over an S3 server that answers as it should not.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { PlainS3, s3Error } from '../../packages/opendal-fs/test/plain-s3.ts'
import { type Daemon, startOvfs } from '../harness/daemon.ts'
import { missingForNativeMount, mountShare, type NativeMount } from '../harness/native-mount.ts'

const missing = missingForNativeMount()
const title = `mv on a mounted share${missing === undefined ? '' : `: needs ${missing}`}`

describe.skipIf(missing !== undefined)(title, () => {
  let s3: PlainS3
  let folder: string
  let daemon: Daemon
  let mount: NativeMount

  beforeEach(async () => {
    s3 = await PlainS3.start()
    folder = mkdtempSync(join(tmpdir(), 'ovfs-mv-'))
  })
  afterEach(async () => {
    await mount.unmount()
    await daemon.stop()
    await s3.close()
    rmSync(folder, { recursive: true, force: true })
  })

  async function start(path = '', args: readonly string[] = []): Promise<void> {
    const { endpoint, region, access_key_id, secret_access_key, bucket } = s3.options
    const env = { AWS_ACCESS_KEY_ID: access_key_id!, AWS_SECRET_ACCESS_KEY: secret_access_key! }
    daemon = await startOvfs(`s3://${bucket}/${path}?endpoint=${endpoint}&region=${region}`, { args, env })
    mount = await mountShare(daemon.socketPath)
  }

  /** The shell enters the mount by itself: spawn would wait for that here, and the server is in this process. */
  function shell(script: string): Promise<{ status: number | null; said: string }> {
    const child = spawn('sh', ['-c', `cd "$0" && { ${script}\n}`, mount.path], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let said = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', part => (said += part))
    return new Promise(resolve => child.on('close', status => resolve({ status, said })))
  }

  const stored = (): Record<string, string> =>
    Object.fromEntries(
      Object.entries(s3.texts()).filter(([key]) => !key.endsWith('/') && !key.includes('.ovfs-')),
    )

  test.each([
    { mode: 'plain', args: () => [] },
    { mode: 'with --state-dir', args: () => ['--state-dir', folder] },
    { mode: 'with --state-dir and --write-back', args: () => ['--state-dir', folder, '--write-back'] },
  ])('loses nothing to copies that are answered 200 with an error ($mode)', async ({ args }) => {
    s3.intercept = ({ copyOf }) => (copyOf === undefined ? undefined : s3Error('InternalError', 200))
    await start('', args())
    const files = Array.from({ length: 10 }, (_, n) => n)
    const script = `set -e; echo p >a; mkdir d; for n in ${files.join(' ')}; do echo $n >d/$n; done; sync`
    expect(await shell(script)).toEqual({ status: 0, said: '' })
    expect(await shell('set -e; mv a b; mv d e; sync; cat b; ls; cat e/*')).toEqual({
      status: 0,
      said: `p\nb\ne\n${files.map(n => `${n}\n`).join('')}`,
    })
    // With write-back it is published a moment later: a mount without virtio-fs does not pass sync on.
    await expect.poll(stored, { timeout: 20_000 }).toEqual({
      b: 'p\n',
      ...Object.fromEntries(files.map(n => [`e/${n}`, `${n}\n`])),
    })
  })

  test('is killed with the daemon after a copy that was answered 200 with an error, and loses nothing', async () => {
    const args = ['--state-dir', folder]
    let killed: Promise<void> | undefined
    s3.intercept = ({ copyOf }) => (copyOf === undefined ? undefined : s3Error('InternalError', 200))
    s3.before = ({ copyOf }) => {
      if (copyOf === 'a') killed ??= daemon.kill()
      return killed
    }
    await start('', args)
    expect((await shell('echo p >a; sync')).status).toBe(0)
    expect((await shell('mv a b')).status).not.toBe(0)
    await killed
    await mount.unmount()
    s3.before = () => undefined
    await start('', args)
    expect((await shell('cat a b 2>/dev/null')).said).toBe('p\n')
    expect(Object.values(stored())).toEqual(['p\n'])
  })

  test('leaves what another host stored at the source during the copy', async () => {
    s3.before = ({ copyOf }) => {
      if (copyOf === 'a') s3.put('a', 'newer\n')
    }
    await start()
    expect(await shell('echo older >a; sync; mv a b; cat a b; ls')).toEqual({
      status: 0,
      said: 'newer\nolder\na\nb\n',
    })
    expect(daemon.stderr()).toMatch(/was replaced by another client while it was being moved to .*"b/)
  })

  test('of a directory with `..` in a key touches nothing, in the share and outside of it', async () => {
    const objects = {
      'other/f': 'other',
      'team/d/../../other/f': 'raw other',
      'team/d/../x': 'raw x',
      'team/d/ok': 'ok',
      'team/g/./f': 'raw 1',
      'team/g//f': 'raw 2',
      'team/g/f': 'f',
      'team/x': 'x',
    }
    for (const [key, text] of Object.entries(objects)) s3.put(key, text)
    await start('team')
    for (const [from, to] of ['de', 'gh']) {
      const { status, said } = await shell(`mv ${from} ${to}`)
      expect([status, said]).toEqual([1, expect.stringContaining('Input/output error')])
    }
    await shell('rm -rf d g')
    expect(stored()).toEqual(
      Object.fromEntries(Object.entries(objects).filter(([key]) => !/team\/(d\/ok|g\/f)$/.test(key))),
    )
    expect(s3.requests.filter(line => /^(PUT|COPY|DELETE) (other|team\/x|$)/.test(line))).toEqual([])
    expect(daemon.stderr()).toMatch(/cannot move .*"d\/.*"d\/\.\.\//)
  })

  test('works on a server without CopyObject, for files and directories', async () => {
    s3.intercept = ({ copyOf }) => (copyOf === undefined ? undefined : s3Error('NotImplemented', 501))
    await start()
    const script =
      'set -e; mkdir d; head -c 20000000 /dev/zero | tr "\\0" x >d/large; echo p >a; sync; mv a b; mv d e; sync'
    expect(await shell(script)).toEqual({ status: 0, said: '' })
    expect(await shell('cat b; wc -c <e/large; ls')).toEqual({ status: 0, said: 'p\n20000000\nb\ne\n' })
    expect(Object.keys(stored())).toEqual(['b', 'e/large'])
  })
})
