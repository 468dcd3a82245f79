// Random file operations in a real guest (fsx.py), on three storages at once in one boot. OVFS_FSX_OPERATIONS and
// OVFS_FSX_SEED choose other runs; a failure names its seed and the operations before it.

import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hostCalls } from '../guest/host-calls.ts'
import { fsStorage, memoryStorage, type Served, type Storage, s3Storage } from '../guest/storage.ts'
import { missingForOvfs } from '../harness/daemon.ts'
import { inDebian, missingForDebian } from '../harness/debian-guest.ts'
import { Guest, type GuestResult } from '../harness/guest.ts'

const OPERATIONS = Number(process.env.OVFS_FSX_OPERATIONS ?? 20_000)
const SEED = Number(process.env.OVFS_FSX_SEED ?? 1 + Math.floor(Math.random() * 1e9))
const PATIENCE_MS = 120_000 + OPERATIONS * 40

const storages: Record<string, Storage> = { memory: memoryStorage, fs: fsStorage, s3: s3Storage }
const names = Object.keys(storages)
const lacks = missingForDebian() ?? missingForOvfs()

describe.skipIf(lacks !== undefined)(
  `random file operations in a guest${lacks === undefined ? '' : `: needs ${lacks}`}`,
  () => {
    const served = new Map<string, Served>()
    let guest: Guest
    let end: GuestResult | Error

    beforeAll(async () => {
      for (const name of names) served.set(name, await storages[name]!.serve())
      guest = await Guest.start(
        inDebian({
          shares: [...served].map(([tag, { socketPath }]) => ({ tag, socketPath })),
          script: SCRIPT,
          files: { 'guest/fsx.py': await readFile(new URL('fsx.py', import.meta.url)) },
          onCall: async call => {
            const [, name = '', rest = ''] = /^(\S+) (.*)$/.exec(call) ?? []
            await hostCalls(served.get(name)!.host)(rest)
          },
          cpus: 2,
          timeoutMs: PATIENCE_MS,
        }),
      )
      end = await guest.end().catch((error: Error) => error)
    }, PATIENCE_MS + 30_000)

    afterAll(async () => {
      await guest?.kill()
      for (const each of served.values()) await each.stop()
    })

    test.each(names)(
      `%s: ${OPERATIONS} reads, writes, mappings, truncations and holes give the right bytes, also after a remount and for the host`,
      name => {
        const report = new RegExp(`^=== ${name}\n(.*?)^=== ${name} (\\d+)$`, 'ms').exec(guest.output)
        if (report === null) throw end
        expect(report[2], `${report[1]}--- the daemon\n${served.get(name)!.log()}`).toBe('0')
        expect(report[1]).toContain(`${OPERATIONS} operations`)
      },
    )
  },
)

/** The programs run side by side; what they said is printed one after the other. */
const SCRIPT = `
check() {
  set -e
  begin=$(cut -d . -f 1 /proc/uptime)
  python3 /guest/fsx.py /mnt/$1/file ${OPERATIONS} ${SEED} /tmp/$1.expected
  umount /mnt/$1
  mount -t virtiofs $1 /mnt/$1
  cmp /mnt/$1/file /tmp/$1.expected
  echo "$(($(cut -d . -f 1 /proc/uptime) - begin)) s"
}
for name in ${names.join(' ')}; do
  (check $name; echo $? >/tmp/$name.status) >/tmp/$name.output 2>&1 &
done
wait
for name in ${names.join(' ')}; do
  status=$(cat /tmp/$name.status 2>/dev/null || echo 1)
  if [ $status = 0 ]; then
    host $name same file $(md5sum </tmp/$name.expected | cut -d ' ' -f 1) >>/tmp/$name.output 2>&1 || status=1
  fi
  echo "=== $name"
  cat /tmp/$name.output
  echo "=== $name $status"
done
`
