// Files and a link that other programs have put into a bucket, seen by a guest as those programs see them.

import { Operator } from '@ovfs/opendal-fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Daemon, missingForOvfs, startOvfs } from '../harness/daemon.ts'
import { Guest, missingForGuest } from '../harness/guest.ts'
import { type S3Server, startS3 } from '../harness/s3.ts'

const SCRIPT = `
set -ex
cd /mnt/ovfs
[ "$(stat -c '%a %u %g %Y' file)" = '640 1000 100 1600000000' ]
[ "$(readlink link)" = file ]
[ "$(cat link)" = content ]
ls -l | grep -q 'link -> file'
echo more >>link
[ "$(stat -c '%a %u' file)" = '640 1000' ]
cd /
umount /mnt/ovfs
echo all is well
`

describe('a guest on a bucket that s3fs has written', () => {
  let s3: S3Server
  let daemon: Daemon
  let host: Operator

  beforeAll(async () => {
    expect(missingForOvfs() ?? missingForGuest()).toBeUndefined()
    s3 = await startS3()
    host = new Operator('s3', s3.options)
    const userMetadata = { mode: '33184', uid: '1000', gid: '100', mtime: '1600000000' }
    await host.write('file', Buffer.from('content'), { userMetadata })
    await host.write('link', Buffer.from('file'), { userMetadata: { ...userMetadata, mode: '41471' } })
    const { bucket, endpoint, region, access_key_id, secret_access_key } = s3.options
    daemon = await startOvfs(`s3://${bucket}`, {
      args: ['-o', `endpoint=${endpoint}`, '-o', `region=${region}`, '--user-metadata'],
      env: { AWS_ACCESS_KEY_ID: access_key_id, AWS_SECRET_ACCESS_KEY: secret_access_key },
    })
  }, 60_000)
  afterAll(async () => {
    await daemon?.stop()
    await s3?.stop()
  })

  test('shows modes, owners and times, follows links, and writes through them', async () => {
    const guest = await Guest.start({
      shares: [{ socketPath: daemon.socketPath, tag: 'ovfs' }],
      script: SCRIPT,
      timeoutMs: 100_000,
    })
    try {
      await guest.end()
      expect(guest.output, daemon.stderr()).toContain('all is well')
    } finally {
      await guest.kill()
    }
    expect(String(await host.read('file'))).toBe('contentmore\n')
    expect((await host.stat('file')).userMetadata).toMatchObject({ mode: '33184', uid: '1000' })
  }, 120_000)
})
