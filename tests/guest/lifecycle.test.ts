// Guests that come and go, on one daemon: one after the other, one that reboots, one that is stopped and goes on, one that
// is killed in the middle of a write, and two shares in one guest.

import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  afterAll,
  beforeAll,
  beforeEach,
  describe,
  expect,
  onTestFailed,
  onTestFinished,
  test,
  vi,
} from 'vitest'
import { type Daemon, holdings, missingForOvfs, startOvfs } from '../harness/daemon.ts'
import { bootGuest, Guest, missingForGuest } from '../harness/guest.ts'

const lacks = missingForGuest() ?? missingForOvfs()

describe.skipIf(lacks !== undefined)(
  `one daemon, guest after guest${lacks === undefined ? '' : `: needs ${lacks}`}`,
  { timeout: 120_000 },
  () => {
    let dir: string
    let daemon: Daemon

    beforeAll(async () => {
      dir = await mkdtemp(join(tmpdir(), 'ovfs-lifecycle-'))
      daemon = await startOvfs(`fs://${dir}`)
    })

    beforeEach(() => onTestFailed(() => console.error(daemon.stderr())))

    afterAll(async () => {
      await daemon.stop()
      await rm(dir, { recursive: true })
    })

    const share = () => ({ socketPath: daemon.socketPath, tag: 'ovfs' })

    test('a second guest finds what the first one left', async () => {
      const first = await bootGuest({
        shares: [share()],
        script: 'echo from the first >/mnt/ovfs/message',
        timeoutMs: 60_000,
      })
      expect(first).toMatchObject({ output: '', exitCode: 0 })
      const second = await bootGuest({
        shares: [share()],
        script: 'cat /mnt/ovfs/message',
        timeoutMs: 60_000,
      })
      expect(second).toMatchObject({ output: 'from the first\n', exitCode: 0 })
    })

    test('a guest that reboots without unmounting mounts again and finds its file', async () => {
      const { output, exitCode, boots } = await bootGuest({
        shares: [share()],
        script: `
        cd /mnt/ovfs
        echo "boot $(cat boots 2>/dev/null | wc -l)"
        [ -e boots ] && [ "$(wc -l <boots)" = 2 ] && exit 0
        echo booted >>boots
        reboot -f
      `,
        reboots: true,
        timeoutMs: 90_000,
      })
      expect(output).toBe('boot 0\nboot 1\nboot 2\n')
      expect({ exitCode, boots }).toEqual({ exitCode: 0, boots: 3 })
    })

    test('a guest that is stopped in the middle of a write goes on as if nothing was', async () => {
      const guest = await Guest.start({
        shares: [share()],
        script: `
        cd /mnt/ovfs
        yes 'a line that is written over and over' | head -c 20000000 >/tmp/expected
        echo writing
        cp /tmp/expected stopped
        md5sum </tmp/expected
      `,
        timeoutMs: 90_000,
      })
      onTestFinished(() => guest.kill())
      await guest.outputs(/writing/)
      for (let times = 0; times < 5; times++) {
        await guest.qmp.execute('stop')
        await guest.qmp.execute('cont')
      }
      const { output, exitCode } = await guest.end()
      expect(exitCode).toBe(0)
      const written = createHash('md5')
        .update(await readFile(join(dir, 'stopped')))
        .digest('hex')
      expect(output).toContain(written)
    })

    test('a guest that is killed in the middle of a write leaves a daemon that listens and holds nothing of it', async () => {
      const before = holdings(daemon.pid)
      const guest = await Guest.start({
        shares: [share()],
        script:
          'echo writing; while :; do dd if=/dev/zero of=/mnt/ovfs/endless bs=1M count=64 2>/dev/null; done',
        timeoutMs: 60_000,
      })
      onTestFinished(() => guest.kill())
      await guest.outputs(/writing/)
      await vi.waitFor(async () => expect((await stat(join(dir, 'endless'))).size).toBeGreaterThan(0), 30_000)
      const during = holdings(daemon.pid)
      expect(during.guestMemory).not.toEqual([])
      expect(during.descriptors.length).toBeGreaterThan(before.descriptors.length)

      await guest.kill()
      await vi.waitFor(() => expect(holdings(daemon.pid)).toEqual(before), 10_000)
      const next = await bootGuest({ shares: [share()], script: 'ls -l /mnt/ovfs', timeoutMs: 60_000 })
      expect(next).toMatchObject({ exitCode: 0, output: expect.stringMatching(/ endless$/m) })
    })

    test('one guest moves files between two shares, by their tags', async () => {
      const other = await mkdtemp(join(tmpdir(), 'ovfs-lifecycle-'))
      onTestFinished(() => rm(other, { recursive: true }))
      const second = await startOvfs(`fs://${other}`)
      onTestFinished(() => second.stop())
      const { output, exitCode } = await bootGuest({
        shares: [
          share(),
          { socketPath: second.socketPath, tag: 'other', mountPoint: '/data', queueSize: 128 },
        ],
        script: `
        head -c 3000000 /dev/urandom >/mnt/ovfs/moved
        md5sum </mnt/ovfs/moved
        cp /mnt/ovfs/moved /data/moved && rm /mnt/ovfs/moved
        md5sum </data/moved
        ls /mnt/ovfs | grep -c moved
      `,
        timeoutMs: 60_000,
      })
      const [before, after, left] = output.split('\n')
      expect(after).toBe(before)
      expect({ left, exitCode }).toEqual({ left: '0', exitCode: 1 })
      expect(await readdir(other)).toContain('moved')
    })
  },
)
