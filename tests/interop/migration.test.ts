// A guest moves to another QEMU and another daemon on the same storage, live and through a file: its programs go on with their
// open files, their working directory and their copies, and none of them notices.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { type Daemon, missingForOvfs, startOvfs } from '../harness/daemon.ts'
import { Guest, type GuestOptions, missingForGuest } from '../harness/guest.ts'
import { migrationQemu } from '../harness/migration-qemu.ts'

const qemu = migrationQemu()
const lacks =
  missingForGuest() ??
  missingForOvfs() ??
  (qemu === undefined ? 'QEMU 9 or newer (node scripts/prepare.mjs --tests)' : undefined)

/** Opens, changes and copies before the move; says `working`; goes on when the host has put the file `moved` into the share. */
const SCRIPT = `
  cd /mnt/ovfs
  mkdir -p folder/deep
  seq 1 20000 >folder/numbers
  md5sum <folder/numbers >/tmp/numbers.md5
  exec 5<folder/numbers 6>>folder/log 7>removed 8<removed
  echo kept >&7
  rm removed
  head -n 1 <&5 >/tmp/first
  echo before >&6
  cd folder/deep
  head -c 1500000 /dev/urandom >/tmp/original
  (
    rounds=0
    while [ ! -e /tmp/enough ]; do
      cp /tmp/original /mnt/ovfs/copy && echo 1 >/proc/sys/vm/drop_caches && cmp /tmp/original /mnt/ovfs/copy || exit 1
      rounds=$((rounds + 1))
    done
    echo "copied and compared"
  ) &
  copying=$!
  echo working
  until [ -e /mnt/ovfs/moved ]; do sleep 0.3; done
  sleep 1
  touch /tmp/enough
  wait $copying || echo "the copy failed"
  echo after >&6; exec 6>&-
  cat /mnt/ovfs/folder/log
  echo here >../file && cat /mnt/ovfs/folder/file
  md5sum </mnt/ovfs/folder/numbers | cmp - /tmp/numbers.md5 && echo same numbers
  cat <&5 | tail -n 1
  cat <&8
  mv /mnt/ovfs/folder /mnt/ovfs/renamed && pwd -P
`
const PRINTED = `working
copied and compared
before
after
here
same numbers
20000
kept
/mnt/ovfs/renamed/deep
`

describe.skipIf(lacks !== undefined)(
  `migration by QEMU${lacks === undefined ? '' : `: needs ${lacks}`}`,
  { timeout: 180_000 },
  () => {
    let dir: string
    let share: string
    const daemons: Daemon[] = []

    beforeEach(async () => {
      dir = await mkdtemp(join(tmpdir(), 'ovfs-migrated-'))
      share = await mkdtemp(join(tmpdir(), 'ovfs-migrated-share-'))
    })
    afterEach(async () => {
      for (const daemon of daemons.splice(0)) await daemon.stop()
      await rm(dir, { recursive: true, force: true })
      await rm(share, { recursive: true, force: true })
    })

    /** A guest with a daemon of its own on the share. */
    async function start(options: Partial<GuestOptions> = {}): Promise<Guest> {
      const daemon = await startOvfs(`fs://${share}`)
      daemons.push(daemon)
      const guest = await Guest.start({
        qemu: qemu!,
        shares: [{ socketPath: daemon.socketPath, tag: 'ovfs' }],
        memoryMiB: 256,
        script: SCRIPT,
        timeoutMs: 150_000,
        ...options,
      })
      onTestFinished(() => guest.kill())
      return guest
    }

    async function migrate(guest: Guest, uri: string): Promise<void> {
      await guest.qmp.execute('migrate-set-parameters', { 'downtime-limit': 3000, 'max-bandwidth': 2 ** 32 })
      await guest.qmp.execute('migrate', { uri })
      for (;;) {
        const info = (await guest.qmp.execute('query-migrate')) as { status: string; 'error-desc'?: string }
        if (info.status === 'completed') return
        if (info.status === 'failed') throw new Error(`migration failed: ${info['error-desc']}`)
        await delay(20)
      }
    }

    /** `output` of the new QEMU is what the guest printed since it moved. */
    async function requireSameEnd(guest: Guest): Promise<void> {
      await writeFile(join(share, 'moved'), '')
      const { output, exitCode } = await guest.end()
      expect(`working\n${output}`).toBe(PRINTED)
      expect(exitCode).toBe(0)
      expect(await readFile(join(share, 'renamed', 'log'), 'utf8')).toBe('before\nafter\n')
    }

    test('live, while it copies', async () => {
      const uri = `unix:${join(dir, 'migration')}`
      const source = await start()
      await source.outputs(/working/)
      const target = await start({ qemuArgs: ['-incoming', 'defer'] })
      await target.qmp.execute('migrate-incoming', { uri })
      await migrate(source, uri)
      await source.kill()
      await requireSameEnd(target)
    })

    test('saved to a file while it copies, and started from it when neither QEMU nor daemon is left', async () => {
      const uri = `file:${join(dir, 'saved')}`
      const source = await start()
      await source.outputs(/working/)
      await migrate(source, uri)
      await source.kill()
      await daemons.pop()!.stop()
      const target = await start({ qemuArgs: ['-incoming', 'defer'] })
      await target.qmp.execute('migrate-incoming', { uri })
      await requireSameEnd(target)
    })

    test('given up half way: the guest goes on where it was', async () => {
      const uri = `unix:${join(dir, 'migration')}`
      const source = await start()
      await source.outputs(/working/)
      const target = await start({ qemuArgs: ['-incoming', 'defer'] })
      await target.qmp.execute('migrate-incoming', { uri })
      // Slow enough for the dirty log to be in use for a while.
      await source.qmp.execute('migrate-set-parameters', { 'max-bandwidth': 1 << 20 })
      await source.qmp.execute('migrate', { uri })
      await delay(1500)
      expect(await source.qmp.execute('query-migrate')).toMatchObject({ status: 'active' })
      await source.qmp.execute('migrate_cancel')
      await target.kill()
      await writeFile(join(share, 'moved'), '')
      const { output, exitCode } = await source.end()
      expect({ output, exitCode }).toEqual({ output: PRINTED, exitCode: 0 })
    })
  },
)
