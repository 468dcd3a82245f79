// `ovfs serve` as a service of systemd: the units as they are shipped, the command as npm installs it, under the systemd of Debian
// in a guest. Everything in SYSTEMD_CHECKS, in one boot.

import { existsSync } from 'node:fs'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Daemon, missingForOvfs, startOvfs } from '../harness/daemon.ts'
import { missingForDebian } from '../harness/debian-guest.ts'
import { Guest, type GuestResult } from '../harness/guest.ts'
import { repository } from '../harness/initramfs.ts'
import { installOvfs } from '../harness/installed-ovfs.ts'
import { underSystemd } from '../harness/systemd-guest.ts'
import { MONITOR, SYSTEMD_CHECKS, SYSTEMD_PRELUDE } from './systemd-checks.ts'

const BOOT_MS = 900_000
const compiled = join(repository, 'tests', 'dist')
const lacks =
  missingForDebian() ??
  missingForOvfs() ??
  (existsSync(join(compiled, 'guest', 'systemd-front-end.js'))
    ? undefined
    : 'the compiled tests (npx tsc -b tests)')

describe.skipIf(lacks !== undefined)(
  `the daemon under systemd${lacks === undefined ? '' : `: needs ${lacks}`}`,
  () => {
    let installed: string
    let daemon: Daemon
    let guest: Guest
    let end: GuestResult | Error

    beforeAll(async () => {
      installed = await mkdtemp(join(tmpdir(), 'ovfs-installed-'))
      await installOvfs(installed)
      for (const program of ['guest/systemd-front-end', 'crash/session-actor', 'crash/random'])
        await cp(join(compiled, `${program}.js`), join(installed, 'tests', `${program}.js`))
      // The guest has the programs on a share of its own.
      const unchanging = ['--read-only', '--file-mode=0755', '--attr-ttl=1h', '--entry-ttl=1h']
      daemon = await startOvfs(`fs://${installed}`, { args: unchanging })
      guest = await Guest.start(
        underSystemd({
          shares: [{ tag: 'installed', mountPoint: '/opt', socketPath: daemon.socketPath }],
          script: script(),
          files: { 'guest/monitor.py': MONITOR },
          cpus: 2,
          memoryMiB: 1024,
          timeoutMs: BOOT_MS,
        }),
      )
      end = await guest.end().catch((error: Error) => error)
    }, BOOT_MS + 60_000)

    afterAll(async () => {
      await daemon?.stop()
      await rm(installed, { recursive: true, force: true })
    })

    for (const [check, { title }] of Object.entries(SYSTEMD_CHECKS)) {
      test(title, () => {
        const { status, trace } = section(guest.output, check) ?? {}
        if (status === undefined) throw end instanceof Error ? end : new Error(guest.output)
        expect(status, trace).toBe(0)
      })
    }
  },
)

/** Each check in a shell of its own; what is known of the services follows one that failed. */
function script(): string {
  const checks = Object.entries(SYSTEMD_CHECKS).map(
    ([name, check]) => `
echo "=== begin ${name}"
(set -ex; ${check.script})
status=$?
[ $status = 0 ] || { systemctl status 'ovfs@*'; journalctl -u 'ovfs@*' -n 60; }
echo "=== end ${name} $status at $SECONDS s"
`,
  )
  return `${SYSTEMD_PRELUDE}${checks.join('')}`
}

/** One that began and did not end is not there. */
function section(output: string, name: string): { status: number; trace: string } | undefined {
  const found = new RegExp(`^=== begin ${name}\\n(.*?)^=== end ${name} (\\d+)`, 'ms').exec(output)
  return found === null ? undefined : { status: Number(found[2]), trace: found[1]! }
}
