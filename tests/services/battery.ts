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
import { type Difference, differencesOf } from './differences.ts'
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

const REMOVE_ALL = `
set -ex
cd $share
rm -rf -- * .[!.]*
[ -z "$(ls -A)" ]
`
const REMOVE_FILES = `
set -ex
cd $share
find . -mindepth 1 ! -type d -delete
[ -z "$(find . -mindepth 1 ! -type d)" ]
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
    const differenceAfter = (check: string) =>
      differences.find(({ afterRestart }) => afterRestart?.includes(check))
    const claimOf = (title: string, difference: Difference | undefined) =>
      difference === undefined ? title : `does not hold: ${title}. ${difference.reason}`
    const judge = ({ status, trace }: ShellResult, difference: Difference | undefined) => {
      if (difference === undefined) expect(status, report(trace)).toBe(0)
      else expect(status).not.toBe(0)
    }

    const checks = Object.entries(ALL_CHECKS).filter(([check]) => !service.omits?.includes(check))
    for (const [check, { title, script }] of checks) {
      const difference = differenceOf(check)
      test(
        claimOf(title, difference),
        async () => {
          const body = `mkdir $share/$check\n${inDirectory(script)}`
          judge(await run(check, body, difference === undefined ? 150 : 10), difference)
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

    for (const [check, { title, after }] of checks) {
      if (after === undefined || differenceOf(check) !== undefined) continue
      const difference = differenceAfter(check)
      test(
        `after the restart: ${claimOf(title, difference)}`,
        async () => judge(await run(check, inDirectory(after)), difference),
        LIMIT_MS + 5000,
      )
    }

    const keepsDirectories = differences.some(difference => difference.keepsDirectories)
    test(
      `everything${keepsDirectories ? ' but directories' : ''} is removed, and a daemon that starts then finds no more`,
      async () => {
        const { status, trace } = await run('.', keepsDirectories ? REMOVE_FILES : REMOVE_ALL)
        expect(status, report(trace)).toBe(0)
        const left = await run('.', SNAPSHOT)
        await share.restart()
        expect((await run('.', SNAPSHOT)).trace).toBe(left.trace)
      },
      2 * LIMIT_MS,
    )

    test('the binding does not panic', () => {
      expect(share.log()).not.toMatch(/panicked/)
    })

    killsOf(service, () => running)
  })
}
