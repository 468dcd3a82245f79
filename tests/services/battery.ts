// All checks on one service: those of the guest and those of programs, run on this machine; then the same after a restart of the
// daemon, and what was acknowledged after it was killed. One start of the server, each check a test.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { PRELUDE } from '../guest/checks.ts'
import { hostCalls } from '../guest/host-calls.ts'
import { missingForNativeMount } from '../harness/native-mount.ts'
import { ALL_CHECKS } from './all-checks.ts'
import { differencesOf } from './differences.ts'
import { killsOf } from './kills.ts'
import { PROGRAM_PRELUDE } from './program-checks.ts'
import { ServedShare } from './served-share.ts'
import {
  type BatteryService,
  type BatteryServiceName,
  outside,
  type RunningService,
  SERVICES,
} from './services.ts'
import { runScript, type ShellResult } from './shell.ts'

/** How long a check may take on a machine that has other things to do. */
const LIMIT_MS = 120_000
const LONGEST_NAME = 200
const LARGE_MIB = 20

/** What every regular file, directory and link of the share holds, its times aside. */
const SNAPSHOT = `
cd $share || exit
find . -mindepth 1 \\( -type f -printf '%p %y %m %s\\n' -o -printf '%p %y %m %l\\n' \\) | sort
find . -type f -print0 | sort -z | xargs -0 md5sum
`

export function battery(name: BatteryServiceName): void {
  const service: BatteryService = SERVICES[name]
  const missing = missingForNativeMount() ?? service.missing()
  const needs = missing === undefined ? '' : `: needs ${missing}`
  describe.skipIf(missing !== undefined)(`${service.title}${needs}`, () => {
    let running: RunningService
    let share: ServedShare
    let temporary: string
    let calls: (call: string) => Promise<void>

    beforeAll(async () => {
      temporary = await mkdtemp(join(tmpdir(), 'ovfs-battery-'))
      running = await service.start()
      share = await ServedShare.open(running, 'checks')
      const onStorage = hostCalls(outside(service, running, 'checks'))
      calls = call => (call === 'remount' ? share.remount() : onStorage(call))
    }, LIMIT_MS)
    afterAll(async () => {
      await share?.close()
      await running?.stop()
      await rm(temporary, { recursive: true, force: true })
    }, LIMIT_MS)

    const run = (check: string, script: string, patience = 150): Promise<ShellResult> => {
      const body = [PRELUDE, PROGRAM_PRELUDE, script].join('\n').replaceAll('/tmp/', `${temporary}/`)
      const settings = `longest=${LONGEST_NAME} large=${LARGE_MIB} entries=${service.entries ?? 2000} patience=${patience}`
      return runScript(
        `${settings}\ncheck=${check}\n${body}`.replace('share=/mnt/ovfs', `share=${share.path}`),
        temporary,
        calls,
        LIMIT_MS,
      )
    }
    const report = (trace: string) =>
      `${trace.split('\n').slice(-40).join('\n')}--- the daemon\n${share.complaints()}`
    const inDirectory = (script: string) => `set -ex\ncd $share/$check\n${script}`
    const differences = differencesOf(name)
    const differenceOf = (check: string) => differences.find(({ checks }) => checks.includes(check))

    for (const [check, { title, script }] of Object.entries(ALL_CHECKS)) {
      const difference = differenceOf(check)
      const claim = difference === undefined ? title : `does not hold: ${title}. ${difference.reason}`
      test(
        claim,
        async () => {
          const { status, trace } = await run(
            check,
            `mkdir $share/$check\n${inDirectory(script)}`,
            difference === undefined ? 150 : 10,
          )
          if (difference === undefined) expect(status, report(trace)).toBe(0)
          else expect(status).not.toBe(0)
        },
        LIMIT_MS + 5000,
      )
    }

    test(
      'a restart of the daemon changes nothing',
      async () => {
        const before = await run('.', SNAPSHOT)
        await share.restart()
        expect((await run('.', SNAPSHOT)).trace).toBe(before.trace)
      },
      2 * LIMIT_MS,
    )

    for (const [check, { title, after }] of Object.entries(ALL_CHECKS)) {
      if (after === undefined || differenceOf(check) !== undefined) continue
      test(
        `after the restart: ${title}`,
        async () => {
          const { status, trace } = await run(check, inDirectory(after))
          expect(status, report(trace)).toBe(0)
        },
        LIMIT_MS + 5000,
      )
    }

    test(
      'everything is removed, and a daemon that starts then finds nothing',
      async () => {
        const { status, trace } = await run('.', 'set -ex\ncd $share\nrm -rf -- * .[!.]*\n[ -z "$(ls -A)" ]')
        expect(status, report(trace)).toBe(0)
        await share.restart()
        expect((await run('.', SNAPSHOT)).trace).toBe((await run('.', 'md5sum </dev/null')).trace)
      },
      2 * LIMIT_MS,
    )

    test('the binding does not panic', () => {
      expect(share.log()).not.toMatch(/panicked/)
    })

    killsOf(service, () => running)
  })
}
