// Everything in CHECKS on one storage, in one boot: the guest runs all scripts, then each is a test.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Guest, type GuestResult, missingForGuest } from '../harness/guest.ts'
import { type Machine, x64 } from '../harness/machine.ts'
import { CHECKS, PRELUDE } from './checks.ts'
import { hostCalls } from './host-calls.ts'
import type { Served, Storage } from './storage.ts'

export function shareSuite(
  { name, missing, serve, longestName = 255 }: Storage,
  machine: Machine = x64,
): void {
  const lacks = missingForGuest(machine) ?? missing()
  const kind = machine === x64 ? 'a guest' : `an ${machine.name} guest`
  describe.skipIf(lacks !== undefined)(
    `${kind} on ${name}${lacks === undefined ? '' : `: needs ${lacks}`}`,
    () => {
      let served: Served
      let guest: Guest
      let end: GuestResult | Error

      beforeAll(async () => {
        served = await serve()
        guest = await Guest.start({
          machine,
          shares: [{ socketPath: served.socketPath, tag: 'ovfs' }],
          script: `longest=${longestName} large=64 entries=2000\n${SCRIPT}`,
          onCall: hostCalls(served.host),
          timeoutMs: 150_000,
        })
        end = await guest.end().catch((error: Error) => error)
      }, 180_000)

      afterAll(async () => {
        await guest?.kill()
        await served?.stop()
      })

      for (const [check, { title }] of Object.entries(CHECKS)) {
        test(title, () => {
          const report = sections(guest.output).get(check)
          if (report === undefined) throw end
          expect(report.status, `${report.trace}--- the daemon\n${served.log()}`).toBe(0)
        })
      }

      test('the guest unmounts and powers off', () => {
        expect(end).toMatchObject({ exitCode: 0, boots: 1 })
      })
    },
  )
}

const SCRIPT = `
${PRELUDE}
${Object.entries(CHECKS)
  .map(
    ([check, { script }]) => `
echo "=== begin ${check} $(cut -d ' ' -f 1 /proc/uptime)"
mkdir $share/${check}
(
  check=${check}
  cd $share/$check
  set -ex
  ${script}
)
echo "=== end ${check} $? $(cut -d ' ' -f 1 /proc/uptime)"
`,
  )
  .join('')}
true
`

/** The script's output by check. One that began and did not end is not there. */
function sections(output: string): Map<string, { status: number; trace: string }> {
  const found = output.matchAll(/^=== begin (\S+) \S+\n(.*?)^=== end \1 (\d+) \S+$/gms)
  return new Map(
    [...found].map(([, check, trace, status]) => [check!, { status: Number(status), trace: trace! }]),
  )
}
